"""Training and evaluation: one loop, explicit.

Deterministic on the CPU: the same seed, thread count and torch version give the same weights bit for bit. On CUDA
mixed precision is used where the configuration asks for it. A loss that is not finite ends the run as a failure.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from scalesearch.data import Augmentation, Split
from scalesearch.errors import ConfigError, DivergenceError

OPTIMIZERS = ("adamw", "rmsprop", "sgd")

OnStep = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

KeepOn = Callable[[int, nn.Module], bool]
"""Called at a rung with the steps done and the network as it would be evaluated; False ends the training there."""


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """How a network is trained; the schema of ``train.*`` on the command line.

    Attributes:
        optimizer: ``adamw``, ``rmsprop`` or ``sgd`` (with Nesterov momentum).
        learning_rate: Its highest value, reached after warm-up; then a cosine down to 0.
        weight_decay: Of weights with two dimensions or more; biases and BatchNorm have none.
        momentum: Of ``sgd`` and ``rmsprop``.
        steps: Optimiser steps of a training.
        epochs: Passes over the training images, instead of ``steps``; may be a fraction.
        batch_size: Images a step; a last incomplete batch of a pass is dropped.
        warmup: Share of all steps over which the learning rate rises linearly.
        label_smoothing: Share of a target spread over all classes.
        ema_decay: Of the running mean of the weights that is evaluated in their place; 0 keeps the weights.
        clip_norm: Largest norm of the gradient; ``inf`` leaves it as it is.
        dropout: Before the classifier.
        drop_path: Of the last block; earlier blocks linearly less.
        amp: Mixed precision, where there is CUDA.
        augmentation: Of the training images.
    """

    optimizer: str = "adamw"
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    momentum: float = 0.9
    steps: int | None = 300
    epochs: float | None = None
    batch_size: int = 64
    warmup: float = 0.1
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    clip_norm: float = math.inf
    dropout: float = 0.0
    drop_path: float = 0.0
    amp: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"train.optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        for name in ("learning_rate", "batch_size", "clip_norm"):
            _check_range(name, getattr(self, name), above=0)
        self._check_budget()
        for name in ("weight_decay", "momentum", "warmup", "label_smoothing", "ema_decay", "dropout", "drop_path"):
            _check_range(name, getattr(self, name), least=0, below=1)

    def num_steps(self, num_images: int) -> int:
        """Return the optimiser steps of one training on ``num_images`` images."""
        if self.epochs is None:
            assert self.steps is not None, "checked on construction"
            return self.steps
        return max(1, round(self.epochs * max(1, num_images // self.batch_size)))

    def _check_budget(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ConfigError(
                f"train.steps and train.epochs are two ways to say one thing, got {self.steps} and {self.epochs};"
                " set the other one to null"
            )
        for name, value in (("steps", self.steps), ("epochs", self.epochs)):
            if value is not None:
                _check_range(name, value, above=0)
        if self.steps is None and self.epochs is None:
            raise ConfigError("train.steps or train.epochs must be given, got neither")


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
    started = time.perf_counter()
    num_steps = config.num_steps(len(train))
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = build_optimizer(network, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, num_steps, config))
    precision = Precision(config.amp, device)
    average = _average(network, config.ema_decay)
    losses: list[float] = []
    batches = itertools.islice(_endless(train, config, image_size), num_steps)
    for step, (images, targets) in enumerate(batches, start=1):
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        with precision.autocast():
            loss = F.cross_entropy(network(images), targets.to(device), label_smoothing=config.label_smoothing)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise DivergenceError(f"the loss was {losses[-1]} at step {step} of {num_steps}")
        precision.step(loss, network, optimizer, config.clip_norm)
        schedule.step()
        if average is not None:
            average.update_parameters(network)
        if on_step is not None:
            on_step(step, num_steps)
        if keep_on is not None and step in rungs and step < num_steps:
            with _unmoved_generators(device):
                goes_on = keep_on(step, network if average is None else average.module)
            if not goes_on:
                break
    if average is not None:
        network.load_state_dict(average.module.state_dict())
    tail = losses[-max(1, len(losses) // 10) :]
    return FitInfo(len(losses), sum(tail) / len(tail), time.perf_counter() - started)


def evaluate(
    network: nn.Module, split: Split, *, image_size: int, batch_size: int = 250, device: str = "cpu"
) -> EvalInfo:
    """Return the accuracy of ``network`` in eval mode; its mode is put back."""
    was_training = network.training
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    correct, loss = 0, 0.0
    # not around the move above: parameters made in inference mode could never be trained
    with torch.inference_mode():
        for images, targets in split.batches(
            batch_size=batch_size, image_size=image_size, augmentation=None, shuffle=False, drop_last=False
        ):
            targets = targets.to(device)
            logits = network(images.to(device, memory_format=torch.channels_last)).float()
            correct += int((logits.argmax(1) == targets).sum())
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
    network.train(was_training)
    if not math.isfinite(loss):
        raise DivergenceError("the network's outputs on the evaluation images are not finite")
    return EvalInfo(correct / len(split), loss / len(split), len(split))


def build_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the configured optimiser; biases and BatchNorm are not decayed."""
    matrices = [weight for weight in network.parameters() if weight.ndim > 1]
    vectors = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    match config.optimizer:
        case "sgd":
            nesterov = config.momentum > 0
            return torch.optim.SGD(groups, config.learning_rate, momentum=config.momentum, nesterov=nesterov)
        case "rmsprop":
            # alpha and eps as EfficientNet was trained (arXiv 1905.11946, section 5.2)
            return torch.optim.RMSprop(groups, config.learning_rate, alpha=0.9, eps=1e-3, momentum=config.momentum)
        case _:
            return torch.optim.AdamW(groups, config.learning_rate)


