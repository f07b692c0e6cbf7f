from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution

from scalesearch.search.predictor import model
from scalesearch.search.predictor.surrogate import Hyperparameters
from scalesearch.search.samplers import PredictorSampler

SPACE: dict[str, BaseDistribution] = {f"layer{index}": CategoricalDistribution([0, 1, 2, 3]) for index in range(6)}


@pytest.mark.parametrize("num_objectives", [1, 2])
def test_hyperparameters_are_fitted_when_the_trials_have_grown_by_a_tenth_and_not_in_between(
    num_objectives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fits = model.fit_hyperparameters, []

    def counted(*arguments: object) -> Hyperparameters:
        fits.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "fit_hyperparameters", counted)
    directions = ["maximize", "minimize"][:num_objectives]
    sampler = PredictorSampler(0, cost=lambda params: float(1 + sum(params.values())), space=SPACE)
    study = optuna.create_study(directions=directions, sampler=sampler)
    rng = np.random.default_rng(0)
    for _ in range(40):
        trial = study.ask(SPACE)
        study.tell(trial, [rng.random(), 1 + sum(trial.params.values())][:num_objectives])
    schedule = {model._scheduled(count) for count in range(5, 40)}
    assert len(fits) == len(schedule)
