"""All trials of a study read at once are those that Optuna reads."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from scalesearch.study.reading import read_all_trials


def test_they_are_equal_to_optunas(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, study_name="one", direction="maximize")
    other = optuna.create_study(storage=storage, study_name="other")
    other.tell(other.ask(), 1.0)
    for index, ending in enumerate((0.5, math.inf, -math.inf, None, 0.25)):
        trial = study.ask()
        trial.suggest_categorical("kernel_size", (3, 5, "none", None, 0.25, True))
        trial.suggest_int("num_blocks", 1, 4)
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        trial.set_user_attr("arch", {"blocks": ["ir_r1_k3_s2_e6_c24"], "label": "größer"})
        trial.set_constraint("macs", 0.1 * index)
        trial.report(0.1 * index, step=10)
        trial.report(math.nan, step=20)
        if ending is None:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, ending)
    study.ask().suggest_int("num_blocks", 1, 4)
    study_id = storage.get_study_id_from_name("one")
    read, expected = read_all_trials(storage.engine, study_id), storage.get_all_trials(study_id)
    assert [repr(trial) for trial in read] == [repr(trial) for trial in expected]  # NaN differs from itself
    assert [list(trial.params) for trial in read] == [list(trial.params) for trial in expected]


def test_several_objectives_come_in_their_order(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    for index in range(3):
        study.tell(study.ask(), [0.1 * index, 1e6 + index])
    (study_id,) = [each._study_id for each in storage.get_all_studies()]
    assert read_all_trials(storage.engine, study_id) == storage.get_all_trials(study_id)


def test_a_study_without_trials_has_none(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    optuna.create_study(storage=storage)
    (study_id,) = [each._study_id for each in storage.get_all_studies()]
    assert read_all_trials(storage.engine, study_id) == []
