"""A quadratic response surface: what all trainings of the scaling grid together say about its maximum.

At equal cost the candidates of a grid over alpha, beta and gamma (Tan & Le 2019, arXiv 1905.11946, section 3.3) differ
by less than one seed's noise, so the best mean is the luckiest one. A surface through all trainings pools them instead
(Box & Wilson 1951).

A candidate's features are its ``cost_doublings``: how often depth, width and resolution each double the macs by
themselves. Their sum is the logarithm of the realised ratio, so candidates of one cost lie near a plane. There is

- in the plane: slopes and a round bowl without a prior, and what makes the bowl oval with a Gaussian one: few
  candidates do not tell an oval from noise;
- across the plane, where the grid is thin: a slope alone, which is the worth of a little more compute;
- a shift of each seed, without a prior: adding a constant to a seed changes no choice;
- a deviation of each candidate from the surface, with a Gaussian prior: rounding does what no quadratic does. It
  widens the errors and is not predicted.

The two priors' variances are averaged over a grid by their restricted likelihood. All that is said follows from draws
from the posterior in which the bowl is a hill: more of one dimension pays less and less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import helmert

from scalesearch.errors import ConfigError, StudyError
from scalesearch.scaling.doublings import Floats

Bools = NDArray[np.bool_]

_THIN = 0.25  # spread, over the widest axis', below which an axis lies across the plane
_ROUNDNESS = np.logspace(-6, 2, 17)  # precision of an oval's prior, in noise variances of all trainings together
_UNEVENNESS = (0.0, 0.1, 0.3, 1.0)  # variance of the candidates' deviations over the noise's
_NUM_DRAWS = 4000
_LEAST_HILLS = 40  # draws; with fewer the data speak against a hill, and all draws count
_EXACT = 1e-24  # share of the variation below which a loss is floating point's


class LeaveOneOut(NamedTuple):
    """Errors of predicting each candidate from all others, in the unit of the accuracies."""

    rms: float
    mean_absolute: float


class Peak(NamedTuple):
    """A maximum of the surface between the candidates, and each feature's region by itself: (D,) each."""

    location: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True)
class Terms:
    """The columns of a surface: 1, the axes of the plane, the bowl, the axes across, then what makes an oval.

    Attributes:
        center: (D,) mean of the candidates.
        plane: (D, P) axes along which the candidates spread, over that spread.
        across: (D, A) the others along which they vary at all.
        forms: (Q, P, P) symmetric matrices, orthonormal: the bowl's, then those that make it oval.
    """

    center: Floats
    plane: Floats
    across: Floats
    forms: Floats

    @classmethod
    def of(cls, candidates: Floats) -> Terms:
        """Return the terms for distinct candidates (C, D).

        Raises:
            StudyError: There are fewer than two.
        """
        if len(candidates) < 2:
            raise StudyError(f"a surface needs at least two candidates that differ, got {len(candidates)}")
        center = candidates.mean(axis=0)
        _, spreads, axes = np.linalg.svd(candidates - center, full_matrices=False)
        axes = axes.T * np.sqrt(len(candidates)) / spreads[0]
        varies, is_wide = spreads > 1e-9 * spreads[0], spreads >= _THIN * spreads[0]
        plane = axes[:, is_wide]
        return cls(center, plane, axes[:, varies & ~is_wide], _forms(plane.shape[1]))

    @property
    def num_free(self) -> int:
        """Columns without a prior; they come first."""
        return int(1 + self.plane.shape[1] + len(self.forms[:1]) + self.across.shape[1])

    def columns(self, features: Floats) -> Floats:
        """Return the design matrix (N, T) of candidates (N, D)."""
        inside, across = (features - self.center) @ self.plane, (features - self.center) @ self.across
        squares = np.einsum("np,qpr,nr->nq", inside, self.forms, inside)
        return np.column_stack([np.ones(len(features)), inside, squares[:, :1], across, squares[:, 1:]])

    def affordable(self, features: Floats, shifts: Floats) -> Terms:
        """Return the terms that trainings (N, D) can tell from each other and from the seeds' shifts (N, S - 1).

        Raises:
            StudyError: Not even a plane can be fitted.
        """
        level = replace(self, across=self.across[:, :0])
        for terms in (self, level, replace(level, forms=self.forms[:0])):
            free = np.column_stack([terms.columns(features)[:, : terms.num_free], shifts])
            if len(free) > free.shape[1] == np.linalg.matrix_rank(free):
                return terms
        raise StudyError(
            f"{len(features)} trainings with {shifts.shape[1] + 1} seeds do not make a surface over"
            f" {self.plane.shape[1]} dimensions: it needs more trainings, and several candidates with each seed"
        )

    def gradients(self, coefficients: Floats) -> Floats:
        """Return the slopes (K, P) in the plane at the center, of surfaces (K, T)."""
        return coefficients[:, 1 : 1 + self.plane.shape[1]]

    def hessians(self, coefficients: Floats) -> Floats:
        """Return the second derivatives (K, P, P) in the plane, of surfaces (K, T)."""
        bowl = 1 + self.plane.shape[1]
        squares = np.column_stack([coefficients[:, bowl : bowl + 1], coefficients[:, self.num_free :]])
        return np.asarray(2 * np.einsum("kq,qpr->kpr", squares[:, : len(self.forms)], self.forms))

    def are_hills(self, coefficients: Floats) -> Bools:
        """Return which surfaces (K, T) bend down in every direction of the plane, (K,)."""
        if not len(self.forms):
            return np.zeros(len(coefficients), dtype=bool)
        return np.asarray(np.linalg.eigvalsh(self.hessians(coefficients))[:, -1] < 0)

    def peaks(self, coefficients: Floats) -> Floats:
        """Return where the hills among surfaces (K, T) are highest, (H, D)."""
        hills = coefficients[self.are_hills(coefficients)]
        inside = -np.linalg.solve(self.hessians(hills), self.gradients(hills)[..., None])[..., 0]
        return self.center + inside @ np.linalg.pinv(self.plane)


