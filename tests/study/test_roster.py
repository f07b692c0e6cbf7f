"""A fixed list of trainings: each is done once, over all runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.measure.scores import Job
from scalesearch.study.roster import Entry, Roster
from scalesearch.study.store import Record
from tests.study.stand_ins import TINY_DATA, TINY_TRAINING, FormulaExecutor, worth

ARCHS = [
    ArchSpec.from_blocks([f"ds_r1_k3_s2_c{channels}"], stem_channels=8, head_channels=16, image_size=16)
    for channels in (8, 16, 24)
]


def entries(num_seeds: int = 2) -> list[Entry]:
    return [
        Entry(
            job=Job(arch=arch, seed=seed, data=TINY_DATA, train=TINY_TRAINING),
            cost=network_cost(arch, num_classes=11),
            label=f"width {arch.stages[0].out_channels}",
            numbers={"width": float(arch.stages[0].out_channels)},
        )
        for seed in range(num_seeds)
        for arch in ARCHS
    ]


def open_record(folder: Path) -> Record:
    return Record.open(
        f"sqlite:///{folder}/study.db", "mine", "scale", directions=["maximize"], metric_names=["val_top1"], identity={}
    )


def test_every_entry_is_trained_once_in_its_order(tmp_path: Path) -> None:
    executor = FormulaExecutor(num_workers=2)
    frame = Roster(open_record(tmp_path), entries()).run(executor)
    assert [(job.arch, job.seed) for _, job in executor.submitted] == [(e.job.arch, e.job.seed) for e in entries()]
    assert executor.closed
    assert frame.state.tolist() == ["COMPLETE"] * 6
    assert frame["param.width"].tolist() == [8, 16, 24] * 2
    assert frame.seed.tolist() == frame["param.seed"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame.val_top1.tolist() == [worth(entry.job) for entry in entries()]
    assert frame.label.tolist()[:2] == ["width 8", "width 16"]


def test_a_second_run_trains_nothing_and_more_seeds_train_only_what_is_new(tmp_path: Path) -> None:
    first = Roster(open_record(tmp_path), entries(1)).run(FormulaExecutor())
    idle, more = FormulaExecutor(), FormulaExecutor()
    assert Roster(open_record(tmp_path), entries(1)).run(idle).equals(first)
    assert idle.submitted == []
    assert len(Roster(open_record(tmp_path), entries(2)).run(more)) == 6
    assert [job.seed for _, job in more.submitted] == [1, 1, 1]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_a_stopped_driver_left_running_is_taken_up_and_nothing_is_repeated(
    tmp_path: Path, num_workers: int
) -> None:
    stopped, again = FormulaExecutor(num_workers=num_workers, last=2), FormulaExecutor(num_workers=num_workers)
    with pytest.raises(KeyboardInterrupt):
        Roster(open_record(tmp_path), entries()).run(stopped)
    assert stopped.closed
    before = open_record(tmp_path).frame()
    assert before.state.tolist() == ["COMPLETE"] * 2 + ["RUNNING"] * num_workers
    after = Roster(open_record(tmp_path), entries()).run(again)
    assert after.state.tolist() == ["COMPLETE"] * 6
    assert after[["arch_id", "seed"]].drop_duplicates().shape[0] == 6
    pd.testing.assert_frame_equal(after[before.columns].iloc[:2], before.iloc[:2], check_dtype=False)
    assert [key for key, _ in again.submitted][:num_workers] == list(range(2, 2 + num_workers))
    assert len(again.submitted) == 4


def test_what_was_left_running_of_another_list_waits_for_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Roster(open_record(tmp_path), entries(1)).run(FormulaExecutor(last=1))
    others = [entry for entry in entries(1) if entry.label == "width 24"]
    assert Roster(open_record(tmp_path), others).run(FormulaExecutor()).state.tolist() == [
        "COMPLETE",
        "RUNNING",
        "COMPLETE",
    ]
    again = FormulaExecutor()
    assert Roster(open_record(tmp_path), entries(1)).run(again).state.tolist() == ["COMPLETE"] * 3
    assert [key for key, _ in again.submitted] == [1]


def test_a_trial_that_was_asked_for_but_never_described_is_a_failure_and_its_entry_is_trained(tmp_path: Path) -> None:
    record = open_record(tmp_path)
    record.study.ask()  # as a driver that is killed between two lines leaves it
    frame = Roster(record, entries(1)).run(FormulaExecutor())
    assert frame.state.tolist() == ["FAILED", *["COMPLETE"] * 3]
    assert frame.reason.iloc[0] == "the driver was ended before the trial began"


def test_a_failed_training_is_kept_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    def fail_at_16(job: Job) -> float:
        return worth(job) / (job.arch.stages[0].out_channels - 16)

    executor, again = FormulaExecutor(fail_at_16), FormulaExecutor()
    frame = Roster(open_record(tmp_path), entries(1)).run(executor)
    assert frame.state.tolist() == ["COMPLETE", "FAILED", "COMPLETE"]
    assert frame.reason.iloc[1] == "ZeroDivisionError: float division by zero"
    assert Roster(open_record(tmp_path), entries(1)).run(again).equals(frame)  # it would fail again
    assert again.submitted == []


def test_one_network_under_two_names_is_trained_once(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    frame = Roster(open_record(tmp_path), [*entries(1), *entries(1)]).run(executor)
    assert (len(frame), len(executor.submitted)) == (3, 3)
