from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import Trial

from scalesearch.search.samplers import PredictorSampler

LAYERS: dict[str, BaseDistribution] = {f"layer{index}": CategoricalDistribution([0, 1, 2, 3]) for index in range(10)}
WORTH = np.random.default_rng(3).random((10, 4))
PRICE = np.array([1.0, 2.0, 3.0, 5.0])


def accuracy(params: dict[str, Any]) -> float:
    levels = [params[f"layer{index}"] for index in range(10)]
    return float(sum(WORTH[index, level] for index, level in enumerate(levels)) + 0.5 * (levels[0] == levels[1]))


def macs(params: dict[str, Any]) -> float:
    return float(sum(PRICE[value] for value in params.values()))


def search(
    sampler: BaseSampler,
    trials: int,
    values: Callable[[dict[str, Any]], float | tuple[float, ...]] = accuracy,
    directions: tuple[str, ...] = ("maximize",),
    space: dict[str, BaseDistribution] = LAYERS,
    study: Study | None = None,
) -> Study:
    study = study or optuna.create_study(directions=directions, sampler=sampler)
    for _ in range(trials):
        trial = study.ask(space)
        study.tell(trial, values(trial.params))
    return study


def test_it_comes_nearer_to_the_optimum_than_random_search_with_every_seed() -> None:
    best_by_parts = WORTH.max(axis=1).sum()  # what a model without interactions could find
    for seed in range(3):
        ours = search(PredictorSampler(seed), 45).best_value
        assert ours > best_by_parts
        assert ours > search(RandomSampler(seed), 45).best_value + 0.3


def test_nothing_over_the_cap_is_proposed_once_the_parameters_are_known() -> None:
    study = search(PredictorSampler(0, cost=macs, max_cost=20.0), 30)
    assert all(macs(trial.params) <= 20.0 for trial in study.trials[1:])
    told = search(PredictorSampler(0, cost=macs, max_cost=20.0, space=LAYERS), 15)
    assert all(macs(trial.params) <= 20.0 for trial in told.trials)


def test_what_is_not_allowed_is_not_proposed() -> None:
    sampler = PredictorSampler(0, allows=lambda params: params["layer0"] != 2, space=LAYERS)
    assert all(trial.params["layer0"] != 2 for trial in search(sampler, 25).trials)


def test_no_point_is_proposed_twice_while_others_are_left_and_a_space_may_run_out() -> None:
    space: dict[str, BaseDistribution] = {"a": IntDistribution(0, 3), "b": CategoricalDistribution(["x", "y", "z"])}
    study = search(PredictorSampler(0), 15, lambda params: params["a"], space=space)
    points = [tuple(trial.params.values()) for trial in study.trials]
    assert len(set(points[:12])) == 12
    assert len(points) == 15


def test_a_space_of_one_point_is_proposed() -> None:
    space: dict[str, BaseDistribution] = {"a": CategoricalDistribution(["only"])}
    study = search(PredictorSampler(0), 3, lambda _: 1.0, space=space)
    assert [trial.params for trial in study.trials] == [{"a": "only"}] * 3


def test_a_resumed_study_goes_on_as_an_uninterrupted_one() -> None:
    whole = search(PredictorSampler(4, cost=macs), 24)
    begun = search(PredictorSampler(4, cost=macs), 13)
    begun.sampler = PredictorSampler(4, cost=macs)
    resumed = search(begun.sampler, 11, study=begun)
    assert [trial.params for trial in resumed.trials] == [trial.params for trial in whole.trials]


def test_other_seeds_propose_other_points() -> None:
    first, second = (search(PredictorSampler(seed), 12) for seed in (0, 1))
    assert [trial.params for trial in first.trials] != [trial.params for trial in second.trials]


def test_a_batch_of_running_trials_spreads() -> None:
    study = search(PredictorSampler(0), 20)
    batch: list[Trial] = [study.ask(LAYERS) for _ in range(6)]
    points = {tuple(trial.params.values()) for trial in batch}
    assert len(points) == 6


MIXED: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "width": IntDistribution(1, 300),
    "depth": IntDistribution(1, 5),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


def mixed_loss(params: dict[str, Any]) -> float:
    miss = (math.log10(params["rate"]) + 2) ** 2 + ((params["width"] - 200) / 100) ** 2
    return miss + abs(params["depth"] - 4) + {"a": 1.0, "b": 0.0, "c": 2.0}[params["kind"]]


def test_it_minimises_over_mixed_parameters() -> None:
    ours = [search(PredictorSampler(seed), 50, mixed_loss, ("minimize",), MIXED).best_value for seed in range(3)]
    random = [search(RandomSampler(seed), 50, mixed_loss, ("minimize",), MIXED).best_value for seed in range(3)]
    assert np.mean(ours) < 0.15 < np.mean(random)


@pytest.mark.parametrize("exact", [None, macs])
def test_with_two_objectives_the_front_grows_faster_than_at_random(exact: Callable[..., float] | None) -> None:
    def volume(study: Study) -> float:
        values = np.array([trial.values for trial in study.best_trials])
        order = values[np.argsort(values[:, 1])]
        gained = np.diff(np.concatenate([[0.0], np.maximum.accumulate(order[:, 0])]))
        return float((gained * (50.0 - order[:, 1])).sum())

    def both(params: dict[str, Any]) -> tuple[float, float]:
        return accuracy(params), macs(params)

    directions = ("maximize", "minimize")
    ours = volume(search(PredictorSampler(0, cost=exact), 45, both, directions))
    assert ours > 1.1 * volume(search(RandomSampler(0), 45, both, directions))


def test_three_objectives_two_of_them_exact() -> None:
    def three(params: dict[str, Any]) -> tuple[float, float, float]:
        return accuracy(params), macs(params), float(params["layer0"])

    sampler = PredictorSampler(0, cost=lambda params: (macs(params), float(params["layer0"])))
    study = search(sampler, 25, three, ("maximize", "minimize", "minimize"))
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 25


def test_constraints_are_learned_where_nothing_says_what_is_allowed() -> None:
    study = optuna.create_study(direction="maximize", sampler=PredictorSampler(1))
    for _ in range(45):
        trial = study.ask(LAYERS)
        trial.set_constraint("macs", macs(trial.params) - 22.0)
        study.tell(trial, accuracy(trial.params))
    broken = [macs(trial.params) > 22.0 for trial in study.trials]
    assert np.mean(broken[20:]) < 0.4 < np.mean(broken[:10])


def test_a_trial_that_failed_does_not_stop_the_study() -> None:
    study = search(PredictorSampler(0), 12)
    study.tell(study.ask(LAYERS), state=optuna.trial.TrialState.FAIL)
    assert len(search(study.sampler, 3, study=study).trials) == 16


def test_parameters_that_depend_on_others_are_drawn_and_those_all_trials_share_are_modelled() -> None:
    def objective(trial: Trial) -> float:
        depth = trial.suggest_int("depth", 1, 3)
        return depth + sum(trial.suggest_float(f"width{index}", 0, 1) for index in range(depth))

    study = optuna.create_study(direction="maximize", sampler=PredictorSampler(0))
    study.optimize(objective, n_trials=25)
    assert study.best_value > 5.0
