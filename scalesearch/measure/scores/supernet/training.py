"""Training of a supernet, step by step resumable.

What a training draws (batches, dropout, the networks of a step) is a function of its seed and the step. So one that
was interrupted and goes on from its checkpoint ends with the same weights as one that was not, bit for bit on the CPU.

Papers: the sandwich rule and distillation in place, Yu & Huang 2019 (arXiv 1903.05134), whose sum of the gradients of a
step's networks is kept; Yu et al. 2020 (BigNAS, arXiv 2003.11142), section 3, of which the networks of a step on the
same images, each at its own size, are taken, but neither the regularisation of the largest network alone nor the
initialisation.
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalesearch.arch import ArchSpec
from scalesearch.arch.space import SearchSpace
from scalesearch.data import ImageData, Split
from scalesearch.errors import DivergenceError
from scalesearch.measure.optimisation import Precision, build_optimizer, learning_rate_factor
from scalesearch.measure.scores.config import SupernetConfig
from scalesearch.measure.scores.supernet.checkpoint import SupernetRecord, load_state, read_record, save_supernet
from scalesearch.measure.steps import OnStep
from scalesearch.measure.training import TrainConfig
from scalesearch.nn.elastic import largest_arch, smallest_arch
from scalesearch.nn.supernet import Supernet

_RANDOM_IN_SANDWICH = 2


def train_supernet(
    space: SearchSpace,
    data: ImageData,
    train: TrainConfig,
    config: SupernetConfig,
    checkpoint: Path,
    *,
    seed: int,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> None:
    """Train a space's supernet into ``checkpoint``, going on from what is there; torch's generator is seeded anew.

    Args:
        space: The search space.
        data: Its train split is learnt from, the others are not looked at.
        train: Optimiser, regularisation, batches; ``steps``, ``epochs`` and ``ema_decay`` have no part.
        config: Steps and the networks of a step.
        checkpoint: File, written each ``save_every`` steps and at the end, then without the optimiser's state.
        seed: Of the weights, the batches and the networks.
        device: ``cpu`` or ``cuda``.
        on_step: Told of each step of this sitting.

    Raises:
        ConfigError: ``checkpoint`` was begun with another space, other data or settings, or is no checkpoint.
        DivergenceError: A loss is not finite.
    """
    torch.manual_seed(_derive_seed(seed, "weights", 0))
    supernet = Supernet(space, data.num_classes, dropout=train.dropout, drop_path=train.drop_path)
    record = SupernetRecord.begin(supernet, data.fingerprint, seed, train, config)
    begun = read_record(checkpoint) if checkpoint.exists() else record
    begun.check_same(record, checkpoint)
    sitting = _Sitting(supernet, train, config, device)
    if 0 < begun.step < config.steps:
        load_state(checkpoint, supernet, sitting.optimizer)
    started = time.perf_counter()
    batches = _draw_batches(data.train, train, sitting.largest.image_size, seed, begun.step)
    for step in range(begun.step, config.steps):
        torch.manual_seed(_derive_seed(seed, "step", step))
        images, targets = next(batches)
        sitting.take_step(step, images, targets, random.Random(_derive_seed(seed, "networks", step)))
        done = step + 1
        if done % config.save_every == 0 or done == config.steps:
            seconds = begun.train_seconds + time.perf_counter() - started
            optimizer = sitting.optimizer if done < config.steps else None
            save_supernet(checkpoint, supernet, replace(record, step=done, train_seconds=seconds), optimizer)
        if on_step is not None:
            on_step(done, config.steps)


class _Sitting:
    """What lives as long as the process: the supernet on its device, and how it takes a step."""

    def __init__(self, supernet: Supernet, train: TrainConfig, config: SupernetConfig, device: str) -> None:
        supernet.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.supernet, self.train, self.config, self.device = supernet, train, config, device
        self.largest, self.smallest = largest_arch(supernet.space), smallest_arch(supernet.space)
        self.distils = config.distillation and config.sampling == "sandwich"
        self.optimizer = build_optimizer(supernet, train)
        self.precision = Precision(train.amp, device)

    def take_step(self, step: int, images: Tensor, targets: Tensor, rng: random.Random) -> None:
        """Learn from one batch with each of the step's networks, and move the weights once."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.train.learning_rate * learning_rate_factor(step, self.config.steps, self.train)
        self.optimizer.zero_grad(set_to_none=True)
        images = images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        targets, smoothing = targets.to(self.device), self.train.label_smoothing
        for number, arch in enumerate(self._choose_networks(rng)):
            logits = self._learn(step, arch, images, targets, smoothing)
            if number == 0 and self.distils:
                targets, smoothing = logits.float().softmax(1), 0.0
        self._move()

    def _choose_networks(self, rng: random.Random) -> list[ArchSpec]:
        """Return the networks of a step; in a sandwich the largest comes first."""
        if self.config.sampling == "uniform":
            return [self.supernet.space.sample(rng)]
        drawn = [self.supernet.space.sample(rng) for _ in range(_RANDOM_IN_SANDWICH)]
        return [self.largest, self.smallest, *drawn]

    def _learn(self, step: int, arch: ArchSpec, images: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Add one network's gradient to the others', and return its logits."""
        with self.precision.autocast():
            logits: Tensor = self.supernet(fit_size(images, arch.image_size), arch)
            loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        if not math.isfinite(loss.item()):
            raise DivergenceError(f"the supernet's loss was {loss.item()} at step {step + 1} of {self.config.steps}")
        self.precision.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return logits.detach()

    def _move(self) -> None:
        scaler, clip_norm = self.precision.scaler, self.train.clip_norm
        if math.isfinite(clip_norm):
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.supernet.parameters(), clip_norm)
        scaler.step(self.optimizer)
        scaler.update()


def fit_size(images: Tensor, image_size: int) -> Tensor:
    """Return a batch in the size a network is meant for, by bilinear interpolation with antialiasing."""
    if images.shape[-1] == image_size:
        return images
    size = [image_size, image_size]
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def _draw_batches(
    split: Split, train: TrainConfig, image_size: int, seed: int, step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches for ever, from that of ``step`` on: a pass opened in its middle goes on where it was left."""
    steps_a_pass = max(1, len(split) // train.batch_size)
    for number in count(step // steps_a_pass):
        skipped = max(0, step - number * steps_a_pass)
        yield from _open_pass(split, train, image_size, _derive_seed(seed, "pass", number), skipped)


def _open_pass(
    split: Split, train: TrainConfig, image_size: int, seed: int, skipped: int
) -> Iterator[tuple[Tensor, Tensor]]:
    # The order is drawn by the pass's own seed, and what is skipped draws nothing from the step's.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        batches = split.batches(
            batch_size=min(train.batch_size, len(split)),
            image_size=image_size,
            augmentation=train.augmentation,
            shuffle=True,
            drop_last=True,
        )
        for _ in range(skipped):
            next(batches, None)
    return batches


def _derive_seed(seed: int, purpose: str, number: int) -> int:
    """Return a seed of its own for each purpose and number, the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()[:7], "big")
