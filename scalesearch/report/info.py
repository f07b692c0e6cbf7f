"""What the analysis found, as frozen values: ``analysis`` makes them, ``plot`` draws them, a report quotes them.

Scores are fractions in [0, 1]. A standard error is NaN, not 0, where a network was trained with one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CostName = Literal["macs", "latency_ms", "params", "acts", "peak_memory_mib"]
ScoreName = Literal["val_top1", "test_top1", "val_ap"]


@dataclass(frozen=True)
class FrontierPoint:
    """One network: its cost and its score, the mean over its seeds; ``on_front`` is within its series."""

    label: str
    series: str
    cost: float
    score: float
    standard_error: float
    num_seeds: int
    arch_id: str
    on_front: bool = False


@dataclass(frozen=True)
class SeriesInfo:
    """One series: its hypervolume over the common reference, and how many networks lack a cost or score."""

    name: str
    num_networks: int
    num_left_out: int
    min_seeds: int
    max_seeds: int
    hypervolume: float


@dataclass(frozen=True)
class FrontierInfo:
    """The points of every series, each series in rising macs, and what is needed to read them.

    ``reference`` is the (cost, score) corner that every hypervolume is measured from; ``hypervolume`` is that of all
    points together. ``budget`` is in the unit of the cost, infinite where there is none; nothing was filtered by it.
    """

    points: tuple[FrontierPoint, ...]
    series: tuple[SeriesInfo, ...]
    cost_name: CostName
    score_name: ScoreName
    budget: float
    reference: tuple[float, float]
    hypervolume: float
    title: str
    num_infeasible: int
    num_failed: int
    num_pruned: int

    def members(self, series: str) -> tuple[FrontierPoint, ...]:
        """Return the points of one series in rising macs, which is a family's own order whatever the cost."""
        return tuple(point for point in self.points if point.series == series)

    def best(self, series: str) -> FrontierPoint:
        """Return the point of one series with the highest score."""
        return max(self.members(series), key=lambda point: point.score)

    def front(self, series: str) -> tuple[FrontierPoint, ...]:
        """Return the points of one series that no other of it dominates, in rising cost."""
        return tuple(sorted((p for p in self.members(series) if p.on_front), key=lambda point: point.cost))


@dataclass(frozen=True)
class ScalingCandidate:
    """One scaling rule and the network it became.

    ``product`` is alpha * beta^2 * gamma^2; ``realised_ratio`` is the network's macs over those of the base. They
    differ because depths and widths are rounded.
    """

    alpha: float
    beta: float
    gamma: float
    product: float
    realised_ratio: float
    arch_id: str
    image_size: int
    score: float
    standard_error: float
    num_seeds: int
    within_noise: bool = False


@dataclass(frozen=True)
class ScalingInfo:
    """The candidates, those with the most seeds first, then by mean.

    ``seed_sd`` is the sd between seeds, pooled over all, NaN with one seed each.
    """

    candidates: tuple[ScalingCandidate, ...]
    score_name: ScoreName
    seed_sd: float
    title: str

    @property
    def within_noise(self) -> tuple[ScalingCandidate, ...]:
        """The candidates that cannot be told apart from the best, which is the first of them."""
        return tuple(candidate for candidate in self.candidates if candidate.within_noise)
