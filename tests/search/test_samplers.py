from __future__ import annotations

import optuna
import pytest

from scalesearch.search.samplers import SAMPLERS, build_sampler


def propose(name: str, seed: int, number: int) -> dict[str, int]:
    study = optuna.create_study(sampler=build_sampler(name, seed, number))
    trial = study.ask()
    return {key: trial.suggest_categorical(key, list(range(50))) for key in ("a", "b", "c")}


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "predictor"])
def test_a_proposal_follows_from_the_seed_and_the_trials_number(name: str) -> None:
    assert propose(name, 0, 0) == propose(name, 0, 0)
    assert len({str(propose(name, seed, number)) for seed in range(3) for number in range(3)}) == 9


def test_a_sampler_that_is_not_known_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="let the sampler 'cma' through"):
        build_sampler("cma", 0, 0)
