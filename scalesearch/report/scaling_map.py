"""The map of scaling rules: where on ``alpha * beta^2 * gamma^2 = target`` accuracy lies, and what was measured there.

Pure functions from the scaling grid's table and surface to the frozen values that ``plot_map`` draws.

Factors on the map are as realised: ``beta^2`` is by what the candidate's width alone multiplies the base's macs after
rounding, ``gamma^2`` its resolution and ``alpha`` its depth alone. In the factors that a rule is written with, few
networks meet the constraint: EfficientNet's own (1.2, 1.1, 1.15; Tan & Le 2019, arXiv 1905.11946, section 3.3) makes
B0 deeper by 1.47 and 2.57 times as dear. As realised all do, once brought to the target's macs as the surface does, and
what the surface says of a candidate is the colour below its dot. Width and resolution move little by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalesearch.arch import ArchSpec, ScalingFactors
from scalesearch.arch.scaling import EFFICIENTNET_FACTORS, DepthRounding
from scalesearch.errors import StudyError
from scalesearch.scaling.doublings import Floats, at_equal_cost, cost_doublings, realised_factors
from scalesearch.scaling.surface import Bools, ResponseSurface
from scalesearch.scaling.verdict import PeakFactors

Point = tuple[float, float]
Segment = tuple[Point, Point]

ALPHA_LIMITS = (1.0, 2.0)  # of the grid
LEVEL = 0.95
_LARGEST = 2.0  # of beta and gamma, in the grid
_FINE = 72  # cells of the colour along each axis
_COARSE = 24  # cells of the region: its time goes with the fourth power
_EVERY = 4  # one in so many draws of the surface places so coarse an outline as well as all would
_ALPHAS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
_EDGE = 1e-9
_NEEDED = ("alpha", "beta", "gamma", "val_top1", "val_top1_se", "num_seeds", "arch_id")


@dataclass(frozen=True)
class MapCandidate:
    """One candidate: the factors it is known by, its place on the map (realised factors), and its mean over seeds.

    ``score`` is NaN where no training was completed, ``standard_error`` with one.
    """

    alpha: float
    beta: float
    gamma: float
    width: float
    resolution: float
    arch_id: str
    score: float
    standard_error: float
    num_seeds: int


@dataclass(frozen=True)
class AlphaLine:
    """Where the constraint leaves one ``alpha``: straight on logarithmic axes, between two (beta, gamma)."""

    alpha: float
    start: Point
    end: Point


@dataclass(frozen=True)
class MapField:
    """The response surface on the constraint.

    Attributes:
        edges: Of the cells, along either axis.
        predicted: Top-1 in the middle of each cell, a row a gamma; NaN where ``alpha`` leaves the grid's limits.
        domain: Corners of the constraint within these limits; cells at its ends stick out by a half.
        outline: Sides of the region that holds the maximum with 95 % confidence, over a coarser lattice.
        chosen_error: The surface's standard error at the chosen candidate.
        peak: Its maximum between the candidates; None where it has none there.
    """

    edges: tuple[float, ...]
    predicted: tuple[tuple[float, ...], ...]
    domain: tuple[Point, ...]
    outline: tuple[Segment, ...]
    chosen_error: float
    peak: PeakFactors | None


@dataclass(frozen=True)
class MapInfo:
    """The map; ``candidates`` are those with a score, fewest seeds first, and ``field`` is None without a surface.

    ``score_limits`` hold the surface and the candidates with all seeds, ``landmark`` is EfficientNet's rule, unrounded.
    """

    candidates: tuple[MapCandidate, ...]
    chosen: MapCandidate
    field: MapField | None
    alpha_lines: tuple[AlphaLine, ...]
    landmark: ScalingFactors
    target: float
    most_seeds: int
    num_untrained: int
    score_limits: tuple[float, float]
    title: str

    @property
    def complete(self) -> tuple[MapCandidate, ...]:
        """The candidates with the most seeds."""
        return tuple(candidate for candidate in self.candidates if candidate.num_seeds == self.most_seeds)

    @property
    def dropped(self) -> tuple[MapCandidate, ...]:
        """The candidates with fewer: the race dropped them, or a training failed."""
        return tuple(candidate for candidate in self.candidates if candidate.num_seeds < self.most_seeds)


def scaling_map_info(
    table: pd.DataFrame,
    surface: ResponseSurface | None,
    base: ArchSpec,
    *,
    target: float,
    rounding: DepthRounding,
    chosen_arch_id: str,
    num_classes: int = 1000,
    title: str = "",
) -> MapInfo:
    """Return the map of a scaling grid.

    Args:
        table: One row a candidate, as the grid's evidence summarises them.
        surface: Over ``cost_doublings`` of the candidates; None where too little was trained to fit one.
        base: The network that was scaled.
        target: Times its macs.
        rounding: Of scaled depths.
        chosen_arch_id: Of the candidate that the grid would take.
        num_classes: Outputs of the classifier, which counts in the macs.
        title: What the picture shows; empty for a plain description.

    Raises:
        StudyError: A column is missing, no candidate has a score, or none has ``chosen_arch_id``.
    """
    _check(table, chosen_arch_id)
    factors = [ScalingFactors(*map(float, row)) for row in table[["alpha", "beta", "gamma"]].to_numpy()]
    features = at_equal_cost(cost_doublings(base, factors, rounding, num_classes), target)
    everything = [_candidate(row, place) for (_, row), place in zip(table.iterrows(), features, strict=True)]
    chosen = table.arch_id.tolist().index(chosen_arch_id)
    scored = sorted((each for each in everything if math.isfinite(each.score)), key=lambda each: each.num_seeds)
    field = None if surface is None else _field(surface, target, features[chosen])
    shown = [each.score for each in scored if each.num_seeds == scored[-1].num_seeds]
    shown += [] if field is None else [value for row in field.predicted for value in row if math.isfinite(value)]
    return MapInfo(
        candidates=tuple(scored),
        chosen=everything[chosen],
        field=field,
        alpha_lines=_alpha_lines(target),
        landmark=EFFICIENTNET_FACTORS,
        target=target,
        most_seeds=scored[-1].num_seeds,
        num_untrained=len(everything) - len(scored),
        score_limits=(min(shown), max(shown)),
        title=title or f"Scaling rules at {target:g} times the base's macs, and their accuracy",
    )


def _check(table: pd.DataFrame, chosen_arch_id: str) -> None:
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise StudyError(f"the table of candidates lacks the columns {', '.join(missing)}")
    if not np.isfinite(table.val_top1.astype(float)).any():
        raise StudyError(f"there is no map to draw: none of {len(table)} candidates has a score")
    if chosen_arch_id not in set(table.arch_id):
        raise StudyError(f"the chosen candidate must be one of the table's, got arch_id {chosen_arch_id}")


def _candidate(row: pd.Series, doublings: Floats) -> MapCandidate:
    _, width, resolution = realised_factors(doublings).tolist()
    return MapCandidate(
        alpha=float(row.alpha),
        beta=float(row.beta),
        gamma=float(row.gamma),
        width=width,
        resolution=resolution,
        arch_id=str(row.arch_id),
        score=float(row.val_top1),
        standard_error=float(row.val_top1_se),
        num_seeds=int(row.num_seeds),
    )


def _top(target: float) -> float:
    """Return the largest width or resolution that leaves ``alpha`` and the other at least 1."""
    return min(_LARGEST, math.sqrt(target / ALPHA_LIMITS[0]))


def _ends(alpha: float, target: float) -> tuple[Point, Point]:
    """Return where the constraint leaves ``alpha``: the ends with most resolution and most width."""
    both, top = max(1.0, math.sqrt(target / alpha)), _top(target)  # both: beta * gamma
    least, most = max(1.0, both / top), min(top, both)
    return (least, both / least), (most, both / most)


def _alpha_lines(target: float) -> tuple[AlphaLine, ...]:
    lines = [AlphaLine(alpha, *_ends(alpha, target)) for alpha in _ALPHAS]
    return tuple(line for line in lines if line.end[0] > line.start[0] * (1 + _EDGE))


def _domain(target: float) -> tuple[Point, ...]:
    """Return the corners of what the grid's limits leave of the constraint; some may coincide."""
    (outer_start, outer_end), (inner_start, inner_end) = (_ends(alpha, target) for alpha in ALPHA_LIMITS)
    return (outer_start, outer_end, (outer_end[0], 1.0), inner_end, inner_start, (1.0, outer_start[1]))


