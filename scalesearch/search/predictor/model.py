"""The posterior behind one proposal: surrogates of what is guessed, exact values of what is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from scipy.special import log_ndtr

from scalesearch.search.predictor.costs import Costs
from scalesearch.search.predictor.domain import Array, Domain
from scalesearch.search.predictor.history import History, HistoryReader
from scalesearch.search.predictor.surrogate import Hyperparameters, Inputs, Surrogate, fit_hyperparameters

LEAST_OUTCOMES = 2
"""Trials with an outcome before anything is learned from them."""

_REFIT_GROWTH = 1.1  # hyperparameters are fitted anew when the trials have grown by a tenth
_FIRST_FIT = 8  # trials of the first fit
_BEND = 0.3  # of a standard deviation of cost, beside features whose levels are about 1 apart
_MOST_POINTS = 400  # of a surrogate, whose cost grows with the cube: beyond, the best half and a random half


class Workshop:
    """What is kept between proposals, none of which changes them: encodings, costs, the last hyperparameters."""

    def __init__(self, space: Mapping[str, BaseDistribution], domain: Domain, costs: Costs) -> None:
        self.space, self.domain, self.costs = space, domain, costs
        self.reader = HistoryReader(domain, costs.canonical)
        self._fitted: dict[str, tuple[bytes, Hyperparameters]] = {}

    def surrogate(
        self, name: str, inputs: Inputs, outcomes: Array, noise: Array, groups: NDArray[np.int64]
    ) -> Surrogate:
        """Return the posterior of one outcome; ``name`` tells outcomes apart, ``groups`` features by parameter."""
        count = _scheduled(len(outcomes))
        content = outcomes[:count].tobytes() + inputs.features[:count].tobytes()
        if name not in self._fitted or self._fitted[name][0] != content:
            active = _active(outcomes[:count])
            fit = fit_hyperparameters(inputs[:count][active], outcomes[active], groups, noise[active])
            self._fitted[name] = (content, fit)
        active = _active(outcomes)
        return Surrogate(inputs[active], outcomes[active], groups, self._fitted[name][1], noise[active])


class Posterior:
    """What is known of every point's outcomes after a history.

    Args:
        workshop: Kept between proposals.
        history: With fewer than two outcomes nothing is known but the constraints.
        models_constraints: Whether constraint values are learned, where nothing says beforehand what is allowed.
    """

    def __init__(self, workshop: Workshop, history: History, models_constraints: bool) -> None:
        self._workshop, self._history = workshop, history
        costs = workshop.costs.costs(np.vstack([history.points, history.checked]))
        num_objectives = len(history.signs)
        self._num_exact = min(costs.shape[1], num_objectives - 1)
        self._is_log = bool(costs.size) and bool((costs > 0).all())
        # By the trials the hyperparameters are fitted to, where there are any: the scale then changes when they do.
        fitted = _scheduled(len(history)) if len(history) >= LEAST_OUTCOMES else len(costs)
        covariates = self._transformed(costs[:fitted])
        self._center, self._spread = covariates.mean(axis=0), covariates.std(axis=0) + 1e-12
        # Over the range of a front accuracy bends with cost; below a limit, where candidates crowd, a slope is enough
        # and more flexibility was measured to cost accuracy (docs/LOG.md).
        self._bends = num_objectives > 1
        extra = costs.shape[1] if self._bends else 0
        following = np.arange(extra) + workshop.domain.num_parameters
        self._groups = np.concatenate([workshop.domain.groups, following])
        num_guessed = num_objectives - self._num_exact if len(history) >= LEAST_OUTCOMES else 0
        self._surrogates = [self._learn(index) for index in range(num_guessed)]
        self._limits = self._learn_constraints() if models_constraints else []

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return expected outcomes and their deviations, (N, M) each; exact ones have deviation 0."""
        costs = self._workshop.costs.costs(points)
        inputs, exact = self._inputs(points, costs), self._exact(costs)
        means, deviations = zip(*(surrogate.predict(inputs) for surrogate in self._surrogates), strict=True)
        return np.column_stack([*means, exact]), np.column_stack([*deviations, np.zeros_like(exact)])

    def mean(self, points: Array) -> Array:
        """Return expected outcomes (N, M)."""
        costs = self._workshop.costs.costs(points)
        inputs = self._inputs(points, costs)
        return np.column_stack([*(surrogate.mean(inputs) for surrogate in self._surrogates), self._exact(costs)])

    def log_feasibility(self, points: Array) -> Array:
        """Return the logarithm of the probability that every learned constraint holds, (N,)."""
        total = np.zeros(len(points))
        for limit in self._limits:
            mean, deviation = limit.predict(self._inputs(points))
            total += log_ndtr(-mean / deviation)
        return total

    def _learn(self, index: int) -> Surrogate:
        """Return the surrogate of an outcome, running trials told what it expects of them."""
        history, name = self._history, f"outcome {index}"
        inputs, outcomes = self._inputs(history.points), history.outcomes[:, index]
        noise = history.extra_noise if index == 0 else np.zeros(len(history))
        surrogate = self._workshop.surrogate(name, inputs, outcomes, noise, self._groups)
        return surrogate.believing(self._inputs(history.pending)) if len(history.pending) else surrogate

    def _learn_constraints(self) -> list[Surrogate]:
        history = self._history
        if len(history.checked) < LEAST_OUTCOMES:
            return []
        inputs, noise = self._inputs(history.checked), np.zeros(len(history.checked))
        return [
            self._workshop.surrogate(f"constraint {index}", inputs, excess, noise, self._groups)
            for index, excess in enumerate(history.excess.T)
        ]

    def _inputs(self, points: Array, costs: Array | None = None) -> Inputs:
        costs = self._workshop.costs.costs(points) if costs is None else costs
        covariates = (self._transformed(costs) - self._center) / self._spread
        features = self._workshop.domain.features(points)
        if self._bends:
            features = np.hstack([features, _BEND * covariates])
        return Inputs(features, covariates)

    def _exact(self, costs: Array) -> Array:
        """Return the exact outcomes, the last ones, with the sign by which higher is better."""
        if not self._num_exact:
            return np.empty((len(costs), 0))
        return costs[:, -self._num_exact :] * self._history.signs[-self._num_exact :]

    def _transformed(self, costs: Array) -> Array:
        return np.log(np.maximum(costs, 1e-300)) if self._is_log else costs


def _scheduled(count: int) -> int:
    """Return how many of ``count`` trials the hyperparameters are fitted to: the same for nearby counts."""
    scheduled = min(_FIRST_FIT, count)
    while int(np.ceil(scheduled * _REFIT_GROWTH)) <= count:
        scheduled = int(np.ceil(scheduled * _REFIT_GROWTH))
    return scheduled


def _active(outcomes: Array) -> NDArray[np.int64]:
    """Return the indices of the outcomes a surrogate learns from: all, or the best and a random choice of the rest."""
    if len(outcomes) <= _MOST_POINTS:
        return np.arange(len(outcomes))
    order = np.argsort(-outcomes)
    rest = np.random.default_rng(len(outcomes)).permutation(order[_MOST_POINTS // 2 :])
    return np.concatenate([order[: _MOST_POINTS // 2], rest[: _MOST_POINTS // 2]])
