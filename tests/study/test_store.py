"""The record: states, the identity of a part, tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import Trial, TrialState

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.arch.budget import Budget
from scalesearch.errors import StudyError
from scalesearch.study.store import COLUMNS, Record, frame_of, load_records, state_of
from tests.study.jobs import new_score

ARCH = ArchSpec.from_blocks(["ds_r1_k3_s2_c8", "ir_r1_k3_s2_e2_c16"], stem_channels=8, head_channels=16, image_size=16)
COST = network_cost(ARCH, num_classes=10)
IDENTITY = {"space": {"image_size": [16]}, "budget": {"macs": "inf"}, "data": "abc", "seed": 0}


def open_record(folder: Path, part: str = "search", **changes: Any) -> Record:
    asked = {"directions": ["maximize", "minimize"], "metric_names": ["val_top1", "macs"], "identity": IDENTITY}
    return Record.open(f"sqlite:///{folder}/study.db", "mine", part, **{**asked, **changes})


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return open_record(tmp_path)


def ask(record: Record, kernel_size: int = 3) -> Trial:
    trial = record.study.ask({"kernel_size": CategoricalDistribution((3, 5))})
    record.describe(trial, ARCH, COST, seed=4, label="alpha 1")
    return trial


def fill(record: Record) -> None:
    """Leave one trial of each state: complete, infeasible, failed, duplicate, running."""
    record.complete(ask(record), [0.5, COST.macs], new_score(0.5))
    record.infeasible(ask(record), [0.0, COST.macs])
    record.fail(ask(record), "DivergenceError: the loss was nan", "Traceback ...")
    record.repeat(ask(record), record.trials[0])
    ask(record)


STATES = ["COMPLETE", "INFEASIBLE", "FAILED", "DUPLICATE", "RUNNING"]


def test_every_trial_keeps_its_state(record: Record) -> None:
    fill(record)
    assert [state_of(trial) for trial in record.trials] == STATES
    assert [trial.number for trial in record.running()] == [4]


def test_an_infeasible_trial_is_told_finite_values_and_a_constraint_above_zero(record: Record) -> None:
    asked = ask(record)
    record.constrain(asked, Budget(macs=COST.macs / 2, params=1e9).excess(COST))
    record.infeasible(asked, [0.0, COST.macs])
    (trial,) = record.trials
    assert trial.state is TrialState.COMPLETE  # pruned or failed, it would blind the samplers
    assert trial.values == [0.0, COST.macs]
    assert trial.constraints["macs"] == pytest.approx(1.0)
    assert trial.constraints["params"] < 0


def test_a_failure_keeps_its_reason_and_traceback(record: Record) -> None:
    record.fail(ask(record), "out of memory", "Traceback (most recent call last)")
    (trial,) = record.trials
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["traceback"] == "Traceback (most recent call last)"
    assert record.frame().reason.tolist() == ["out of memory"]


def test_a_duplicate_is_told_what_its_original_was_told_and_which_it_is(record: Record) -> None:
    record.complete(ask(record), [0.5, 7.0], new_score(0.5))
    record.fail(ask(record), "out of memory")
    for original in record.trials[:2]:
        record.repeat(ask(record), original)
    first, failed, *copies = record.trials
    assert [(copy.state, copy.values) for copy in copies] == [(first.state, first.values), (failed.state, None)]
    assert [copy.user_attrs["duplicate_of"] for copy in copies] == [0, 1]


def climb(record: Record, *, num_rungs: int, values: list[float]) -> Trial:
    """Return a running trial that goes on at all its rungs but the last."""
    asked = ask(record)
    for rung in range(num_rungs):
        goes_on = rung < num_rungs - 1
        record.reach(asked, rung, 10 * 3**rung, 0.1 + rung / 10, values, goes_on=goes_on)
    return asked


def test_a_reading_is_in_the_record_while_its_trial_runs(tmp_path: Path, record: Record) -> None:
    climb(record, num_rungs=2, values=[0.2, 7.0])
    (trial,) = open_record(tmp_path).running()
    assert trial.user_attrs["rung_values"] == [[10, 0.1], [30, 0.2]]
    assert trial.user_attrs["rung"] == 1


def test_a_pruned_trial_keeps_its_values_its_score_and_the_rung_at_which_it_ended(record: Record) -> None:
    asked = climb(record, num_rungs=2, values=[0.2, 7.0])
    record.prune(asked, [0.2, 7.0], new_score(0.2, steps=30, stopped=True))
    (trial,) = record.trials
    assert (trial.state, trial.values) == (TrialState.PRUNED, None)  # Optuna: no values with several objectives
    assert trial.user_attrs["values"] == [0.2, 7.0]
    row = record.frame().iloc[0]
    assert (row.state, row.rung, row.steps, row.val_top1) == ("PRUNED", 1, 30, 0.2)


def test_with_one_objective_optuna_knows_what_a_pruned_trial_and_its_duplicate_read(tmp_path: Path) -> None:
    record = open_record(tmp_path, directions=["maximize"], metric_names=["val_top1"])
    asked = climb(record, num_rungs=2, values=[0.2])
    record.prune(asked, [0.2], new_score(0.2, steps=30, stopped=True))
    record.repeat(ask(record), record.trials[0])
    pruned, copied = record.trials
    assert [state_of(trial) for trial in record.trials] == ["PRUNED", "DUPLICATE"]
    for trial in (pruned, copied):
        assert (trial.state, trial.value) == (TrialState.PRUNED, 0.2)
        assert trial.intermediate_values == {10: 0.2, 30: 0.2}
    assert "rung_values" not in copied.user_attrs  # it reached no rung itself


def test_a_duplicate_of_a_pruned_trial_is_pruned_with_the_same_values(record: Record) -> None:
    record.prune(climb(record, num_rungs=1, values=[0.1, 7.0]), [0.1, 7.0], new_score(0.1, stopped=True))
    record.repeat(ask(record), record.trials[0])
    copied = record.trials[1]
    assert (state_of(copied), copied.state) == ("DUPLICATE", TrialState.PRUNED)
    assert copied.user_attrs["values"] == [0.1, 7.0]


def test_the_table_has_a_row_a_trial_and_the_columns_in_order(record: Record) -> None:
    fill(record)
    frame = record.frame()
    assert tuple(frame.columns[: len(COLUMNS)]) == COLUMNS
    assert list(frame.columns[len(COLUMNS) :]) == ["param.kernel_size"]
    assert frame.state.tolist() == STATES
    assert frame.number.tolist() == list(range(5))
    first = frame.iloc[0]
    assert (first.part, first.label, first.arch_id, first.seed) == ("search", "alpha 1", ARCH.arch_id, 4)
    assert (first.params, first.macs, first.acts) == COST
    assert (first.blocks, first.image_size) == ("ds_r1_k3_s2_e1_c8,ir_r1_k3_s2_e2_c16", 16)
    assert (first.val_top1, first.latency_ms) == (0.5, 1.0)
    assert math.isnan(first.test_top1)
    assert frame.val_top1.notna().tolist() == [True, False, False, False, False]


def test_a_table_without_trials_has_the_columns() -> None:
    assert tuple(frame_of("search", []).columns) == COLUMNS


def test_a_part_is_opened_again_with_all_its_trials(tmp_path: Path, record: Record) -> None:
    fill(record)
    assert open_record(tmp_path).frame().equals(record.frame())


def test_parts_of_a_study_are_apart_and_read_together(tmp_path: Path, record: Record) -> None:
    fill(record)
    ask(open_record(tmp_path, "scale", directions=["maximize"], metric_names=["val_top1"]))
    records = load_records(f"sqlite:///{tmp_path}/study.db", "mine")
    assert {each.part: len(each.trials) for each in records} == {"search": 5, "scale": 1}


def test_a_trial_taken_up_again_has_the_parameters_it_had(tmp_path: Path, record: Record) -> None:
    asked = ask(record)
    (unfinished,) = open_record(tmp_path).running()
    trial = record.take_up(unfinished)
    assert trial.number == asked.number
    assert trial.suggest_categorical("kernel_size", (3, 5)) == asked.params["kernel_size"]
    record.complete(trial, [0.5, 7.0], new_score(0.5))
    assert [state_of(each) for each in record.trials] == ["COMPLETE"]


DIFFERENCES: list[tuple[dict[str, Any], str]] = [
    ({"space": {"image_size": [32]}}, r"space\.image_size\.0 16, got 32"),
    ({"budget": {"macs": "5000000.0"}}, r'budget\.macs "inf", got "5000000\.0"'),
    ({"data": "xyz"}, 'data "abc", got "xyz"'),
    ({"seed": 1}, "seed 0, got 1"),
    ({"more": True}, "more null, got true"),
    ({"data": "x" * 200}, r'data "abc", got "x{76}\.\.\.'),
]


def test_a_part_begun_with_something_else_is_refused_by_what_differs_and_loses_nothing(
    tmp_path: Path, record: Record
) -> None:
    fill(record)
    before = record.frame()
    for changes, difference in DIFFERENCES:
        sentence = rf"^study mine, part search, was begun with {difference}; choose another study name$"
        with pytest.raises(StudyError, match=sentence):
            open_record(tmp_path, identity={**IDENTITY, **changes})
    assert open_record(tmp_path).frame().equals(before)


def test_other_directions_are_refused_too(tmp_path: Path, record: Record) -> None:
    sentence = r'was begun with directions \["maximize", "minimize"\], got \["maximize"\]; choose another study name$'
    with pytest.raises(StudyError, match=sentence):
        open_record(tmp_path, directions=["maximize"], metric_names=["val_top1"])
    assert len(open_record(tmp_path).study.directions) == 2


OPENED = r"study mine: the storage {url} cannot be opened \(.*{reason}.*\)"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:///nowhere/study.db", OPENED.format(url=".*", reason="unable to open database file")),
        ("nosuch://host/x", OPENED.format(url="nosuch://host/x", reason="Can't load plugin")),
        ("postgresql://me:secret@host/x", OPENED.format(url=r"postgresql://me:\*\*\*@host/x", reason="")),
        ("not a url", "storage must be a database URL, as sqlite:///FILE, got 'not a url'"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_sentence_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(StudyError, match=f"^{sentence}$"):
        Record.open(url, "mine", "search", directions=["maximize"], metric_names=["a"], identity={})
    with pytest.raises(StudyError, match=f"^{sentence}$"):
        load_records(url, "mine")


def test_a_corrupt_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"this is no database " * 100)
    with pytest.raises(StudyError, match=r"^study mine: the storage .*/study\.db cannot be opened \(.*not a database"):
        open_record(tmp_path)


def test_half_a_database_is_one_sentence(tmp_path: Path, record: Record) -> None:
    fill(record)
    content = (tmp_path / "study.db").read_bytes()
    (tmp_path / "half.db").write_bytes(content[: len(content) // 3])
    with pytest.raises(StudyError, match=r"^study mine: the storage .*/half\.db cannot be opened \("):
        Record.open(
            f"sqlite:///{tmp_path}/half.db", "mine", "search", directions=["maximize"], metric_names=["a"], identity={}
        )


def test_a_study_that_is_not_in_the_storage_is_one_sentence(tmp_path: Path, record: Record) -> None:
    with pytest.raises(StudyError, match=r"^storage sqlite:.*study\.db has no study yours$"):
        load_records(f"sqlite:///{tmp_path}/study.db", "yours")
