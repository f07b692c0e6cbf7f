"""What a compound-scaled network must beat: the same base scaled otherwise, to the same realised macs.

A strategy spends a growth ``s`` of the macs by exponents (depth, width, resolution) that add up to 1:
``depth = s^e_d``, ``width = sqrt(s)^e_w``, ``resolution = sqrt(s)^e_r``. A stage's macs go with
``depth * width^2 * resolution^2``, so before rounding they grow by ``s^(e_d + e_w + e_r) = s``; its activations go with
``depth * width * resolution^2`` and grow by ``s^(e_d + e_w / 2 + e_r) = s^(1 - e_w / 2)``.

``dWr`` is the fast compound scaling of Dollar, Singh & Girshick 2021 (arXiv 2103.06877): ``e_w = alpha`` and the rest
shared, with alpha = 0.8, so that activations grow by ``s^0.6``, near the ``sqrt(s)`` of width alone, where EfficientNet
with a third each has ``s^(5/6)``. Departure: their group widths have no counterpart here, as depthwise convolutions
have groups of one. The macs of these go with the width, not its square, and rounding moves the rest: so ``s`` is solved
for on the realised macs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from scalesearch.arch import ArchSpec, Cost, network_cost, published_arch
from scalesearch.arch.published import EFFICIENTNETS
from scalesearch.arch.scaling import DepthRounding, resize_arch
from scalesearch.errors import ConfigError


class Exponents(NamedTuple):
    """How a strategy shares the growth of the macs between the dimensions; the three add up to 1."""

    depth: float
    width: float
    resolution: float


FAST_ALPHA = 0.8
"""The width's share in fast compound scaling (arXiv 2103.06877)."""

STRATEGIES = {
    "depth": Exponents(1.0, 0.0, 0.0),
    "width": Exponents(0.0, 1.0, 0.0),
    "resolution": Exponents(0.0, 0.0, 1.0),
    "dWr": Exponents((1 - FAST_ALPHA) / 2, FAST_ALPHA, (1 - FAST_ALPHA) / 2),
}

_LEAST, _MOST = 2.0**-32, 2.0**32  # of a multiplier: below, everything is rounded up to its least


@dataclass(frozen=True, slots=True)
class Rival:
    """The network of one strategy whose macs come nearest the target.

    Attributes:
        depth_mult: Of the blocks of each stage, before rounding.
        width_mult: Of the channels, before rounding.
        resolution_mult: Of the image size, before rounding.
        arch: The network.
        cost: Of the network.
        realised_ratio: Its macs over the base's.
        miss: Its macs over the target, minus 1. Rounding seldom lets a strategy meet a target: depth alone has as few
            steps as the base has blocks, and cannot go below one a stage.
    """

    depth_mult: float
    width_mult: float
    resolution_mult: float
    arch: ArchSpec
    cost: Cost
    realised_ratio: float
    miss: float


def rival_archs(
    base: ArchSpec, target_macs: float, *, num_classes: int = 1000, rounding: DepthRounding = "round"
) -> dict[str, Rival]:
    """Return for each of ``STRATEGIES`` the network that comes nearest ``target_macs``; of equals the cheaper.

    No tolerance is applied: whoever compares at equal cost reads ``miss``.

    Args:
        base: The network scaled.
        target_macs: Realised macs to come near; below the base's own, its dimensions shrink.
        num_classes: Outputs of the classifier, which counts in the macs.
        rounding: Of scaled depths; to the nearest, as the authors of ``dWr`` do. Rounded up, any depth above 1 adds a
            block to every stage, and what is meant to widen deepens: 23 blocks, not 16, at twice B0's macs.

    Raises:
        ConfigError: ``target_macs`` is not a finite number above 0.

    Example:
        >>> rivals = rival_archs(published_arch("efficientnet-b0"), 2 * 385_814_752)
        >>> rivals["resolution"].arch.image_size, round(rivals["resolution"].miss, 3)
        (309, 0.001)
    """
    if not 0 < target_macs < math.inf:
        raise ConfigError(f"target_macs must be a finite number above 0, got {target_macs}")
    base_macs = network_cost(base, num_classes=num_classes).macs
    return {
        name: _solve(_Path(base, exponents, rounding, num_classes), target_macs, base_macs)
        for name, exponents in STRATEGIES.items()
    }


