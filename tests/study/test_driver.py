"""What becomes of a job that is lost, hangs, runs out of memory or cannot write."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import Trial

from scalesearch.errors import StudyError
from scalesearch.measure.scores import Job
from scalesearch.study.driver import JobRules, NextJob, drive
from scalesearch.study.executors import Began, Event, Failed, Halted, LocalExecutor, Lost, Scored
from scalesearch.study.progress import ProgressDisplay
from scalesearch.study.store import Record
from tests.study import jobs
from tests.study.executors.contract import JOB
from tests.study.stand_ins import FormulaExecutor


class Scripted(FormulaExecutor):
    """Gives the events of a script, one list a wait."""

    def __init__(self, script: list[list[Event]]) -> None:
        super().__init__()
        self._script, self.waits, self.stopped = script, list[float](), list[int]()

    def wait(self, seconds: float = math.inf) -> list[Event]:
        self.waits.append(seconds)
        events = self._script.pop(0) if self._script else []
        for event in events:
            if isinstance(event, (Lost, Scored, Failed)):
                del self._running[event.key]
        return events

    def stop(self, key: int) -> None:
        self.stopped.append(key)


def run(
    folder: Path, executor: FormulaExecutor | LocalExecutor, rules: JobRules | None = None, job: Job = JOB
) -> tuple[list[Scored | Failed], Trial]:
    record = Record.open(
        f"sqlite:///{folder}/study.db", "mine", "scale", directions=["maximize"], metric_names=["x"], identity={}
    )
    trial, ends = record.study.ask(), list[Scored | Failed]()

    def one_job() -> Iterator[NextJob]:
        yield trial, job, "the only one"

    def settle(trial: Trial, job: Job, event: Scored | Failed) -> str:
        ends.append(event)
        return ""

    with ProgressDisplay("scale", 1) as progress:
        drive("scale", one_job(), executor, settle, progress, rules=rules)
    return ends, trial


SCORED = Scored(0, jobs.new_score(0.5))


def test_a_lost_job_is_begun_again_and_the_record_says_why(tmp_path: Path) -> None:
    executor = Scripted([[Began(0, "here"), Lost(0, "the node died")], [Lost(0, "again")], [SCORED]])
    ends, trial = run(tmp_path, executor)
    assert ends == [SCORED]
    assert len(executor.submitted) == 3
    assert trial.study.trials[0].user_attrs["lost"] == ["the node died", "again"]


def test_a_job_that_is_lost_too_often_fails_with_the_last_reason(tmp_path: Path) -> None:
    executor = Scripted([[Lost(0, "the node died")]] * 2)
    ends, _ = run(tmp_path, executor, JobRules(retries=1))
    assert ends == [Failed(0, "the node died, 2 times")]
    assert len(executor.submitted) == 2


def test_a_job_that_hangs_is_ended_and_fails_and_one_that_waits_for_a_process_does_not(tmp_path: Path) -> None:
    executor = Scripted([[], [], [Began(0, "here")]])
    ends, _ = run(tmp_path, executor, JobRules(timeout_seconds=0.01))
    assert ends == [Failed(0, "the worker was ended after the 0.01 s of trial_timeout")]
    assert executor.stopped == [0]
    assert executor.waits[:3] == [math.inf, math.inf, math.inf]  # nothing to watch before it began


def test_a_real_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    executor = LocalExecutor(1, run=jobs.run_for_ever)
    ends, _ = run(tmp_path, executor, JobRules(timeout_seconds=0.5))
    assert [type(end) for end in ends] == [Failed]


def test_a_job_without_memory_says_what_was_foreseen(tmp_path: Path) -> None:
    executor = Scripted([[Failed(0, "out of memory, last seen at 800 MiB", out_of_memory=True)]])
    ends, _ = run(tmp_path, executor)
    assert isinstance(ends[0], Failed)
    assert ends[0].reason.startswith("out of memory, last seen at 800 MiB; foreseen were at least ")
    assert f"{JOB.memory_floor_mib:,.0f} MiB" in ends[0].reason
    assert JOB.memory_floor_mib > 0.1


def test_a_disk_without_room_ends_the_driver_with_a_sentence_and_leaves_the_trial(tmp_path: Path) -> None:
    executor = Scripted([[Halted(0, "[Errno 28] No space left on device: 'x'")]])
    with pytest.raises(StudyError, match=r"^\[Errno 28\] No space left on device: 'x'; make room there, and the same"):
        run(tmp_path, executor)
    assert executor.closed
    record = Record.open(
        f"sqlite:///{tmp_path}/study.db", "mine", "scale", directions=["maximize"], metric_names=["x"], identity={}
    )
    assert len(record.running()) == 1


def test_jobs_are_given_the_snapshot_of_their_candidate_and_lose_it_at_their_end(tmp_path: Path) -> None:
    executor = Scripted([[SCORED]])
    path = tmp_path / "checkpoints" / f"scale-{JOB.arch.arch_id}-{JOB.seed}.snapshot"
    path.parent.mkdir()
    path.write_bytes(b"left")
    run(tmp_path, executor, JobRules(snapshots=path.parent, snapshot_seconds=7))
    (_, job) = executor.submitted[0]
    assert job.snapshot is not None
    assert (job.snapshot.path, job.snapshot.seconds) == (path, 7)
    assert not path.exists()
    never = Scripted([[SCORED]])
    (tmp_path / "other").mkdir()
    run(tmp_path / "other", never, JobRules(snapshots=path.parent, snapshot_seconds=math.inf))
    assert never.submitted[0][1].snapshot is None


def test_a_worker_over_its_memory_ends_itself_with_a_sentence(tmp_path: Path) -> None:
    executor = LocalExecutor(1, run=jobs.take_more_and_more, memory_gib=1.5)
    ends, _ = run(tmp_path, executor, job=replace(JOB, seed=1))
    assert isinstance(ends[0], Failed)
    assert ends[0].out_of_memory
    assert "over worker_memory_gib=1.5; foreseen were at least" in ends[0].reason
