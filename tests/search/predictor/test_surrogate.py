from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy.optimize import approx_fprime

from scalesearch.search.predictor.domain import Domain
from scalesearch.search.predictor.surrogate import (
    Hyperparameters,
    Inputs,
    Surrogate,
    _Evidence,
    fit_hyperparameters,
)

DOMAIN = Domain(
    {
        "a": CategoricalDistribution([1, 3, 6]),
        "b": CategoricalDistribution(["x", "y"]),
        "c": FloatDistribution(0.0, 1.0),
        "noise": CategoricalDistribution([0, 1, 2]),
    }
)


def some_inputs(count: int, seed: int = 0) -> tuple[Inputs, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    points = DOMAIN.draw(rng, count)
    covariate = rng.standard_normal((count, 1))
    outcomes = points[:, 0] + 2.0 * points[:, 2] ** 2 - points[:, 1] * points[:, 2] + 0.5 * covariate[:, 0]
    return Inputs(DOMAIN.features(points), covariate), outcomes


def test_the_gradient_is_that_of_the_evidence() -> None:
    inputs, outcomes = some_inputs(25)
    prior, deviations = Hyperparameters.prior(4, 1)
    evidence = _Evidence(inputs, outcomes, DOMAIN.groups, prior, deviations, np.linspace(0, 0.1, 25))
    at = prior.values + np.random.default_rng(1).normal(0, 0.3, len(prior.values))
    assert evidence(at)[1] == pytest.approx(approx_fprime(at, lambda x: evidence(x)[0], 1e-6), rel=1e-3, abs=1e-3)


def test_what_was_read_is_predicted_and_what_was_not_is_less_sure() -> None:
    inputs, outcomes = some_inputs(60)
    surrogate = Surrogate(inputs, outcomes, DOMAIN.groups, fit_hyperparameters(inputs, outcomes, DOMAIN.groups))
    mean, deviation = surrogate.predict(inputs)
    assert mean == pytest.approx(outcomes, abs=0.15)
    unseen, truth = some_inputs(200, seed=5)
    expected, unsure = surrogate.predict(unseen)
    assert np.corrcoef(expected, truth)[0, 1] > 0.98
    assert unsure.mean() > deviation.mean()
    assert surrogate.mean(unseen) == pytest.approx(expected)


def test_a_parameter_that_matters_is_found_more_relevant_than_one_that_does_not() -> None:
    inputs, outcomes = some_inputs(80)
    relevances = fit_hyperparameters(inputs, outcomes, DOMAIN.groups).relevances
    names = list(DOMAIN.axes)
    assert relevances[names.index("c")] > 3 * relevances[names.index("noise")]


def test_believing_keeps_the_expectation_and_takes_the_doubt() -> None:
    inputs, outcomes = some_inputs(30)
    surrogate = Surrogate(inputs, outcomes, DOMAIN.groups, fit_hyperparameters(inputs, outcomes, DOMAIN.groups))
    pending, _ = some_inputs(4, seed=9)
    believing = surrogate.believing(pending)
    before, doubt = surrogate.predict(pending)
    after, less = believing.predict(pending)
    spread = outcomes.std()
    assert after == pytest.approx(before, abs=0.1 * spread)
    assert (less < doubt).all()


def test_a_noisier_reading_pulls_less() -> None:
    inputs, outcomes = some_inputs(12)
    outlier = outcomes.copy()
    outlier[0] += 5.0
    hyperparameters, _ = Hyperparameters.prior(4, 1)
    noise = np.zeros(12)
    trusted = Surrogate(inputs, outlier, DOMAIN.groups, hyperparameters, noise).mean(inputs)[0]
    noise[0] = 10.0
    doubted = Surrogate(inputs, outlier, DOMAIN.groups, hyperparameters, noise).mean(inputs)[0]
    assert doubted < trusted - 1.0


def test_outcomes_that_are_all_alike_are_no_error() -> None:
    inputs, _ = some_inputs(10)
    surrogate = Surrogate(
        inputs, np.full(10, 0.5), DOMAIN.groups, fit_hyperparameters(inputs, np.full(10, 0.5), DOMAIN.groups)
    )
    assert surrogate.mean(inputs) == pytest.approx(np.full(10, 0.5))
