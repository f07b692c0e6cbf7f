"""Optimisation: the optimiser, its learning rate over the steps, precision, and a running mean of the weights.

It is the same for whatever is trained: a network on classes, a detector on boxes. On CUDA mixed precision is used where
the configuration asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from scalesearch.errors import ConfigError, DivergenceError
from scalesearch.measure.team import Team

OPTIMIZERS = ("adamw", "rmsprop", "sgd")


@dataclass(kw_only=True, slots=True)
class OptimisationConfig:
    """How weights are moved.

    Attributes:
        optimizer: ``adamw``, ``rmsprop`` or ``sgd`` (with Nesterov momentum).
        learning_rate: Its highest value, reached after warm-up; then a cosine down to 0.
        weight_decay: Of weights with two dimensions or more; biases and BatchNorm have none.
        momentum: Of ``sgd`` and ``rmsprop``.
        steps: Optimiser steps of a training.
        epochs: Passes over the training images, instead of ``steps``; may be a fraction.
        batch_size: Images a step; a last incomplete batch of a pass is dropped.
        warmup: Share of all steps over which the learning rate rises linearly.
        ema_decay: Of the running mean of the weights that is evaluated in their place; 0 keeps the weights.
        clip_norm: Largest norm of the gradient; ``inf`` leaves it as it is.
        amp: Mixed precision, where there is CUDA.
    """

    optimizer: str = "adamw"
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    momentum: float = 0.9
    steps: int | None = 300
    epochs: float | None = None
    batch_size: int = 64
    warmup: float = 0.1
    ema_decay: float = 0.0
    clip_norm: float = math.inf
    amp: bool = True

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"train.optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        for name in ("learning_rate", "batch_size", "clip_norm"):
            check_range(name, getattr(self, name), above=0)
        self._check_budget()
        for name in ("weight_decay", "momentum", "warmup", "ema_decay"):
            check_range(name, getattr(self, name), least=0, below=1)

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
                check_range(name, value, above=0)
        if self.steps is None and self.epochs is None:
            raise ConfigError("train.steps or train.epochs must be given, got neither")


class Optimisation:
    """Moves a network's weights down the gradients of the losses it is given.

    Args:
        network: On its device.
        config: How.
        num_steps: Of the whole training; the learning rate follows from the share that is done.
        device: ``cpu`` or ``cuda``, with an index where there are several.
        team: The processes that train it together; None where this one is alone.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimisationConfig,
        num_steps: int,
        device: str,
        team: Team | None = None,
    ) -> None:
        self._team = team
        self._network, self._num_steps, self._clip_norm = network, num_steps, config.clip_norm
        self._optimizer = build_optimizer(network, config)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: learning_rate_factor(step, num_steps, config)
        )
        self._precision = Precision(config.amp, device)
        self._average = _running_mean(network, config.ema_decay)
        self._done = 0

    def autocast(self) -> torch.autocast:
        """Return the context for the forward pass and the loss."""
        return self._precision.autocast()

    def step(self, loss: Tensor) -> float:
        """Take one step down the gradient of ``loss``, and return its value, the mean over a team.

        Raises:
            DivergenceError: It is not finite; no weight was moved.
        """
        value = (loss if self._team is None else self._team.mean(loss)).item()  # all of a team see the same
        self._done += 1
        if not math.isfinite(value):
            raise DivergenceError(f"the loss was {value} at step {self._done} of {self._num_steps}")
        self._precision.step(loss, self._network, self._optimizer, self._clip_norm)
        self._schedule.step()
        if self._team is not None:
            self._team.average_buffers(self._network)
        if self._average is not None:
            self._average.update_parameters(self._network)
        return value

    @property
    def evaluated(self) -> nn.Module:
        """The network as it would be evaluated now: with the running mean of the weights, where there is one."""
        return self._network if self._average is None else self._average.module

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on, the network's weights among it, as tensors and plain values."""
        average = {} if self._average is None else {"average": self._average.state_dict()}
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._precision.scaler.state_dict(),
            "done": self._done,
            **average,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned, for the same network and configuration."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._precision.scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._done = state["done"]

    def settle(self) -> None:
        """Leave the weights to be evaluated in the network."""
        if self._average is not None:
            self._network.load_state_dict(self._average.module.state_dict())


def build_optimizer(network: nn.Module, config: OptimisationConfig) -> torch.optim.Optimizer:
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


def learning_rate_factor(step: int, num_steps: int, config: OptimisationConfig) -> float:
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


def _running_mean(network: nn.Module, decay: float) -> AveragedModel | None:
    """Return the running mean of the weights, which forgets faster at the start, as brief trainings need."""
    if decay == 0:
        return None

    def blend(means: Any, values: Any, num_averaged: Tensor | int) -> None:  # noqa: ANN401 (lists of one type)
        warm = min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, values, 1 - warm)  # all at once: a detector has hundreds of small tensors
        else:
            torch._foreach_copy_(means, values)

    return AveragedModel(network, multi_avg_fn=blend, use_buffers=True)


def check_range(
    name: str, value: float, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf
) -> None:
    """Refuse a value of ``train.*`` outside its range."""
    if above > -math.inf and not value > above:
        raise ConfigError(f"train.{name} must be above {above:g}, got {value}")
    if least > -math.inf and not least <= value < below:
        raise ConfigError(f"train.{name} must be in [{least:g}, {below:g}), got {value}")
