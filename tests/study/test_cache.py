"""What a driver keeps of its trials is what the database has, and takes little memory."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from scalesearch.arch import SearchSpace, network_cost
from scalesearch.study.store import Record


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def open_record(url: str) -> Record:
    return Record.open(url, "mine", "search", directions=["maximize"], metric_names=["val_top1"], identity={})


def add_trials(record: Record, space: SearchSpace, count: int) -> list[FrozenTrial]:
    """Return what the record's driver sees of each trial at its end."""
    ends = []
    for index in range(count):
        trial = record.study.ask()
        arch = space.suggest(trial)
        record.describe(trial, arch, network_cost(arch), seed=0)
        record.study.tell(trial, 0.1 * index)
        ends.append(record.look_up(trial))
    return ends


def test_an_ended_trial_is_one_object_however_it_is_looked_at(url: str) -> None:
    record = open_record(url)
    ends = add_trials(record, SearchSpace.load("mbconv_small"), 3)
    assert all(seen is end for seen, end in zip(record.trials, ends, strict=True))
    assert record.look_up(optuna.trial.Trial(record.study, ends[0]._trial_id)) is ends[0]


def test_ended_trials_are_those_of_the_database(url: str) -> None:
    record = open_record(url)
    add_trials(record, SearchSpace.load("mbconv_small"), 4)
    backend = RDBStorage(url)
    assert record.trials == backend.get_all_trials(backend.get_all_studies()[0]._study_id)


def test_a_trial_of_28_parameters_takes_at_most_eight_kilobytes(url: str) -> None:
    record, space = open_record(url), SearchSpace.load("accel_nasbench")
    add_trials(record, space, 5)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    ends = add_trials(record, space, 40)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ends[0].params) == 28
    assert (after - before) / len(ends) <= 8192  # it was 26,000 when each was kept twice, with distributions of its own