def _field(surface: ResponseSurface, target: float, chosen: Floats) -> MapField:
    edges, features, is_inside = _lattice(_FINE, target)
    predicted = np.where(is_inside, surface.predict(features.reshape(-1, 3))[0].reshape(is_inside.shape), np.nan)
    return MapField(
        edges=tuple(edges.tolist()),
        predicted=tuple(tuple(row) for row in predicted.tolist()),
        domain=_domain(target),
        outline=_outline(replace(surface, draws=surface.draws[::_EVERY]), target),
        chosen_error=float(surface.predict(chosen[None])[1][0]),
        peak=PeakFactors.of(surface, target),
    )


def _lattice(num_cells: int, target: float) -> tuple[Floats, Floats, Bools]:
    """Return edges, ``cost_doublings`` (G, B, 3) in the middle of each cell, and whether its alpha is the grid's."""
    edges = np.geomspace(1.0, _top(target), num_cells + 1)
    middles = np.log2(edges[:-1] * edges[1:])  # twice the logarithm of the middle
    resolution, width = np.meshgrid(middles, middles, indexing="ij")
    depth = np.log2(target) - width - resolution
    low, high = np.log2(ALPHA_LIMITS)
    return edges, np.stack([depth, width, resolution], axis=-1), (depth >= low - _EDGE) & (depth <= high + _EDGE)


def _outline(surface: ResponseSurface, target: float) -> tuple[Segment, ...]:
    """Return the sides of the region's cells beyond which it ends.

    The constraint's ends at alpha 1 and 2 halve the cells whose middle they meet: these end in the diagonal.
    """
    edges, features, is_inside = _lattice(_COARSE, target)
    region = np.zeros(is_inside.shape, dtype=bool)
    region[is_inside] = surface.confidence_region(features[is_inside], LEVEL)
    is_beyond = ~np.pad(region, 1)
    at = edges.tolist()
    outline: list[Segment] = []
    for row, column in np.argwhere(region).tolist():
        left, right, low, high = at[column], at[column + 1], at[row], at[row + 1]
        is_one, is_two = np.abs(features[row, column, 0] - np.log2(ALPHA_LIMITS)) < _EDGE
        sides = (
            (is_one or is_two, (left, high), (right, low)),
            (not is_two and is_beyond[row + 1, column], (left, low), (left, high)),
            (not is_two and is_beyond[row, column + 1], (left, low), (right, low)),
            (not is_one and is_beyond[row + 1, column + 2], (right, low), (right, high)),
            (not is_one and is_beyond[row + 2, column + 1], (left, high), (right, high)),
        )
        outline += [(start, end) for is_side, start, end in sides if is_side]
    return tuple(outline)
