"""Training and evaluation of classifiers. On CUDA mixed precision is used where the configuration asks for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalesearch.data import Augmentation, Share, Split
from scalesearch.data.endless import EndlessBatches
from scalesearch.errors import DivergenceError
from scalesearch.measure.optimisation import Optimisation, OptimisationConfig, check_range
from scalesearch.measure.steps import Callbacks, FitInfo, take_steps
from scalesearch.measure.team import Team


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
    callbacks: Callbacks = Callbacks(),
    team: Team | None = None,
) -> FitInfo:
    """Train ``network`` in place and leave the weights to be evaluated in it.

    Randomness is drawn from torch's global generator, which the caller seeds.

    Args:
        network: Gives logits ``(N, num_classes)`` for images ``(N, 3, H, W)``.
        train: Training images.
        config: Budget, optimiser, regularisation.
        image_size: Pixels a side of the batches.
        device: ``cpu`` or ``cuda``, with an index where there are several.
        callbacks: What looks on.
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

    batches = _endless(train, config, image_size, share)
    return take_steps(batches, loss_of, optimisation, num_steps, device=device, callbacks=callbacks)


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
