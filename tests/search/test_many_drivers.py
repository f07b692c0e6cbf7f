"""Two drivers of one search on a real PostgreSQL server: every candidate once, and nothing lost with a driver."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scalesearch.arch import network_cost
from scalesearch.measure.scores import Job
from scalesearch.search import run_search
from scalesearch.search.rungs import PrunerConfig
from scalesearch.study.roster import Entry, Roster
from scalesearch.study.store import Record, load_records
from tests.search.loops import NARROW, new_config
from tests.study.stand_ins import TINY_DATA, TINY_TRAINING, FormulaExecutor, worth


def slow_worth(job: Job) -> float:
    time.sleep(0.02)
    return worth(job)


def search_with(folder: Path, url: str, executors: list[FormulaExecutor], **changes: Any) -> list[Any]:
    configs = []
    for index, executor in enumerate(executors):
        own = folder / str(index)
        own.mkdir(exist_ok=True)
        configs.append(new_config(own, executor, storage=url, driver_timeout=1.0, sampler="random", **changes))
    with ThreadPoolExecutor(len(configs)) as pool:
        return list(pool.map(run_search, configs))


def read_trials(url: str) -> Any:
    (record,) = load_records(url, "mine")
    return record.frame()


def test_two_drivers_share_the_trials_and_train_no_candidate_twice(tmp_path: Path, database: str) -> None:
    executors = [FormulaExecutor(slow_worth, num_workers=2), FormulaExecutor(slow_worth, num_workers=2)]
    results = search_with(tmp_path, database, executors, trials=24)
    trained = [arch.arch_id for executor in executors for arch in executor.archs]
    assert len(trained) == len(set(trained)) == 24
    assert min(len(executor.archs) for executor in executors) > 3  # both had work
    assert results[0].base == results[1].base
    assert results[0].num_scored == results[1].num_scored == 24
    trials = read_trials(database)
    assert set(trials.state) <= {"COMPLETE", "DUPLICATE"}
    assert (trials.state == "COMPLETE").sum() == 24


def test_a_narrow_space_is_worked_off_once_by_both(tmp_path: Path, database: str) -> None:
    executors = [FormulaExecutor(slow_worth), FormulaExecutor(slow_worth)]
    search_with(tmp_path, database, executors, trials=3, space=NARROW)
    trained = [arch.arch_id for executor in executors for arch in executor.archs]
    assert len(trained) == len(set(trained)) == 3
    trials = read_trials(database)
    assert set(trials.state) <= {"COMPLETE", "DUPLICATE"}  # each twin was told


def test_what_a_driver_leaves_behind_another_takes_up(tmp_path: Path, database: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        search_with(tmp_path, database, [FormulaExecutor(num_workers=3, last=4)], trials=9)
    running = [trial for trial in load_records(database, "mine")[0].trials if not trial.state.is_finished()]
    assert len(running) == 3
    executor = FormulaExecutor(num_workers=2)
    search_with(tmp_path, database, [executor], trials=9)
    assert {trial.user_attrs["arch_id"] for trial in running} <= {arch.arch_id for arch in executor.archs}
    assert (read_trials(database).state == "COMPLETE").sum() == 9


def test_rungs_of_one_driver_count_for_the_other(tmp_path: Path, database: str) -> None:
    keys: dict[str, Any] = {"trials": 16, "pruner": PrunerConfig(method="asha")}
    keys["train"] = type(TINY_TRAINING)(steps=9, batch_size=11)
    executors = [FormulaExecutor(slow_worth, num_workers=2), FormulaExecutor(slow_worth, num_workers=2)]
    search_with(tmp_path, database, executors, **keys)
    states = read_trials(database).state.value_counts()
    assert states["COMPLETE"] + states["PRUNED"] == 16
    assert states["PRUNED"] >= 4  # a driver that saw its own half alone would stop fewer


def test_two_drivers_train_a_fixed_list_once(tmp_path: Path, database: str) -> None:
    from tests.study.test_roster import ARCHS

    entries = [
        Entry(
            job=Job(arch=arch, seed=seed, data=TINY_DATA, train=TINY_TRAINING),
            cost=network_cost(arch, num_classes=11),
            label=str(seed),
            numbers={"width": float(arch.stages[0].out_channels)},
        )
        for seed in range(6)
        for arch in ARCHS
    ]
    executors = [FormulaExecutor(slow_worth, num_workers=2), FormulaExecutor(slow_worth)]

    def run(executor: FormulaExecutor) -> Any:
        record = Record.open(
            database, "mine", "scale", directions=["maximize"], metric_names=["val_top1"], identity={}, driver_timeout=1
        )
        return Roster(record, entries).run(executor)

    with ThreadPoolExecutor(2) as pool:
        frames = list(pool.map(run, executors))
    trained = [(job.arch.arch_id, job.seed) for executor in executors for _, job in executor.submitted]
    assert len(trained) == len(set(trained)) == len(entries) == 18
    for frame in frames:  # each saw all to the end
        assert frame.state.tolist() == ["COMPLETE"] * 18
