"""The largest network of a scaling rule that a memory and a speed allow.

Tan & Le 2019 (arXiv 1905.11946, section 3.1, equation 2) ask for the best depth, width and resolution within a given
memory and given operations. Once the rule is found, that is the largest phi. It need not be whole: it is sought in
steps of 0.01, less than 1 % of the macs, finer than a latency can be told.

Limits are applied from cheap to dear, each to what the former left: parameters and macs in closed form, then memory,
then latency. Memory and latency are taken to rise with phi, and few networks are measured: the next one is always where
macs and the last reading say that the limit lies.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch

from scalesearch.arch import ArchSpec, Cost, network_cost, scale_arch
from scalesearch.arch.budget import Budget
from scalesearch.arch.scaling import ScalingRule
from scalesearch.errors import ConfigError, StudyError
from scalesearch.measure.probe import check_counts
from scalesearch.measure.profiling import profile_latency
from scalesearch.nn import build_network
from scalesearch.scaling.memory import pass_memory_mib
from scalesearch.study.settings import check_device

_LARGEST_PHI = 10  # ten doublings, up or down
_STEPS_PER_PHI = 100
_PROBE_REPEATS, _FINAL_REPEATS = 9, 50  # timed passes while seeking, and of the figure that is reported
_MOST_FINALS = 8  # networks that may turn out too slow when measured longer


@dataclass(kw_only=True, slots=True)
class Limits:
    """The most a network may take; ``inf`` sets no limit.

    Attributes:
        latency_ms: Median of a forward pass, measured here.
        peak_memory_mib: Of a forward pass, as ``peak_memory_mib`` counts it.
        params: Trained parameters.
        macs: Multiply-adds of one image.

    Raises:
        ConfigError: A limit is not above 0.
    """

    latency_ms: float = math.inf
    peak_memory_mib: float = math.inf
    params: float = math.inf
    macs: float = math.inf

    def __post_init__(self) -> None:
        for name, limit in asdict(self).items():
            if not limit > 0:
                raise ConfigError(f"budget.{name} must be above 0, got {limit}")

    @property
    def budget(self) -> Budget:
        """Those of the limits that have a closed form."""
        return Budget(macs=self.macs, params=self.params)


@dataclass(frozen=True, slots=True)
class PhiSolution:
    """The largest network within the limits, and what was measured of it.

    Attributes:
        phi: The largest, in steps of 0.01, that gives the network.
        arch: The network.
        cost: Of one image.
        latency_ms: Median of a pass of the batch, of more passes than while seeking.
        peak_memory_mib: Of a pass of the batch.
    """

    phi: float
    arch: ArchSpec
    cost: Cost
    latency_ms: float
    peak_memory_mib: float


def largest_phi(
    base: ArchSpec,
    rule: ScalingRule,
    limits: Limits,
    *,
    num_classes: int = 1000,
    device: str = "cpu",
    num_threads: int = 1,
    batch_size: int = 1,
) -> PhiSolution:
    """Find the largest phi of [-10, 10] whose network is within all limits; build and measure some on the way.

    The latency reported is within its limit too. It was measured after the search with more passes; a network that
    turned out too slow gave way to a smaller one.

    Args:
        base: The network that the rule scales.
        rule: Its factors are at least 1, one of them more.
        limits: At least one is finite.
        num_classes: Outputs of the classifier.
        device: On which latency and memory are measured.
        num_threads: Of the processor, while timing.
        batch_size: Images a pass, for latency and memory.

    Raises:
        ConfigError: No limit is finite, a factor shrinks the network, even the smallest network is over a limit, or
            latencies vary so much that none within the limit is confirmed.
    """
    check_device(device)
    check_counts(batch_size=batch_size, num_threads=num_threads)
    _check_question(rule, limits)
    meter = _Meter(num_classes, device, num_threads, batch_size)
    steps = _steps(base, rule, num_classes)
    for name, excess in limits.budget.excess(steps[0].cost).items():
        if excess > 0:
            raise ConfigError(_say_too_small(name, getattr(steps[0].cost, name), getattr(limits, name)))
    steps = [step for step in steps if limits.budget.holds(step.cost)]
    if math.isfinite(limits.peak_memory_mib):
        steps = steps[: _count_within(steps, limits.peak_memory_mib, meter.peak_memory_mib, "peak_memory_mib")]
    if math.isfinite(limits.latency_ms):
        steps = steps[: _count_within(steps, limits.latency_ms, meter.latency_ms, "latency_ms")]
    return _confirm(steps, limits.latency_ms, meter)


def within_memory(archs: Sequence[ArchSpec], limits: Limits, *, num_classes: int, device: str = "cpu") -> list[bool]:
    """Say of each network whether a pass of one image takes at most ``limits.peak_memory_mib``.

    Raises:
        StudyError: None does.
    """
    peaks = [pass_memory_mib(arch, num_classes=num_classes, device=device) for arch in archs]
    if min(peaks) > limits.peak_memory_mib:
        raise StudyError(
            f"budget.peak_memory_mib must be at least {math.ceil(100 * min(peaks)) / 100:,.2f}, the least of"
            f" {len(archs)} candidates; got {limits.peak_memory_mib:,.10g}"
        )
    return [peak <= limits.peak_memory_mib for peak in peaks]


class _Step(NamedTuple):
    """A network of the rule, and the largest phi that gives it."""

    phi: float
    arch: ArchSpec
    cost: Cost


@dataclass(frozen=True, slots=True)
class _Meter:
    """How networks are measured."""

    num_classes: int
    device: str
    num_threads: int
    batch_size: int

    def peak_memory_mib(self, arch: ArchSpec) -> float:
        return pass_memory_mib(arch, num_classes=self.num_classes, device=self.device, batch_size=self.batch_size)

    def latency_ms(self, arch: ArchSpec, repeats: int = _PROBE_REPEATS) -> float:
        with torch.random.fork_rng(devices=[]):
            network = build_network(arch, self.num_classes).to(self.device)
        return profile_latency(
            network,
            arch.image_size,
            batch_size=self.batch_size,
            warmup=2,
            repeats=repeats,
            device=self.device,
            num_threads=self.num_threads,
        ).p50_ms


def _check_question(rule: ScalingRule, limits: Limits) -> None:
    if not any(map(math.isfinite, asdict(limits).values())):
        raise ConfigError(f"at least one of {', '.join(f'budget.{name}' for name in asdict(limits))} must be finite")
    values = (rule.factors.alpha, rule.factors.beta, rule.factors.gamma)
    if min(values) < 1 or max(values) == 1:
        raise ConfigError(
            f"the largest phi is sought by factors of at least 1, one of them above 1; got {rule.factors}"
        )


def _steps(base: ArchSpec, rule: ScalingRule, num_classes: int) -> list[_Step]:
    """Return the distinct networks of the rule, smallest first."""
    phis = [
        index / _STEPS_PER_PHI for index in range(-_LARGEST_PHI * _STEPS_PER_PHI, _LARGEST_PHI * _STEPS_PER_PHI + 1)
    ]
    largest = {scale_arch(base, rule.factors, phi, rounding=rule.rounding): phi for phi in phis}
    return [_Step(phi, arch, network_cost(arch, num_classes=num_classes)) for arch, phi in largest.items()]


def _count_within(steps: list[_Step], limit: float, read: Callable[[ArchSpec], float], name: str) -> int:
    """Return how many of the steps, smallest first, read at most ``limit``; few are read.

    Readings go about with the macs, so the next guess is where they would meet the limit, and beyond it by a margin
    that doubles, to have the limit between two readings soon. What is then between is halved.

    Raises:
        ConfigError: Not even the smallest does.
    """
    within, over = 0, len(steps)  # so many are known to be within; the first that is known to be over
    guess, margin = max(0, bisect.bisect_right(steps, 0.0, key=lambda step: step.phi) - 1), 1
    while within < over:
        reading = read(steps[guess].arch)
        fits = reading <= limit
        within, over = (guess + 1, over) if fits else (within, guess)
        if not over:
            raise ConfigError(_say_too_small(name, reading, limit))
        guess = _meeting_point(steps, guess, limit / reading) + (margin if fits else -margin)
        if over - within <= 2 * margin:
            guess = (within + over) // 2
        guess = min(max(guess, within), over - 1)
        margin *= 2
    return within


def _meeting_point(steps: list[_Step], index: int, ratio: float) -> int:
    """Return the last step whose macs are at most ``ratio`` times those of the one at ``index``; -1 if none are."""
    return bisect.bisect_right(steps, steps[index].cost.macs * ratio, key=lambda step: step.cost.macs) - 1


def _confirm(steps: list[_Step], limit_ms: float, meter: _Meter) -> PhiSolution:
    """Measure the last step for long, and smaller ones while that is over the limit."""
    index, latency_ms = len(steps) - 1, math.inf
    for _ in range(_MOST_FINALS):
        step = steps[index]
        latency_ms = meter.latency_ms(step.arch, _FINAL_REPEATS)
        if latency_ms <= limit_ms:
            return PhiSolution(step.phi, step.arch, step.cost, latency_ms, meter.peak_memory_mib(step.arch))
        if index == 0:
            break
        index = max(0, _meeting_point(steps, index, limit_ms / latency_ms))
    raise ConfigError(
        f"budget.latency_ms of {limit_ms:g} was met while seeking, but not by longer measurements, the last of which"
        f" took {latency_ms:.3g} ms; it is too near the smallest network, or the machine is too busy to tell"
    )


def _say_too_small(name: str, least: float, limit: float) -> str:
    enough = f"{least:,}" if isinstance(least, int) else f"{math.ceil(100 * least) / 100:,.2f}"  # up, to suffice
    return (
        f"budget.{name} must be at least {enough}, what the rule's smallest network has (phi -{_LARGEST_PHI});"
        f" got {limit:,.10g}"
    )