@dataclass(frozen=True, slots=True)
class ResponseSurface:
    """Accuracy over candidates' features, as ``fit_surface`` gives it; the accuracy of the mean seed.

    Attributes:
        terms: The columns.
        draws: (K, T) coefficients from their posterior; hills alone, where there are enough.
        residual_sd: Noise of one training.
        seed_shifts: What each seed adds; they sum to 0.
        features: (N, D) that were fitted.
        accuracy: (N,) that was fitted.
        seeds: (N,) that were fitted.
    """

    terms: Terms
    draws: Floats
    residual_sd: float
    seed_shifts: dict[int, float]
    features: Floats
    accuracy: Floats
    seeds: NDArray[np.int64]

    def predict(self, features: ArrayLike) -> tuple[Floats, Floats]:
        """Return the surface at candidates (M, D) and its standard error, (M,) each; noise is not in it."""
        values = self._draw_values(features)
        return values.mean(axis=0), values.std(axis=0)

    def loo_error(self) -> LeaveOneOut:
        """Return the errors of predicting each candidate's mean from a surface fitted without the candidate.

        Raises:
            StudyError: Too few candidates are left to fit.
        """
        distinct, owners = _distinct(self.features)
        errors = []
        for candidate, point in enumerate(distinct):
            own = owners == candidate
            rest = fit_surface(self.features[~own], self.accuracy[~own], self.seeds[~own])
            shifts = [rest.seed_shifts.get(int(seed), 0.0) for seed in self.seeds[own]]
            errors.append(np.mean(self.accuracy[own] - shifts) - rest.predict(point[None])[0][0])
        return LeaveOneOut(float(np.sqrt(np.mean(np.square(errors)))), float(np.mean(np.abs(errors))))

    def maximum(self, candidates: ArrayLike, near: ArrayLike | None = None, dropped: ArrayLike | None = None) -> int:
        """Return the index of the best of candidates (M, D): the one that is expected to be.

        Args:
            candidates: Features, of one cost (``at_equal_cost``) where more compute should not win.
            near: (M, M) which candidates would do in another's place. Given it, the best is, of those that cannot be
                told from the maximum, the one that is most probably near it.
            dropped: (M,) which are not taken while there is another in that region; asked only with ``near``.
        """
        values = self._draw_values(candidates)
        expected = values.mean(axis=0)
        if near is None:
            return int(expected.argmax())
        shares = np.bincount(values.argmax(axis=1), minlength=len(expected)) / len(values)
        # rounded, so that the order in which shares are added does not decide between equals
        hits = np.round(np.asarray(near, dtype=float) @ shares, 9)
        # rules a step apart may be networks far apart, where depths round up
        hits[~self.confidence_region(candidates)] = -3
        if dropped is not None:
            hits[np.asarray(dropped, dtype=bool)] -= 2
        return int(np.lexsort((expected, hits))[-1])

    def confidence_region(self, candidates: ArrayLike, level: float = 0.95) -> Bools:
        """Return which of candidates (M, D) cannot be told from the maximum, (M,).

        A candidate is outside if another leads it, in standard errors of their difference, by more than the largest
        of all such leads would be by chance with probability ``1 - level``. All comparisons with a candidate count
        together, so the best one is left out with at most that probability; in simulations with less.
        """
        return self.confidence_margins(candidates, level) >= 0

    def confidence_margins(self, candidates: ArrayLike, level: float = 0.95) -> Floats:
        """Return how far within the ``confidence_region`` candidates (M, D) are, (M,), negative where outside.

        In standard errors: the largest lead that would be chance, less the largest there is. Inside a lattice of
        candidates it changes little by little, so its zero outlines the region; at the lattice's ends, which have
        fewer rivals beside them, it may jump.
        """
        values = self._draw_values(candidates)
        expected = values.mean(axis=0)
        return np.array([_margin(one, expected, values - expected, level) for one in range(len(expected))])

    def peak(self, level: float = 0.95) -> Peak | None:
        """Return the maximum between the candidates, in their plane; None where the range that they span has none.

        Its region is where the draws have their peaks, cut at the range.
        """
        found = self.terms.peaks(self.draws.mean(axis=0, keepdims=True))
        lowest, highest = self.features.min(axis=0), self.features.max(axis=0)
        if not len(found) or (found[0] < lowest).any() or (found[0] > highest).any():
            return None
        tails = np.quantile(self.terms.peaks(self.draws), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return Peak(found[0], *np.clip(tails, lowest, highest))

    def _draw_values(self, candidates: ArrayLike) -> Floats:
        return self.draws @ self.terms.columns(np.asarray(candidates, dtype=float)).T


def fit_surface(features: ArrayLike, accuracy: ArrayLike, seeds: ArrayLike | None = None) -> ResponseSurface:
    """Fit a surface to trainings, one a row.

    Where there are too few distinct candidates for all terms the slope across the plane goes first, then the bowl.

    Args:
        features: (N, D) of each training's candidate, in comparable units; a column that does not vary is ignored.
        accuracy: (N,) in any unit.
        seeds: (N,) trainings with one seed are shifted alike; None where all have the same.

    Raises:
        ConfigError: The lengths differ, or a number is not finite.
        StudyError: Nothing can be fitted: there are too few distinct candidates or trainings.
    """
    points, scores, names = _checked(features, accuracy, seeds)
    distinct, owners = _distinct(points)
    possible = Terms.of(distinct)
    labels, shifted = np.unique(names, return_inverse=True)
    contrasts = np.vstack([np.eye(len(labels) - 1), -np.ones((1, len(labels) - 1))])
    terms = possible.affordable(points, contrasts[shifted])
    columns = terms.columns(points)
    num = columns.shape[1]
    fits = _fits(columns, terms.num_free, contrasts[shifted], np.eye(len(distinct))[owners], scores)
    log_evidence = np.array([fit.log_evidence for fit in fits])
    weights = np.exp(log_evidence - log_evidence.max())
    weights /= weights.sum()
    mean = weights @ [fit.coefficients for fit in fits]
    draws = _draw(fits, weights)[:, :num]
    hills = terms.are_hills(draws)
    return ResponseSurface(
        terms=terms,
        draws=draws[hills] if hills.sum() >= _LEAST_HILLS else draws,
        residual_sd=float(np.sqrt(weights @ [fit.variance for fit in fits])),
        seed_shifts=dict(zip(labels.tolist(), (contrasts @ mean[num:]).tolist(), strict=True)),
        features=points,
        accuracy=scores,
        seeds=names,
    )


class _Fit(NamedTuple):
    """The posterior for one pair of prior variances; ``spread`` is the covariance over the noise's ``variance``."""

    coefficients: Floats
    spread: Floats
    variance: float
    num_spare: int
    log_evidence: float


def _fits(columns: Floats, num_free: int, shifts: Floats, owners: Floats, scores: Floats) -> list[_Fit]:
    """Fit with every pair of prior variances; where nothing could tell them apart, with one."""
    design = np.column_stack([columns, shifts])
    is_oval = np.zeros(design.shape[1])
    is_oval[num_free : columns.shape[1]] = 1
    fits = []
    for unevenness in _UNEVENNESS if len(scores) > owners.shape[1] else _UNEVENNESS[:1]:
        deviations = owners if unevenness else owners[:, :0]
        for roundness in len(scores) * _ROUNDNESS if is_oval.any() else _ROUNDNESS[:1]:
            uneven = np.full(deviations.shape[1], 1 / unevenness if unevenness else 0)
            penalty = np.concatenate([is_oval * roundness, uneven])
            fits.append(_solve(np.column_stack([design, deviations]), scores, penalty, design.shape[1]))
    return fits


def _solve(design: Floats, scores: Floats, penalty: Floats, num: int) -> _Fit:
    """Return the fit of the first ``num`` columns; a penalty of 0 is no prior."""
    num_spare = len(scores) - int((penalty == 0).sum())
    precision = design.T @ design + np.diag(penalty)
    spread = np.asarray(np.linalg.inv(precision), dtype=float)
    coefficients = spread @ (design.T @ scores)
    loss = float(np.sum((scores - design @ coefficients) ** 2) + penalty @ coefficients**2)
    loss = max(loss, _EXACT * float(np.sum((scores - scores.mean()) ** 2)), float(np.finfo(float).tiny))
    volume = np.log(penalty[penalty > 0]).sum() - np.linalg.slogdet(precision)[1]
    log_evidence = 0.5 * float(volume - num_spare * np.log(loss))
    return _Fit(coefficients[:num], spread[:num, :num], loss / num_spare, num_spare, log_evidence)


def _draw(fits: list[_Fit], weights: Floats) -> Floats:
    """Draw coefficients, each time the same ones: a resumed run must choose as it would have."""
    ends = np.floor(np.cumsum(weights) * _NUM_DRAWS + 0.5).astype(int)
    draws = []
    for index, (fit, count) in enumerate(zip(fits, np.diff(ends, prepend=0), strict=True)):
        rng = np.random.default_rng(index)  # of its own: one draw more of another fit leaves these as they are
        variances = fit.variance * fit.num_spare / rng.chisquare(fit.num_spare, size=count)
        normal = rng.standard_normal((count, len(fit.spread))) @ np.linalg.cholesky(fit.spread).T
        draws.append(fit.coefficients + np.sqrt(variances)[:, None] * normal)
    return np.concatenate(draws)


def _margin(one: int, expected: Floats, deviations: Floats, level: float) -> float:
    """Test by simulation that no candidate beats one; ``deviations`` (K, M) are draws less what is expected."""
    differences = deviations - deviations[:, [one]]
    errors = differences.std(axis=0)
    rivals = errors > 1e-9 * errors.max()  # not itself, nor a candidate of the same features
    if not rivals.any():
        return 0.0
    largest = np.quantile((differences[:, rivals] / errors[rivals]).max(axis=1), level)
    return float(largest - ((expected - expected[one])[rivals] / errors[rivals]).max())


def _forms(num_axes: int) -> Floats:
    """Return an orthonormal basis of the symmetric matrices; after the first, the identity's, all have trace 0."""
    unit = np.eye(num_axes)
    mixed = [unit[i][:, None] * unit[j] + unit[j][:, None] * unit[i] for i in range(num_axes) for j in range(i)]
    return np.array([*map(np.diag, helmert(num_axes, full=True)), *(each / np.sqrt(2) for each in mixed)])


def _distinct(points: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return the distinct rows, and for each row the index of its own among them."""
    distinct, owners = np.unique(points, axis=0, return_inverse=True)
    return distinct, owners.reshape(-1)  # numpy 2.0 alone returns a column


def _checked(
    features: ArrayLike, accuracy: ArrayLike, seeds: ArrayLike | None
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    points, scores = np.asarray(features, dtype=float), np.asarray(accuracy, dtype=float)
    names = np.zeros(len(scores), dtype=np.int64) if seeds is None else np.asarray(seeds, dtype=np.int64)
    if points.ndim != 2 or scores.shape != points.shape[:1] or names.shape != scores.shape:
        raise ConfigError(
            "a surface needs features, an accuracy and a seed for each training,"
            f" got shapes {points.shape}, {scores.shape} and {names.shape}"
        )
    if not (np.isfinite(points).all() and np.isfinite(scores).all()):
        raise ConfigError("features and accuracies must be finite numbers: leave out what failed")
    return points, scores, names
