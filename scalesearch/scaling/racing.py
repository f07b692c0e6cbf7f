"""Which candidates of a grid to train, and which of those trained to train with one more seed.

Scores are tables with a row a candidate and a column a seed, in the order of the rounds; NaN is what was not run. A
seed's shift is common to all candidates, so candidates are compared over the same seeds: the estimates are those of an
additive model of candidates and seeds, which for a full table are the means.

The test. The noise is pooled over all candidates: with two seeds a pair by itself has one degree of freedom, a table
of twenty has nineteen. (Ranks say less still: the least p-value of Wilcoxon's signed-rank test over 5 pairs is 1/16.)
It supposes that all trainings are equally noisy. A candidate is told from the best when a one-sided t-test says so at
``(1 - level) / (num_candidates - 1)``. Each of the others may lead the truly best candidate by luck, so by Bonferroni
the truly best one is told from the best measured one with probability ``1 - level`` at most (Hsu 1984, multiple
comparisons with the best).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import stdtrit

from scalesearch.arch import ScalingFactors
from scalesearch.errors import ConfigError, StudyError
from scalesearch.scaling.doublings import Floats
from scalesearch.scaling.surface import Terms

_EXACT = 1e-9  # of a factor, a share or a prior: what floating point makes of nothing
_DIGITS = 10  # of estimates: equal scores are equal whatever was added to their seeds


def indistinguishable(scores: pd.DataFrame, level: float = 0.95) -> list[Hashable]:
    """Return the candidates that their scores do not tell from the best measured one, that one first, then by score.

    Candidates that lack seeds are compared over what they have, with the larger error; the best measured one is of
    those that lack fewest.

    Raises:
        ConfigError: ``level`` is not between 0 and 1.
        StudyError: Nothing was run.
    """
    effects = _effects(scores)
    is_told = _are_told(effects, _between("level", level))
    return [scores.index[one] for one in _ranking(effects) if not is_told[one]]


def survivors(scores: pd.DataFrame, keep: float = 1.0, level: float = 0.95) -> list[Hashable]:
    """Return the candidates that get one more seed, the best first; at least one.

    Call it after each whole round. In the race are those with all seeds so far: what lacks one was dropped or failed.
    The test spends ``(1 - level) / (r * (r - 1))`` in the round of the r-th seed, so that over all rounds together the
    truly best candidate falls to it with probability ``1 - level`` at most. After the first seed nothing is tested.

    Args:
        scores: All rounds so far, dropped candidates too: the same table gives the same answer.
        keep: Share that stays at most, the better ones by their estimates, rounded up: 1/2 or 1/3 halves or thirds
            the candidates whatever the test can tell; with 1 only the test drops.
        level: Confidence of the whole race.

    Raises:
        ConfigError: ``keep`` or ``level`` is out of range.
        StudyError: Nothing was run.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"keep must be above 0 and at most 1, got {keep}")
    effects = _effects(scores)
    num_rounds = max(2, int(effects.num_seeds.max()))
    is_told = _are_told(effects, 1 - (1 - _between("level", level)) / (num_rounds * (num_rounds - 1)))
    racing = [one for one in _ranking(effects) if effects.num_seeds[one] == effects.num_seeds.max()]
    better = racing[: math.ceil(keep * len(racing) - _EXACT)]
    return [scores.index[one] for one in better if not is_told[one]]


def seeds_to_tell(scores: pd.DataFrame, level: float = 0.95, power: float = 0.8) -> float:
    """Return with how many seeds each the best measured candidate would be told from the next one.

    By the sample size for two means, ``n = 2 * (noise / difference)^2 * (t_level + t_power)^2`` (Dupont & Plummer 1990,
    Controlled Clinical Trials 11, 116-128), with the test's own quantile and the difference as measured. That flatters
    the best one more often than not, and a smaller difference takes more: a figure to plan by, not a promise.

    Args:
        scores: All rounds so far.
        level: Of the test, as ``indistinguishable`` takes it.
        power: How probably it would tell them apart, if they differ by what was measured.

    Returns:
        A whole number; ``inf`` where they are equal, NaN where they are told apart already, where there is no next one,
        or where one seed says nothing of the noise.

    Raises:
        ConfigError: ``level`` or ``power`` is not between 0 and 1.
        StudyError: Nothing was run.
    """
    effects, power = _effects(scores), _between("power", power)
    is_told, ranking = _are_told(effects, _between("level", level)), _ranking(effects)
    if len(ranking) < 2 or is_told[ranking[1]] or not effects.num_spare:
        return math.nan
    best, other = ranking[:2]
    difference = float(effects.estimates[best] - effects.estimates[other])
    if difference <= 0 or effects.groups[best] != effects.groups[other]:
        return math.inf
    quantiles = stdtrit(effects.num_spare, [_probability(effects, level), power])
    return float(math.ceil(2 * (effects.noise * float(quantiles.sum()) / difference) ** 2))


def choose_subset(features: ArrayLike, num: int) -> list[int]:
    """Return ``num`` candidates (N, D) that together tell most about a response surface, as rising indices.

    The subset is D-optimal for the surface's terms by exchanges, what has a prior there with a prior here (DuMouchel &
    Jones 1994): corners, edges and the middle. With few of them each gets more seeds and the surface is sharper where
    it is right; with more of them a surface that is wrong somewhere misleads less.

    Raises:
        ConfigError: ``num`` is below 1 or above the number of candidates.
        StudyError: The candidates do not differ.
    """
    points = np.asarray(features, dtype=float)
    if not 1 <= num <= len(points):
        raise ConfigError(f"a subset must have 1 to {len(points)} candidates, got {num}")
    terms = Terms.of(np.unique(points, axis=0))
    columns = terms.columns(points)
    has_prior = np.arange(columns.shape[1]) >= terms.num_free
    prior = np.diag(np.where(has_prior, 1.0, _EXACT))
    return _exchanged(columns, prior, _grown(columns, prior, num))


