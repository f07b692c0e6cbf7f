"""Training and evaluation: one loop, explicit.

Deterministic on the CPU: the same seed, thread count and torch version give the same weights bit for bit. On CUDA
mixed precision is used where the configuration asks for it. A loss that is not finite ends the run as a failure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalesearch.data import Augmentation, Share, Split
from scalesearch.data.endless import EndlessBatches
from scalesearch.errors import DivergenceError
from scalesearch.measure.optimisation import Optimisation, OptimisationConfig, check_range
from scalesearch.measure.snapshot import Snapshots, random_state, restore_random_state
from scalesearch.measure.team import Team

B = TypeVar("B")
"""A batch, of whatever the loss takes."""

OnStep = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

OnLoss = Callable[[int, float], None]
"""Called with each step and its loss; a training that goes on tells those of the earlier process first."""

KeepOn = Callable[[int, nn.Module], bool]
"""Called at a rung with the steps done and the network as it would be evaluated; False ends the training there."""


@dataclass(kw_only=True, slots=True)
class TrainConfig(OptimisationConfig):
    """How a network is trained; with ``OptimisationConfig`` the schema of ``train.*`` on the command line.

    Attributes:
        label_smoothing: Share of a target spread over all classes.
        dropout: Before the classifier.
        drop_path: Of the last block; earlier blocks linearly less.
        augmentation: Of the training images.
    """

    label_smoothing: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        OptimisationConfig.__post_init__(self)  # super() does not find its class through slots
        for name in ("label_smoothing", "dropout", "drop_path"):
            check_range(name, getattr(self, name), least=0, below=1)


@dataclass(frozen=True, slots=True)
class FitInfo:
    """What a training took; ``loss`` is the mean of its last tenth of steps.

    ``steps`` are those done, fewer than were asked for where it was stopped. ``train_seconds`` include what was done at
    rungs.
    """

    steps: int
    loss: float
    train_seconds: float


@dataclass(frozen=True, slots=True)
class EvalInfo:
    """Top-1 accuracy in [0, 1] and mean cross-entropy over ``num_images`` images, and top-5 accuracy.

    ``top5`` is the share whose class is among the five likeliest, 1 where there are no more than five.
    """

    top1: float
    loss: float
    num_images: int
    top5: float


def fit(
    network: nn.Module,
    train: Split,
    config: TrainConfig,
    *,
    image_size: int,
    device: str = "cpu",
    on_step: OnStep | None = None,
    on_loss: OnLoss | None = None,
    rungs: Collection[int] = (),
    keep_on: KeepOn | None = None,
    snapshots: Snapshots | None = None,
    team: Team | None = None,
) -> FitInfo:
    """Train ``network`` in place and leave the weights to be evaluated in it.

    Randomness is drawn from torch's global generator, which the caller seeds. A training that passes every rung ends
    with the weights, bit for bit, of one that has none.

    Args:
        network: Gives logits ``(N, num_classes)`` for images ``(N, 3, H, W)``.
        train: Training images.
        config: Budget, optimiser, regularisation.
        image_size: Pixels a side of the batches.
        device: ``cpu`` or ``cuda``, with an index where there are several.
        on_step: Told of each step.
        on_loss: Told of each step's loss, those before an interruption too.
        rungs: Steps at which ``keep_on`` is asked; the last step is none, since nothing is left to stop.
        keep_on: May evaluate the network it is given, but not change it; with a running mean of the weights, the mean.
        snapshots: From which it goes on, and to which it writes; on a CPU the weights at its end are, bit for bit,
            those of a training that was never interrupted.
        team: The processes that train it together, each on its share of every batch; all of them call this.

    Raises:
        DivergenceError: A loss is not finite.
    """
    num_steps = config.num_steps(len(train))
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimisation = Optimisation(network, config, num_steps, device, team)
    forward, share = (network, None) if team is None else (team.spread(network), team.share)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        images = batch[0].to(device, memory_format=torch.channels_last, non_blocking=True)
        # dropout is drawn apart, too
        with nullcontext() if share is None else share.apart(device), optimisation.autocast():
            return F.cross_entropy(forward(images), batch[1].to(device), label_smoothing=config.label_smoothing)

    return take_steps(
        _endless(train, config, image_size, share),
        loss_of,
        optimisation,
        num_steps,
        device=device,
        on_step=on_step,
        on_loss=on_loss,
        rungs=rungs,
        keep_on=keep_on,
        snapshots=snapshots,
    )


def _endless(
    train: Split, config: TrainConfig, image_size: int, share: Share | None
) -> EndlessBatches[tuple[Tensor, Tensor]]:
    return EndlessBatches(
        lambda first: train.batches(
            batch_size=min(config.batch_size, len(train)),
            image_size=image_size,
            augmentation=config.augmentation,
            shuffle=True,
            drop_last=True,
            first=first,
            share=share,
        )
    )


def take_steps(
    batches: EndlessBatches[B],
    loss_of: Callable[[B], Tensor],
    optimisation: Optimisation,
    num_steps: int,
    *,
    device: str,
    on_step: OnStep | None = None,
    on_loss: OnLoss | None = None,
    rungs: Collection[int] = (),
    keep_on: KeepOn | None = None,
    snapshots: Snapshots | None = None,
) -> FitInfo:
    """Take a step a batch, whatever is trained, and leave the weights to be evaluated in the network.

    Args:
        batches: One a step.
        loss_of: Of a batch, a scalar to go down.
        optimisation: Of the network.
        num_steps: In all.
        device: On which the network is.
        on_step: As in ``fit``.
        on_loss: As in ``fit``.
        rungs: As in ``fit``.
        keep_on: As in ``fit``.
        snapshots: As in ``fit``.

    Raises:
        DivergenceError: A loss is not finite.
    """
    run = _Run(batches, optimisation, device)
    losses = run.losses
    with snapshots or nullcontext():
        if snapshots is not None:
            run.take_up(snapshots.load())
            if on_loss is not None:
                for step, loss in enumerate(losses, 1):
                    on_loss(step, loss)
        for step in range(len(losses) + 1, num_steps + 1):
            losses.append(optimisation.step(loss_of(next(batches))))
            if on_step is not None:
                on_step(step, num_steps)
            if on_loss is not None:
                on_loss(step, losses[-1])
            if keep_on is not None and step in rungs and step < num_steps:
                with _unmoved_generators(device):
                    goes_on = keep_on(step, optimisation.evaluated)
                if not goes_on:
                    break
            if snapshots is not None and step < num_steps:
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


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode, and at the end every part of it into the mode that it had."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def evaluate(
    network: nn.Module,
    split: Split,
    *,
    image_size: int,
    batch_size: int = 250,
    device: str = "cpu",
    confusion: Tensor | None = None,
    team: Team | None = None,
) -> EvalInfo:
    """Return the accuracy of ``network`` in eval mode; every part of it is put back into its own mode.

    Args:
        network: Gives logits.
        split: The images.
        image_size: Pixels a side.
        batch_size: Images a pass.
        device: Where it runs.
        confusion: Counts, true class by predicted one, int64 (num_classes, num_classes) on the CPU, to which those of
            these images are added.
        team: The processes that share the images; all of them have the result.

    Raises:
        DivergenceError: An output is not finite.
    """
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    sums = torch.zeros(3, dtype=torch.float64)  # images right, right among the first five, and the loss
    counts = None if confusion is None else torch.zeros_like(confusion)
    # not around the move above: parameters made in inference mode could never be trained
    with evaluating(network), torch.inference_mode():
        for images, targets in split.batches(
            batch_size=batch_size,
            image_size=image_size,
            augmentation=None,
            shuffle=False,
            drop_last=False,
            share=None if team is None else team.share,
        ):
            targets = targets.to(device)
            logits = network(images.to(device, memory_format=torch.channels_last)).float()
            sums += _read(logits, targets)
            if counts is not None:
                counts += _count_confusions(logits, targets)
    if team is not None:
        sums, counts = team.total(sums), None if counts is None else team.total(counts)
    if confusion is not None and counts is not None:
        confusion += counts
    correct, among_five, loss = sums.tolist()
    if not math.isfinite(loss):
        raise DivergenceError("the network's outputs on the evaluation images are not finite")
    return EvalInfo(correct / len(split), loss / len(split), len(split), among_five / len(split))


def _read(logits: Tensor, targets: Tensor) -> Tensor:
    top1 = (logits.argmax(1) == targets).sum()
    top5 = (logits.topk(min(5, logits.shape[1])).indices == targets[:, None]).any(1).sum()
    loss = F.cross_entropy(logits, targets, reduction="sum")
    return torch.tensor([int(top1), int(top5), float(loss)], dtype=torch.float64)


def _count_confusions(logits: Tensor, targets: Tensor) -> Tensor:
    num_classes = logits.shape[1]
    cells = targets * num_classes + logits.argmax(1)
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes).cpu()


def _unmoved_generators(device: str) -> AbstractContextManager[None]:
    """Give back what is drawn inside from torch's global generators, so that a reading does not change the training."""
    on_cuda = torch.device(device).type == "cuda"
    return torch.random.fork_rng(devices=[device] if on_cuda else [])
