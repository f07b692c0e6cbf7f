"""The distinct networks that a grid of alpha, beta and gamma gives, found without building every point.

Tan & Le 2019 (arXiv 1905.11946, section 3.3) fix phi = 1, suppose twice the compute, and search a small grid under
``alpha * beta^2 * gamma^2 ~ 2``; neither grid nor code was published. Here the grid is every step of [1, 2] for each
factor. By default a point is kept when the network it gives really costs the target, since rounding moves the macs
far from the formula; points that round to the same network are one candidate.

Each axis rounds to few distinct depths, widths or image sizes, and a stage costs its first block and ``num_blocks - 1``
times another. So each width is costed at each size with one and with two blocks a stage, all depths follow by
arithmetic on arrays, and only what passes becomes an ``ArchSpec``. A test holds the result to ``scale_arch`` and
``network_cost``, point by point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from scalesearch.arch import ArchSpec, Cost, ScalingFactors, network_cost, scale_arch, stage_costs
from scalesearch.arch.budget import Budget
from scalesearch.arch.scaling import DepthRounding, resize_arch
from scalesearch.errors import ConfigError, StudyError

CONSTRAINTS = ("realised", "formula")

_LARGEST = 2.0  # of a factor: beyond it one dimension alone overshoots a doubling
_EDGE = 1e-9  # a point exactly on the tolerance's edge is inside, whatever floating point makes of it
_NUM_NEAREST = 3  # networks that an error names

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScalingCandidate:
    """A scaled network and every grid point that gives it.

    Attributes:
        arch: The network.
        cost: Of the network.
        points: The grid points, the one whose product is nearest the target first: the factors it is known by.
        realised_ratio: Its macs over the base's.
    """

    arch: ArchSpec
    cost: Cost
    points: tuple[ScalingFactors, ...]
    realised_ratio: float

    @property
    def factors(self) -> ScalingFactors:
        """The factors the candidate is known by."""
        return self.points[0]


@dataclass(frozen=True, slots=True)
class GridInfo:
    """What became of a grid's points.

    Attributes:
        points: In the grid.
        points_on_target: Those that meet the target, by the constraint asked for.
        points_on_edge: Of them, those that miss it by just the tolerance.
        networks_on_target: Distinct networks that these give.
        networks_over_budget: Of the networks on target, those left out because they cost too much.
        lowest_ratio: Least macs of a candidate over the base's.
        highest_ratio: Most macs of a candidate over the base's.
    """

    points: int
    points_on_target: int
    points_on_edge: int
    networks_on_target: int
    networks_over_budget: int
    lowest_ratio: float
    highest_ratio: float

    @property
    def points_merged(self) -> int:
        """Points on target that gave a network another point had given already."""
        return self.points_on_target - self.networks_on_target

    def __str__(self) -> str:
        over = f", {self.networks_over_budget:,} of them over the budget" if self.networks_over_budget else ""
        edge = f" ({self.points_on_edge:,} exactly on the tolerance's edge)" if self.points_on_edge else ""
        return (
            f"{self.points_on_target:,} of {self.points:,} grid points meet the target{edge} and give"
            f" {self.networks_on_target:,} distinct networks{over}, with {self.lowest_ratio:.2f} to"
            f" {self.highest_ratio:.2f} times the base's macs"
        )


@dataclass(frozen=True, slots=True)
class ScalingGrid:
    """The candidates of a grid in rising macs, and what became of its points."""

    candidates: list[ScalingCandidate]
    info: GridInfo


def scaling_grid(
    base: ArchSpec,
    *,
    target: float = 2.0,
    step: float = 0.05,
    tolerance: float = 0.05,
    constraint: str = "realised",
    rounding: DepthRounding = "ceil",
    num_classes: int = 1000,
    budget: Budget | None = None,
) -> ScalingGrid:
    """Return the distinct networks of the grid that meet the target and the budget, and what became of the points.

    Args:
        base: The network that phi = 1 scales.
        target: Times the base's macs that a candidate should cost.
        step: Of the grid over [1, 2] of each factor.
        tolerance: Share by which a candidate may miss the target; its edge is inside.
        constraint: What must meet the target: ``realised`` macs, or the ``formula`` ``alpha * beta^2 * gamma^2``.
        rounding: Of scaled depths.
        num_classes: Outputs of the classifier, which counts in the macs.
        budget: The most a candidate may cost; there is no limit where it is not given.

    Raises:
        ConfigError: ``constraint`` is unknown, or the base itself is over the budget.
        StudyError: No network is left; the sentence names the nearest ones, and the tolerance that would take one.

    Example:
        >>> from scalesearch.arch import published_arch
        >>> len(scaling_grid(published_arch("efficientnet-b0"), constraint="formula").candidates)
        65
    """
    budget = budget or Budget()
    _check_question(constraint, network_cost(base, num_classes=num_classes), budget)
    lattice = _Lattice.of(base, step, rounding, num_classes)
    product_misses = np.abs(lattice.products / target - 1)
    misses = product_misses if constraint == "formula" else np.abs(lattice.ratios / target - 1)[lattice.networks]
    on_target = np.flatnonzero(misses <= tolerance + _EDGE)
    if not len(on_target):
        raise StudyError(
            f"no point of the grid (step {step:g}) is within tolerance {tolerance:g} of target {target:g}; tolerance"
            f" {_round_up(misses.min()):g} would take the first of the nearest networks:"
            f" {_name_nearest(lattice, misses, product_misses)}"
        )
    candidates = lattice.merge(on_target, product_misses)
    kept = [candidate for candidate in candidates if budget.holds(candidate.cost)]
    if not kept:
        raise StudyError(_say_over_budget(candidates, target, budget))
    kept.sort(key=lambda candidate: (candidate.cost.macs, candidate.arch.arch_id))
    on_edge = int((misses[on_target] > tolerance - _EDGE).sum()) if tolerance else 0
    return ScalingGrid(kept, _summarise(len(lattice.networks), on_edge, candidates, kept))


def grid_points(step: float) -> Iterator[ScalingFactors]:
    """Yield every (alpha, beta, gamma) with factors 1, 1 + step, ... up to 2."""
    return itertools.starmap(ScalingFactors, itertools.product(_grid_values(step), repeat=3))


def _grid_values(step: float) -> list[float]:
    return [round(1 + index * step, 9) for index in range(int((_LARGEST - 1) / step + _EDGE) + 1)]


@dataclass(frozen=True, slots=True)
class _Lattice:
    """Every point of a grid, in the order of ``grid_points``, and the distinct networks that the points give.

    Attributes:
        values: Of a factor, the same for all three.
        products: ``alpha * beta^2 * gamma^2`` of each point.
        networks: For each point, the row of its network in ``costs`` and ``ratios``.
        costs: Of each distinct network, a column for each field of ``Cost``.
        ratios: Of each distinct network, its macs over the base's.
    """

    base: ArchSpec
    rounding: DepthRounding
    values: list[float]
    products: _Floats
    networks: _Ints
    costs: _Ints
    ratios: _Floats

    @classmethod
    def of(cls, base: ArchSpec, step: float, rounding: DepthRounding, num_classes: int) -> _Lattice:
        values = _grid_values(step)
        deep, deep_rows = _distinct(resize_arch(base, depth_mult=value, rounding=rounding) for value in values)
        wide, wide_rows = _distinct(resize_arch(base, width_mult=value) for value in values)
        fine, fine_rows = _distinct(resize_arch(base, resolution_mult=value) for value in values)
        costs = _cost_all(deep, wide, [arch.image_size for arch in fine], num_classes)
        across, up = wide_rows[:, None] * len(fine), deep_rows[:, None, None] * len(wide) * len(fine)
        squares = np.array([value**2 for value in values])  # as ScalingFactors.product rounds them
        return cls(
            base=base,
            rounding=rounding,
            values=values,
            products=(np.array(values)[:, None, None] * squares[:, None] * squares).ravel(),
            networks=(up + across + fine_rows).ravel(),
            costs=costs,
            ratios=costs[:, Cost._fields.index("macs")] / network_cost(base, num_classes=num_classes).macs,
        )

    def merge(self, points: _Ints, product_misses: _Floats) -> list[ScalingCandidate]:
        """Return the distinct networks of some points, in the order in which each is first met."""
        merged: dict[int, list[int]] = {}
        for point, network in zip(points.tolist(), self.networks[points].tolist(), strict=True):
            merged.setdefault(network, []).append(point)
        misses = product_misses.tolist()
        return [self._candidate(network, sorted(mine, key=misses.__getitem__)) for network, mine in merged.items()]

    def _candidate(self, network: int, points: list[int]) -> ScalingCandidate:
        factors = tuple(map(self._factors, points))
        return ScalingCandidate(
            arch=scale_arch(self.base, factors[0], rounding=self.rounding),
            cost=Cost(*self.costs[network].tolist()),
            points=factors,
            realised_ratio=float(self.ratios[network]),
        )

    def _factors(self, point: int) -> ScalingFactors:
        rest, gamma = divmod(point, len(self.values))
        alpha, beta = divmod(rest, len(self.values))
        return ScalingFactors(self.values[alpha], self.values[beta], self.values[gamma])


def _distinct(archs: Iterable[ArchSpec]) -> tuple[list[ArchSpec], _Ints]:
    """Return the different ones in the order they come, and for each of all its place among them."""
    places: dict[ArchSpec, int] = {}
    rows = [places.setdefault(arch, len(places)) for arch in archs]
    return list(places), np.array(rows)


def _cost_all(deep: list[ArchSpec], wide: list[ArchSpec], sizes: list[int], num_classes: int) -> _Ints:
    """Return the costs (networks, fields) of every depth with every width at every size, the last running fastest."""

    def cost_parts(num_blocks: int) -> _Ints:
        archs = [_level(arch, num_blocks) for arch in wide]
        return np.array(
            [[[cost for _, cost in stage_costs(arch, size, num_classes)] for size in sizes] for arch in archs]
        )

    one = cost_parts(1)
    another = (cost_parts(2) - one)[:, :, 1:-2]  # of each stage, without stem, head and classifier
    more = np.array([[stage.num_blocks - 1 for stage in arch.stages] for arch in deep])
    costs: _Ints = one.sum(2) + np.einsum("ds,wrsc->dwrc", more, another)
    return costs.reshape(-1, len(Cost._fields))


def _level(arch: ArchSpec, num_blocks: int) -> ArchSpec:
    return replace(arch, stages=tuple(replace(stage, num_blocks=num_blocks) for stage in arch.stages))


def _check_question(constraint: str, base_cost: Cost, budget: Budget) -> None:
    if constraint not in CONSTRAINTS:
        raise ConfigError(f"constraint must be one of {', '.join(CONSTRAINTS)}, got {constraint!r}")
    for name, excess in budget.excess(base_cost).items():
        if excess > 0:
            raise ConfigError(
                f"budget.{name} must be at least {getattr(base_cost, name):,}, what the base itself has before it is"
                f" scaled; got {getattr(budget, name):,.0f}"
            )


def _summarise(
    num_points: int, on_edge: int, candidates: list[ScalingCandidate], kept: list[ScalingCandidate]
) -> GridInfo:
    """Return the summary; ``kept`` are in rising macs."""
    return GridInfo(
        points=num_points,
        points_on_target=sum(len(candidate.points) for candidate in candidates),
        points_on_edge=on_edge,
        networks_on_target=len(candidates),
        networks_over_budget=len(candidates) - len(kept),
        lowest_ratio=kept[0].realised_ratio,
        highest_ratio=kept[-1].realised_ratio,
    )


def _say_over_budget(candidates: list[ScalingCandidate], target: float, budget: Budget) -> str:
    excesses = [budget.excess(candidate.cost) for candidate in candidates]
    nearest = min(range(len(candidates)), key=lambda index: max(excesses[index].values()))
    name = max(excesses[nearest], key=excesses[nearest].__getitem__)
    return (
        f"all {len(candidates)} networks of the grid that meet target {target:g} are over the budget; the nearest,"
        f" {candidates[nearest].factors}, has {getattr(candidates[nearest].cost, name):,} {name} where budget.{name}"
        f" is {getattr(budget, name):,.0f}"
    )


def _name_nearest(lattice: _Lattice, misses: _Floats, product_misses: _Floats) -> str:
    order = np.lexsort((product_misses, misses))
    networks = lattice.networks[order]
    first_met = np.sort(np.unique(networks, return_index=True)[1])[:_NUM_NEAREST]
    nearest = lattice.merge(order[np.isin(networks, networks[first_met])], product_misses)
    return "; ".join(
        f"{each.factors} ({each.realised_ratio:.4g} times the base's macs, product {each.factors.product:.4g})"
        for each in nearest
    )


def _round_up(share: float) -> float:
    """Keep two digits, the last one up: a tolerance that a person types and that suffices."""
    unit: float = 10.0 ** (math.floor(math.log10(share)) - 1)
    return math.ceil(share / unit) * unit
