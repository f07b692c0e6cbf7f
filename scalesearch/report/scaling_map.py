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
from scalesearch.scaling.surface import ResponseSurface
from scalesearch.scaling.verdict import PeakFactors

Point = tuple[float, float]
Rows = tuple[tuple[float, ...], ...]

ALPHA_LIMITS = (1.0, 2.0)  # of the grid
LEVEL = 0.95
_LARGEST = 2.0  # of beta and gamma, in the grid
_NUM_POINTS = 24  # of the lattice in each direction: the region's time goes with the fourth power
_EVERY = 4  # one in so many draws of the surface places the region as well as all would
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
    """The response surface on the constraint, over a lattice that its ends bound.

    A row of the lattice has one ``alpha``, the least first, and goes from most resolution to most width.

    Attributes:
        betas: Of the lattice's points.
        gammas: Of the lattice's points.
        predicted: Top-1 at each.
        margins: How far each is within the region that holds the maximum with 95 % confidence; negative outside.
        chosen_error: The surface's standard error at the chosen candidate.
        peak: Its maximum between the candidates; None where it has none there.
    """

    betas: Rows
    gammas: Rows
    predicted: Rows
    margins: Rows
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
    shown += [] if field is None else [value for row in field.predicted for value in row]
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


def _field(surface: ResponseSurface, target: float, chosen: Floats) -> MapField:
    betas, gammas = _lattice(target)
    width, resolution = 2 * np.log2(betas), 2 * np.log2(gammas)
    features = np.stack([np.log2(target) - width - resolution, width, resolution], axis=-1).reshape(-1, 3)
    margins = replace(surface, draws=surface.draws[::_EVERY]).confidence_margins(features, LEVEL)
    return MapField(
        betas=_rows(betas),
        gammas=_rows(gammas),
        predicted=_rows(surface.predict(features)[0].reshape(betas.shape)),
        margins=_rows(margins.reshape(betas.shape)),
        chosen_error=float(surface.predict(chosen[None])[1][0]),
        peak=PeakFactors.of(surface, target),
    )


def _lattice(target: float) -> tuple[Floats, Floats]:
    """Return beta and gamma of points that fill the constraint within the grid's limits, a row an alpha."""
    low, high = max(ALPHA_LIMITS[0], target / _LARGEST**4), min(ALPHA_LIMITS[1], target)
    corner = np.clip(target / _LARGEST**2, low, high)  # below it beta and gamma cannot be 1, beyond it not the largest
    alphas = np.union1d(np.geomspace(low, high, _NUM_POINTS), corner)
    starts, ends = np.array([_ends(alpha, target) for alpha in alphas.tolist()]).swapaxes(0, 1)
    betas = np.geomspace(starts[:, 0], ends[:, 0], _NUM_POINTS, axis=1)
    return betas, np.sqrt(target / alphas)[:, None] / betas


def _rows(values: Floats) -> Rows:
    return tuple(tuple(row) for row in values.tolist())
