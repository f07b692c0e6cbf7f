"""Training and evaluation: one loop, explicit.

Deterministic on the CPU: the same seed, thread count and torch version give the same weights bit for bit. On CUDA
mixed precision is used where the configuration asks for it. A loss that is not finite ends the run as a failure.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalesearch.data import Augmentation, Split
from scalesearch.errors import DivergenceError
from scalesearch.measure.optimisation import Optimisation, OptimisationConfig, check_range

B = TypeVar("B")
"""A batch, of whatever the loss takes."""

OnStep = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

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
    """Top-1 accuracy in [0, 1] and mean cross-entropy over ``num_images`` images."""

    top1: float
    loss: float
    num_images: int


def fit(
    network: nn.Module,
    train: Split,
    config: TrainConfig,
    *,
    image_size: int,
    device: str = "cpu",
    on_step: OnStep | None = None,
    rungs: Collection[int] = (),
    keep_on: KeepOn | None = None,
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
        rungs: Steps at which ``keep_on`` is asked; the last step is none, since nothing is left to stop.
        keep_on: May evaluate the network it is given, but not change it; with a running mean of the weights, the mean.

    Raises:
        DivergenceError: A loss is not finite.
    """
    num_steps = config.num_steps(len(train))
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimisation = Optimisation(network, config, num_steps, device)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        images = batch[0].to(device, memory_format=torch.channels_last, non_blocking=True)
        with optimisation.autocast():
            return F.cross_entropy(network(images), batch[1].to(device), label_smoothing=config.label_smoothing)

    batches = itertools.islice(_endless(train, config, image_size), num_steps)
    return take_steps(
        batches, loss_of, optimisation, num_steps, device=device, on_step=on_step, rungs=rungs, keep_on=keep_on
    )


def take_steps(
    batches: Iterable[B],
    loss_of: Callable[[B], Tensor],
    optimisation: Optimisation,
    num_steps: int,
    *,
    device: str,
    on_step: OnStep | None = None,
    rungs: Collection[int] = (),
    keep_on: KeepOn | None = None,
) -> FitInfo:
    """Take a step a batch, whatever is trained, and leave the weights to be evaluated in the network.

    Args:
        batches: One a step.
        loss_of: Of a batch, a scalar to go down.
        optimisation: Of the network.
        num_steps: In all.
        device: On which the network is.
        on_step: As in ``fit``.
        rungs: As in ``fit``.
        keep_on: As in ``fit``.

    Raises:
        DivergenceError: A loss is not finite.
    """
    started = time.perf_counter()
    losses: list[float] = []
    for step, batch in enumerate(batches, start=1):
        losses.append(optimisation.step(loss_of(batch)))
        if on_step is not None:
            on_step(step, num_steps)
        if keep_on is not None and step in rungs and step < num_steps:
            with _unmoved_generators(device):
                goes_on = keep_on(step, optimisation.evaluated)
            if not goes_on:
                break
    optimisation.settle()
    tail = losses[-max(1, len(losses) // 10) :]
    return FitInfo(len(losses), sum(tail) / len(tail), time.perf_counter() - started)


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
    network: nn.Module, split: Split, *, image_size: int, batch_size: int = 250, device: str = "cpu"
) -> EvalInfo:
    """Return the accuracy of ``network`` in eval mode; every part of it is put back into its own mode."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    correct, loss = 0, 0.0
    # not around the move above: parameters made in inference mode could never be trained
    with evaluating(network), torch.inference_mode():
        for images, targets in split.batches(
            batch_size=batch_size, image_size=image_size, augmentation=None, shuffle=False, drop_last=False
        ):
            targets = targets.to(device)
            logits = network(images.to(device, memory_format=torch.channels_last)).float()
            correct += int((logits.argmax(1) == targets).sum())
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
    if not math.isfinite(loss):
        raise DivergenceError("the network's outputs on the evaluation images are not finite")
    return EvalInfo(correct / len(split), loss / len(split), len(split))


def _unmoved_generators(device: str) -> AbstractContextManager[None]:
    """Give back what is drawn inside from torch's global generators, so that a reading does not change the training."""
    on_cuda = torch.device(device).type == "cuda"
    return torch.random.fork_rng(devices=[device] if on_cuda else [])


def _endless(train: Split, config: TrainConfig, image_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    batch_size = min(config.batch_size, len(train))
    while True:
        yield from train.batches(
            batch_size=batch_size,
            image_size=image_size,
            augmentation=config.augmentation,
            shuffle=True,
            drop_last=True,
        )