def learning_rate_factor(step: int, num_steps: int, config: TrainConfig) -> float:
    """Return the share of the highest learning rate at ``step``: a linear rise, then half a cosine down to 0."""
    warmup_steps = config.warmup * num_steps
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1.0, num_steps - warmup_steps)))


class Precision:
    """Mixed precision where it is wanted and there is CUDA, else plain float32."""

    def __init__(self, wanted: bool, device: str) -> None:
        self.device_type = torch.device(device).type
        self.enabled = wanted and self.device_type == "cuda"
        self.dtype = torch.bfloat16 if self.enabled and torch.cuda.is_bf16_supported() else torch.float16
        # bfloat16 has float32's range and needs no loss scaling
        self.scaler = torch.amp.GradScaler(enabled=self.enabled and self.dtype == torch.float16)

    def autocast(self) -> torch.autocast:
        """Return the context for the forward pass and the loss."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.enabled)

    def step(self, loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float) -> None:
        """Take one optimiser step down the gradient of ``loss`` alone; the norm is clipped before."""
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if math.isfinite(clip_norm):
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        self.scaler.step(optimizer)
        self.scaler.update()


def _unmoved_generators(device: str) -> AbstractContextManager[None]:
    """Give back what is drawn inside from torch's global generators, so that a reading does not change the training."""
    on_cuda = torch.device(device).type == "cuda"
    return torch.random.fork_rng(devices=[device] if on_cuda else [])


def _average(network: nn.Module, decay: float) -> AveragedModel | None:
    """Return the running mean of the weights, which forgets faster at the start, as brief trainings need."""
    if decay == 0:
        return None

    def blend(mean: Tensor, value: Tensor, num_averaged: Tensor | int) -> Tensor:
        warm = min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        return mean + (value - mean) * (1 - warm) if mean.is_floating_point() else value

    return AveragedModel(network, avg_fn=blend, use_buffers=True)


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


def _check_range(
    name: str, value: float, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf
) -> None:
    if above > -math.inf and not value > above:
        raise ConfigError(f"train.{name} must be above {above:g}, got {value}")
    if least > -math.inf and not least <= value < below:
        raise ConfigError(f"train.{name} must be in [{least:g}, {below:g}), got {value}")
