from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from scalesearch.search.predictor.domain import Domain
from scalesearch.search.predictor.history import RUNG_VALUES, History, HistoryReader

SPACE: dict[str, BaseDistribution] = {"x": IntDistribution(0, 9)}


def study_of(*directions: str) -> Study:
    return optuna.create_study(directions=directions or ("maximize",))


def read(study: Study) -> History:
    return HistoryReader(Domain(SPACE)).read(study.get_trials(deepcopy=False), study.directions)


def add(study: Study, x: int, *values: float, readings: dict[int, float] | None = None, pruned: bool = False) -> None:
    study.add_trial(
        create_trial(
            params={"x": x},
            distributions=SPACE,
            values=None if pruned else values,
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            user_attrs={
                **({RUNG_VALUES: [list(pair) for pair in readings.items()]} if readings else {}),
                **({"values": list(values)} if pruned else {}),
            },
        )
    )


def test_outcomes_are_signed_so_that_higher_is_better() -> None:
    study = study_of("maximize", "minimize")
    add(study, 3, 0.5, 1e6)
    assert read(study).outcomes.tolist() == [[0.5, -1e6]]


def test_running_trials_are_pending_and_known() -> None:
    study = study_of()
    study.ask(SPACE)
    history = read(study)
    assert len(history) == 0
    assert len(history.pending) == 1
    assert history.pending[0].tobytes() in history.known


def test_a_trial_that_breaks_a_constraint_is_known_and_not_learned_from() -> None:
    study = study_of()
    trial = study.ask(SPACE)
    trial.set_constraint("macs", 3.0)
    study.tell(trial, 0.0)
    history = read(study)
    assert (len(history), len(history.known)) == (0, 1)
    assert history.excess.tolist() == [[3.0]]


def test_a_trial_of_another_space_and_one_with_an_infinite_value_are_left_out() -> None:
    study = study_of()
    study.tell(study.ask({"y": IntDistribution(0, 1)}), 1.0)
    add(study, 4, float("inf"))
    assert len(read(study)) == 0


def test_a_stopped_trial_counts_as_what_complete_trials_made_of_such_a_reading() -> None:
    study = study_of("maximize", "minimize")
    for x in range(5):
        add(study, x, 0.5 + 0.02 * x, 100.0 + x, readings={10: 0.1 + 0.01 * x})
    add(study, 7, 0.2, 107.0, readings={10: 0.2}, pruned=True)
    history = read(study)
    assert history.outcomes[-1].tolist() == pytest.approx([0.7, -107.0])
    assert history.extra_noise == pytest.approx(np.zeros(6), abs=1e-9)


def test_the_worse_a_reading_foretells_the_end_the_noisier_it_counts() -> None:
    study = study_of()
    for x, end in enumerate([0.5, 0.6, 0.4, 0.55, 0.45]):
        add(study, x, end, readings={10: 0.1 + 0.001 * x})
    add(study, 7, 0.1, readings={10: 0.1}, pruned=True)
    assert read(study).extra_noise[-1] > 0.5


def test_a_stopped_trial_without_complete_ones_to_compare_with_says_nothing() -> None:
    study = study_of()
    add(study, 1, 0.5, readings={10: 0.2})
    add(study, 7, 0.1, readings={10: 0.1}, pruned=True)
    assert len(read(study)) == 1
