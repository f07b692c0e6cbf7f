"""The one loop: a step a batch, whatever is trained; told, asked and kept on the way by what looks on.

Deterministic on the CPU: the same seed, thread count and torch version give the same weights bit for bit. A loss that
is not finite ends the training as a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from scalesearch.data.endless import EndlessBatches
from scalesearch.measure.optimisation import Optimisation
from scalesearch.measure.snapshot import Snapshots, random_state, restore_random_state

B = TypeVar("B")
"""A batch, of whatever the loss takes."""

OnStep = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

OnLoss = Callable[[int, float], None]
"""Called with each step and its loss; a training that goes on tells those of the earlier process first."""

KeepOn = Callable[[int, nn.Module], bool]
"""Called at a rung with the steps done and the network as it would be evaluated; False ends the training there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Callbacks:
    """What looks on at a training, may end it, and lets it go on after its process died.

    A training that passes every rung ends with the weights, bit for bit, of one that has none.

    Attributes:
        on_step: Told of each step.
        on_loss: Told of each step's loss, those before an interruption too.
        rungs: Steps at which ``keep_on`` is asked; the last step is none, since nothing is left to stop.
        keep_on: May evaluate the network it is given, but not change it; with a running mean of the weights, the mean.
        snapshots: From which it goes on, and to which it writes; on a CPU the weights at its end are, bit for bit,
            those of a training that was never interrupted.
    """

    on_step: OnStep | None = None
    on_loss: OnLoss | None = None
    rungs: Collection[int] = ()
    keep_on: KeepOn | None = None
    snapshots: Snapshots | None = None

    def take_up(self) -> dict[str, Any] | None:
        """Return what an earlier process left of the training, and tell its losses."""
        state = None if self.snapshots is None else self.snapshots.load()
        if state is not None and self.on_loss is not None:
            for step, loss in enumerate(state["losses"], 1):
                self.on_loss(step, loss)
        return state

    def tell(self, step: int, num_steps: int, loss: float) -> None:
        """Tell of a step."""
        if self.on_step is not None:
            self.on_step(step, num_steps)
        if self.on_loss is not None:
            self.on_loss(step, loss)

    def ask(self, step: int, network: nn.Module, device: str) -> bool:
        """Return whether the training goes on; what is drawn in answering it does not change it."""
        if self.keep_on is None or step not in self.rungs:
            return True
        with _unmoved_generators(device):
            return self.keep_on(step, network)


@dataclass(frozen=True, slots=True)
class FitInfo:
    """What a training took; ``loss`` is the mean of its last tenth of steps.

    ``steps`` are those done, fewer than were asked for where it was stopped. ``train_seconds`` include what was done at
    rungs.
    """

    steps: int
    loss: float
    train_seconds: float


def take_steps(
    batches: EndlessBatches[B],
    loss_of: Callable[[B], Tensor],
    optimisation: Optimisation,
    num_steps: int,
    *,
    device: str,
    callbacks: Callbacks,
) -> FitInfo:
    """Take a step a batch, and leave the weights to be evaluated in the network.

    Args:
        batches: One a step.
        loss_of: Of a batch, a scalar to go down.
        optimisation: Of the network.
        num_steps: In all.
        device: On which the network is.
        callbacks: What looks on.

    Raises:
        DivergenceError: A loss is not finite.
    """
    run, snapshots = _Run(batches, optimisation, device), callbacks.snapshots
    losses = run.losses
    with snapshots or nullcontext():
        run.take_up(callbacks.take_up())
        for step in range(len(losses) + 1, num_steps + 1):
            losses.append(optimisation.step(loss_of(next(batches))))
            callbacks.tell(step, num_steps, losses[-1])
            if step == num_steps or not callbacks.ask(step, optimisation.evaluated, device):
                break
            if snapshots is not None:
                snapshots.follow(run.state_dict)
    optimisation.settle()
    tail = losses[-max(1, len(losses) // 10) :]
    return FitInfo(len(losses), sum(tail) / len(tail), run.seconds)


class _Run(Generic[B]):
    """A training as far as it has come, with all that its next steps depend on."""

    def __init__(self, batches: EndlessBatches[B], optimisation: Optimisation, device: str) -> None:
        self._batches, self._optimisation, self._device = batches, optimisation, device
        self._started = time.perf_counter()
        self.losses: list[float] = []

    @property
    def seconds(self) -> float:
        """It took, before it was interrupted too."""
        return time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        return {
            "losses": self.losses,
            "seconds": self.seconds,
            "optimisation": self._optimisation.state_dict(),
            "batches": self._batches.state_dict(),
            "random": random_state(self._device),
        }

    def take_up(self, state: dict[str, Any] | None) -> None:
        """Go on from where an earlier process was, if it left anything."""
        if state is None:
            return
        self.losses.extend(state["losses"])
        self._started -= state["seconds"]
        self._optimisation.load_state_dict(state["optimisation"])
        self._batches.load_state_dict(state["batches"])
        restore_random_state(state["random"], self._device)  # last: what came before draws


def _unmoved_generators(device: str) -> AbstractContextManager[None]:
    """Give back what is drawn inside from torch's global generators, so that a reading does not change the training."""
    on_cuda = torch.device(device).type == "cuda"
    return torch.random.fork_rng(devices=[device] if on_cuda else [])