def nearest_published(cost: Cost) -> tuple[str, float]:
    """Return the released EfficientNet nearest in macs, by ratio, and the macs of ``cost`` over its own.

    Theirs are at their own image sizes and 1000 classes.

    Example:
        >>> name, ratio = nearest_published(network_cost(published_arch("efficientnet-b0"), 240))
        >>> name, round(ratio, 2)
        ('efficientnet-b0', 1.2)
    """
    ratios = {name: cost.macs / macs for name, macs in _published_macs().items()}
    return min(ratios.items(), key=lambda item: abs(math.log(item[1])))


@functools.cache
def _published_macs() -> dict[str, int]:
    return {name: network_cost(published_arch(name)).macs for name in EFFICIENTNETS}


@dataclass(frozen=True, slots=True)
class _Path:
    """The networks one strategy leads through as its leading multiplier, that which grows the most, rises.

    Their macs rise with it, in steps.
    """

    base: ArchSpec
    exponents: Exponents
    rounding: DepthRounding
    num_classes: int

    def multipliers(self, leading: float) -> tuple[float, float, float]:
        powers = (self.exponents.depth, self.exponents.width / 2, self.exponents.resolution / 2)
        depth, width, resolution = (leading ** (power / max(powers)) for power in powers)
        if self.exponents.width and width == 1:
            # exactly 1 rounds no channels: where they are no multiples of 8, a step out of order
            width = math.nextafter(1.0, 2.0)
        return depth, width, resolution

    def arch(self, leading: float) -> ArchSpec:
        return resize_arch(self.base, *self.multipliers(leading), rounding=self.rounding)

    def macs(self, leading: float) -> int:
        return network_cost(self.arch(leading), num_classes=self.num_classes).macs


def _solve(path: _Path, target_macs: float, base_macs: int) -> Rival:
    ends = _last_where(lambda leading: path.macs(leading) <= target_macs)
    options = [(base_macs, (1.0, 1.0, 1.0))]
    options += [(path.macs(end), path.multipliers(_plainest(path, path.macs(end)))) for end in ends]
    macs, multipliers = min(options, key=lambda option: (abs(option[0] - target_macs), option[0]))
    arch = resize_arch(path.base, *multipliers, rounding=path.rounding)
    cost = network_cost(arch, num_classes=path.num_classes)
    assert cost.macs == macs, "the multipliers reported give the macs that were found"
    return Rival(*multipliers, arch, cost, macs / base_macs, macs / target_macs - 1)


def _last_where(holds: Callable[[float], bool]) -> tuple[float, float]:
    """Return neighbouring floats: the last multiplier for which ``holds``, and the next; an end twice where all agree.

    Down to neighbours, so that no network lies between the two that these give.
    """
    low, high = _LEAST, _MOST
    if holds(low) == holds(high):
        return (high, high) if holds(high) else (low, low)
    while (middle := math.sqrt(low * high)) not in (low, high):
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high


def _plainest(path: _Path, macs: int) -> float:
    """Return the multiplier with the fewest digits among those that give a network of just these macs."""
    _, first = _last_where(lambda leading: path.macs(leading) < macs)
    last, _ = _last_where(lambda leading: path.macs(leading) <= macs)
    wanted = last if first == _LEAST else math.sqrt(first * last)  # the smallest network has no middle
    rounded = (round(wanted, digits - math.floor(math.log10(wanted))) for digits in range(17))
    return next((value for value in rounded if first <= value <= last), last)