def one_step_apart(points: Sequence[Sequence[ScalingFactors]], step: float) -> NDArray[np.bool_]:
    """Return which candidates are at most one step of the grid apart, (C, C); each is of itself.

    Args:
        points: The grid points of each candidate. Points that round to one network are one candidate, so the nearest
            two count.
        step: Of the grid; in each factor.
    """
    factors = np.array([(point.alpha, point.beta, point.gamma) for each in points for point in each])
    owners = np.repeat(np.eye(len(points)), [len(each) for each in points], axis=0)
    is_near = (np.abs(factors[:, None] - factors) <= step + _EXACT).all(axis=2)
    return np.asarray(owners.T @ is_near @ owners > 0)


class _Effects(NamedTuple):
    """What each candidate scores beside the others; NaN where it was not run.

    Attributes:
        estimates: (C,) less the mean of those it can be compared with.
        groups: (C,) labels: candidates can be compared where a chain of common seeds joins them.
        covariance: (C, C) over the noise's variance.
        noise: Standard deviation of one training.
        num_spare: Degrees of freedom behind the noise; with 0 nothing can be tested.
        num_seeds: (C,) trainings of each.
    """

    estimates: Floats
    groups: NDArray[np.int32]
    covariance: Floats
    noise: float
    num_spare: int
    num_seeds: NDArray[np.int64]


def _effects(scores: pd.DataFrame) -> _Effects:
    """Fit candidate + seed by least squares."""
    table = scores.dropna(axis="columns", how="all").to_numpy(dtype=float)
    was_run = np.isfinite(table)
    if not was_run.any():
        raise StudyError("no candidate of the race has a score: every training failed, or none was run")
    rows, columns = np.nonzero(was_run)
    design = np.column_stack([np.eye(len(table))[rows], np.eye(table.shape[1])[columns]])
    values = (table - np.nanmean(table, axis=0))[was_run]  # changes no comparison, and keeps its digits
    inverse = np.asarray(np.linalg.pinv(design.T @ design, hermitian=True), dtype=float)
    fitted = inverse @ (design.T @ values)
    rest = values - design @ fitted
    num_spare = len(rows) - int(np.linalg.matrix_rank(design))
    groups = connected_components(was_run.astype(int) @ was_run.T)[1]
    estimates = fitted[: len(table)]
    estimates -= np.array([estimates[groups == group].mean() for group in groups])
    return _Effects(
        estimates=np.where(was_run.any(axis=1), np.round(estimates, _DIGITS), np.nan),
        groups=groups,
        covariance=inverse[: len(table), : len(table)],
        noise=math.sqrt(float(rest @ rest) / num_spare) if num_spare else math.inf,
        num_spare=num_spare,
        num_seeds=was_run.sum(axis=1),
    )


def _ranking(effects: _Effects) -> list[int]:
    """Return the candidates that were run: those with most seeds first, then by estimate, then as they came."""
    order = np.lexsort((-effects.estimates, -effects.num_seeds))
    return [int(one) for one in order if effects.num_seeds[one]]


def _are_told(effects: _Effects, level: float) -> NDArray[np.bool_]:
    """Return which candidates are told from the best measured one, (C,)."""
    best = _ranking(effects)[0]
    leads = effects.estimates[best] - effects.estimates
    if (effects.num_seeds > 0).sum() == 1 or not effects.num_spare:
        return np.zeros(len(leads), dtype=bool)
    variances = np.diag(effects.covariance)
    errors = effects.noise * np.sqrt(np.maximum(variances + variances[best] - 2 * effects.covariance[best], 0))
    critical = stdtrit(effects.num_spare, _probability(effects, level))
    # half a digit, lest without any noise the rounding tells equals apart; NaN is told from nothing
    is_behind = leads > np.maximum(critical * errors, 0.5 * 10.0**-_DIGITS)
    return np.asarray(is_behind & (effects.groups == effects.groups[best]))


def _probability(effects: _Effects, level: float) -> float:
    """Return where one comparison with the best is tested, so that all of them together keep the level."""
    return 1 - (1 - level) / (int((effects.num_seeds > 0).sum()) - 1)


def _grown(columns: Floats, prior: Floats, num: int) -> list[int]:
    """Add the candidate of which least is known, one after the other."""
    chosen: list[int] = []
    for _ in range(num):
        known = np.linalg.inv(prior + columns[chosen].T @ columns[chosen])
        unknown = np.einsum("nt,tu,nu->n", columns, known, columns)
        unknown[chosen] = -math.inf
        chosen.append(int(unknown.argmax()))
    return chosen


def _exchanged(columns: Floats, prior: Floats, chosen: list[int]) -> list[int]:
    """Swap one candidate for another as long as the determinant of the information grows (Fedorov 1972)."""
    for _ in range(100 * len(chosen)):
        known = np.linalg.inv(prior + columns[chosen].T @ columns[chosen])
        between = columns @ known @ columns[chosen].T
        alone = np.einsum("nt,tu,nu->n", columns, known, columns)
        growth = (1 + alone)[:, None] * (1 - alone[chosen]) + between**2
        growth[chosen] = 0
        new, old = np.unravel_index(growth.argmax(), growth.shape)
        if growth[new, old] <= 1 + 1e-6:
            break
        chosen = [*chosen[:old], int(new), *chosen[old + 1 :]]
    return sorted(chosen)


def _between(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise ConfigError(f"{name} must be between 0 and 1, got {value}")
    return value
