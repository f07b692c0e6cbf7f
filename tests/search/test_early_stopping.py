"""The search with rungs: who is stopped, what is kept of them, and how a stopped study goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import StudyError
from scalesearch.measure.training import TrainConfig
from scalesearch.search.rungs import PrunerConfig, Rungs
from scalesearch.search.samplers import SAMPLERS
from tests.search.loops import (
    macs_of,
    proposals,
    read_record,
    read_trials,
    search,
)
from tests.study.stand_ins import FormulaExecutor, worth

RUNGS = {"pruner": PrunerConfig(method="asha", grace=2), "train": TrainConfig(steps=9, batch_size=11)}  # at 1 and 3


def readings(folder: Path) -> list[tuple[Any, ...]]:
    """Return what each trial read at its rungs, where it was stopped and how it ended."""
    kept = ("rung_values", "rung", "values", "arch_id")
    return [(trial.state, *map(trial.user_attrs.get, kept)) for trial in read_record(folder).trials]


@pytest.mark.parametrize(("sampler", "objective"), [*((sampler, "front") for sampler in SAMPLERS), ("tpe", "accuracy")])
def test_candidates_are_stopped_at_rungs_and_recorded_with_what_they_read(
    tmp_path: Path, sampler: str, objective: str
) -> None:
    executor = FormulaExecutor(num_workers=2)
    result = search(tmp_path, executor, trials=16, sampler=sampler, objective=objective, **RUNGS)
    trials = [trial for trial in read_record(tmp_path).trials if "state" not in trial.user_attrs]
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert len(trials) == result.num_scored == 16  # those that were stopped are trials too
    assert 3 <= len(pruned) <= 13
    full = {trial.number: worth(job) for trial in trials for key, job in executor.submitted if key == trial.number}
    for trial in trials:
        attributes = trial.user_attrs
        steps = [1, 3] if trial not in pruned else [1, 3][: attributes["rung"] + 1]
        assert attributes["rung_values"] == [[step, full[trial.number] * (step / 9)] for step in steps]
        assert attributes["score"]["steps"] == (steps[-1] if trial in pruned else 9)
    for trial in pruned:
        last = trial.user_attrs["rung_values"][-1][1]
        assert trial.user_attrs["values"] == [last, trial.user_attrs["macs"]][: 2 if objective == "front" else 1]
    assert not {trial.user_attrs["arch_id"] for trial in pruned} & {result.base.arch_id}
    assert list((tmp_path / "mine" / "checkpoints").iterdir()) == [result.checkpoint]
    assert sorted(read_trials(tmp_path).rung.dropna()) == sorted(trial.user_attrs["rung"] for trial in pruned)


def test_those_stopped_are_the_ones_that_the_rungs_say(tmp_path: Path) -> None:
    executor = FormulaExecutor(num_workers=3)
    search(tmp_path, executor, trials=16, **RUNGS)
    jobs, rungs = dict(executor.submitted), Rungs(RUNGS["pruner"], 9, ("maximize", "minimize"))  # type: ignore[arg-type]
    assert {job.rungs for job in jobs.values()} == {(1, 3)}
    for number, rung, goes_on in executor.answers:
        steps = (1, 3)[rung]
        rungs.record(number, steps, [worth(jobs[number]) * (steps / 9), macs_of(jobs[number].arch)])
        assert rungs.keeps_on(number, steps) is goes_on


def test_hyperbands_candidates_have_the_rungs_of_their_brackets(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    keys = {**RUNGS, "pruner": PrunerConfig(method="hyperband")}
    search(tmp_path, executor, trials=12, **keys)
    assert {job.rungs for _, job in executor.submitted} == {(1, 3), (3,), ()}


def test_without_a_pruner_no_candidate_is_read_before_its_end(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    search(tmp_path, executor, trials=4, train=RUNGS["train"])
    assert executor.answers == []
    assert {job.rungs for _, job in executor.submitted} == {()}


@pytest.mark.parametrize("last", [9, 14])
def test_a_study_with_rungs_that_was_stopped_decides_as_one_that_was_not(tmp_path: Path, last: int) -> None:
    once, stopped = tmp_path / "once", tmp_path / "stopped"
    for folder in (once, stopped):
        folder.mkdir()
    search(once, trials=12, **RUNGS)
    with pytest.raises(KeyboardInterrupt):
        search(stopped, FormulaExecutor(last=last), trials=12, **RUNGS)
    search(stopped, trials=12, **RUNGS)
    assert proposals(stopped) == proposals(once)
    assert readings(stopped) == readings(once)


def test_what_was_decided_at_a_rung_stands_when_a_trial_is_taken_up_again(tmp_path: Path) -> None:
    keys = {**RUNGS, "pruner": PrunerConfig(method="asha", grace=1), "sampler": "random", "seed": 1}
    first = FormulaExecutor(num_workers=4, last=16)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, first, trials=12, **keys)
    running = {trial.number for trial in read_record(tmp_path).running()}
    decided = {(number, rung): goes_on for number, rung, goes_on in first.answers if number in running}
    assert set(decided.values()) == {True, False}, "choose another seed: nothing was decided both ways"
    again = FormulaExecutor(num_workers=4)
    search(tmp_path, again, trials=12, **keys)
    answers = {(number, rung): goes_on for number, rung, goes_on in again.answers}
    assert {key: answers[key] for key in decided} == decided


def test_no_candidate_begins_when_the_steps_are_spent_earlier_runs_included(tmp_path: Path) -> None:
    train = TrainConfig(steps=9, batch_size=11)
    search(tmp_path, trials=100, max_steps=30, train=train)
    assert (read_trials(tmp_path).state == "COMPLETE").sum() == 4  # the fourth began at 27 steps
    idle = FormulaExecutor()
    search(tmp_path, idle, trials=100, max_steps=36, train=train)
    assert idle.submitted == []
    search(tmp_path, idle, trials=5, max_steps=1000, train=train)
    assert len(idle.submitted) == 1


def test_steps_that_were_not_trained_are_not_spent(tmp_path: Path) -> None:
    search(tmp_path, trials=100, max_steps=60, **RUNGS)
    steps = read_trials(tmp_path).steps
    assert steps.iloc[:-1].sum() < 60 <= steps.sum()
    assert steps.count() > 7  # what 60 steps train to the end


def test_a_study_begun_with_a_pruner_is_refused_another(tmp_path: Path) -> None:
    search(tmp_path, trials=2, **RUNGS)
    for pruner, difference in (
        (PrunerConfig(method="asha", grace=2, eta=4), r"pruner\.eta 3, got 4"),
        (PrunerConfig(), r"pruner \{.*\}, got null"),
    ):
        with pytest.raises(StudyError, match=f"^study mine, part search, was begun with {difference};"):
            search(tmp_path, **{**RUNGS, "pruner": pruner})
