"""Slurm's way on this machine: real jobs of submitit's local executor, each a controller, a parent and a training."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scalesearch.cli import main
from scalesearch.measure.scores import Score, score_job
from scalesearch.measure.snapshot import SnapshotConfig
from scalesearch.measure.training import TrainConfig
from scalesearch.study.executors import (
    Began,
    Event,
    ExecutorConfig,
    Failed,
    LocalExecutor,
    Lost,
    Reached,
    Requeued,
    Run,
    Scored,
    Stepped,
    WorkerSettings,
)
from scalesearch.study.store import load_records
from tests.study import jobs
from tests.study.executors.contract import JOB, REPO, climb, has_ended, is_running

pytest.importorskip("submitit", reason="submitit is not installed")
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")

from scalesearch.study.executors.slurm import SlurmExecutor  # noqa: E402 (it imports submitit)

Start = Callable[..., SlurmExecutor]
LOCAL = ExecutorConfig(kind="slurm", cluster="local", minutes=5)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("PYTHONPATH", str(REPO))  # jobs import tests.study.jobs
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started = []

    def start_executor(run: Run, num_workers: int = 1, num_threads: int = 1, **changes: Any) -> SlurmExecutor:
        keys = {"config": LOCAL, "folder": tmp_path / "jobs", "settings": WorkerSettings(num_threads), **changes}
        started.append(SlurmExecutor(run=run, num_workers=num_workers, **keys))
        return started[-1]

    yield start_executor
    for executor in started:
        executor.close()


def until_ended(executor: SlurmExecutor, num: int) -> list[Event]:
    """Return all events until so many jobs have ended."""
    events: list[Event] = []
    while sum(isinstance(event, (Scored, Failed, Lost)) for event in events) < num:
        events += executor.wait()
    return events


def run_to_the_end(executor: SlurmExecutor, *seeds: int) -> list[Event]:
    for seed in seeds:
        executor.submit(seed, replace(JOB, seed=seed))
    return until_ended(executor, len(seeds))


def first_step(executor: SlurmExecutor) -> Stepped:
    """Return the first step that is told; a job that runs for ever tells the id of its process so."""
    while True:
        for event in executor.wait():
            if isinstance(event, Stepped):
                return event


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def pid_of_parent(executor: SlurmExecutor) -> int:
    """Return the process that submitit began for the only job, as Slurm would signal it."""
    (submitted,) = executor._submitted.values()
    controller = submitted.job.job_id
    return int(Path(f"/proc/{controller}/task/{controller}/children").read_text(encoding="ascii").split()[0])


def test_jobs_side_by_side_end_each_in_its_own_way(start: Start, tmp_path: Path) -> None:
    executor = start(jobs.end_by_seed, num_workers=4, num_threads=3)
    events = run_to_the_end(executor, 1, 2, 3, 4)
    assert {event.key for event in events if isinstance(event, Began)} == {1, 2, 3, 4}
    ends = {event.key: event for event in events if isinstance(event, (Scored, Failed, Lost))}

    scores = [ends[key].score for key in (3, 4)]  # type: ignore[union-attr]
    assert [score.val_top1 for score in scores] == [0.03, 0.04]
    assert [score.steps for score in scores] == [3, 3]  # the threads of each
    assert len({score.train_seconds for score in scores} - {os.getpid()}) == 2  # processes of their own

    assert isinstance(ends[1], Lost)
    assert ends[1].reason.startswith("the worker process was ended by SIGKILL (job ")
    assert isinstance(ends[2], Failed)
    assert ends[2].reason.startswith("RuntimeError: seed 2 is unlucky (job ")
    assert "in raise_an_error" in ends[2].traceback
    log = Path(ends[2].reason.rpartition("its log is ")[2].removesuffix(")"))
    assert "Starting with JobEnvironment" in log.read_text(encoding="utf-8")

    (folder,) = (tmp_path / "jobs").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # pickles lie there
    executor.close()
    assert len(list(folder.iterdir())) == 2  # the logs of what went wrong, and nothing else
    assert log.exists()


def test_a_job_whose_own_process_is_killed_is_lost_and_its_training_ends(start: Start) -> None:
    executor = start(jobs.wait_at_a_rung)
    executor.submit(1, JOB)
    reached: list[Reached] = []
    while not reached:
        reached = [event for event in executor.wait() if isinstance(event, Reached)]
    training = reached[0].steps
    os.kill(parent_of(training), signal.SIGKILL)
    *_, event = until_ended(executor, 1)
    assert isinstance(event, Lost)
    assert event.reason.startswith("the job ended without a score: FINISHED (job ")
    assert has_ended(training)
    executor.answer(1, True)  # one that has died is told nothing


def test_an_answer_at_a_rung_reaches_the_job_it_is_for(start: Start) -> None:
    events = climb(start(jobs.climb, num_workers=2), {1: [False], 2: [True, True]})  # type: ignore[arg-type]
    readings = [(event.key, event.rung, event.steps, event.worth) for event in events if isinstance(event, Reached)]
    assert sorted(readings) == [(1, 0, 10, 0.1), (2, 0, 10, 0.1), (2, 1, 30, 0.3)]
    ends = {event.key: event.score for event in events if isinstance(event, Scored)}
    assert {key: (score.steps, score.stopped) for key, score in ends.items()} == {1: (10, True), 2: (100, False)}


def test_one_job_is_stopped_and_closing_ends_the_others(start: Start) -> None:
    executor = start(jobs.run_for_ever, num_workers=2)
    executor.submit(1, JOB)
    executor.submit(2, JOB)
    pids: dict[int, int] = {}
    while len(pids) < 2:
        steps = [event for event in executor.wait() if isinstance(event, Stepped)]
        pids |= {step.key: step.steps for step in steps}
        assert all(10 < step.memory_mib < 100_000 for step in steps)
    assert all(map(is_running, pids.values()))
    executor.stop(1)
    assert has_ended(pids[1])
    assert is_running(pids[2])
    assert executor.wait(0.2) == []  # no event tells of it
    executor.close()
    assert has_ended(pids[2])
    executor.close()  # a second time does no harm


def test_a_preempted_job_is_requeued_and_goes_on_from_its_snapshot(start: Start, tmp_path: Path) -> None:
    job = replace(JOB, train=TrainConfig(steps=400, batch_size=11))
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    local = LocalExecutor(1, score_job, num_threads=1)
    local.submit(0, replace(job, checkpoint=whole))
    expected: list[Event] = []
    while not (expected and isinstance(expected[-1], Scored)):
        expected = local.wait()
    local.close()

    # no snapshot is due by time: the one it goes on from is written when it is pre-empted
    snapshot = SnapshotConfig(tmp_path / "training.snapshot", seconds=1e6)
    executor = start(score_job)
    executor.submit(0, replace(job, checkpoint=parts, snapshot=snapshot))
    before = first_step(executor)
    parent = pid_of_parent(executor)
    os.kill(parent, signal.SIGTERM)  # Slurm sends this first
    os.kill(parent, signal.SIGUSR2)
    events = until_ended(executor, 1)
    requeued = next(index for index, event in enumerate(events) if isinstance(event, Requeued))
    after = next(event for event in events[requeued:] if isinstance(event, Stepped))
    assert before.steps < after.steps < 400
    scores = [event.score for event in (expected[-1], events[-1]) if isinstance(event, Scored)]
    assert len({(score.val_top1, score.val_loss, score.steps) for score in scores if isinstance(score, Score)}) == 1
    assert len(scores) == 2
    assert parts.read_bytes() == whole.read_bytes()


def test_a_job_whose_time_is_over_for_the_last_time_has_failed(start: Start) -> None:
    executor = start(jobs.run_for_ever, config=replace(LOCAL, requeues=0))  # in 5 minutes any signal is of the time
    executor.submit(1, JOB)
    training = first_step(executor).steps
    os.kill(pid_of_parent(executor), signal.SIGUSR2)
    *_, event = until_ended(executor, 1)
    assert isinstance(event, Failed)
    said = "its time was over, executor.minutes=5, after it was requeued executor.requeues=0 times (job "
    assert event.reason.startswith(said)
    assert has_ended(training)


def test_the_jobs_of_a_dead_driver_end_when_the_next_one_begins(start: Start) -> None:
    executor = start(jobs.run_for_ever)
    executor.submit(1, JOB)
    training = first_step(executor).steps
    start(jobs.tell_the_seed)  # in the same folder, as another driver of the same study
    assert is_running(training)
    executor._lock.close()  # as when its process dies
    start(jobs.tell_the_seed)
    assert has_ended(training)


def test_a_job_ends_when_its_driver_is_silent_for_too_long(start: Start) -> None:
    executor = start(jobs.run_for_ever, silence_seconds=2.0)
    executor.submit(1, JOB)
    training = first_step(executor).steps
    assert has_ended(training)
    *_, event = until_ended(executor, 1)  # the driver had only slept
    assert isinstance(event, Lost)
    assert event.reason.startswith("no sign of the driver for 2 s (job ")


SPACE = """
image_size: 16
stem_channels: 8
head_channels: 16
stages:
  - {block: ir, kernel_size: [3, 5], stride: 2, expand_ratio: [1, 2], out_channels: [8, 16]}
"""
TINY = ("data.patches_per_class=2", "data.eval_patches_per_class=1", "data.stored_size=16", "train.batch_size=11")


def search(folder: Path, *executor: str) -> list[tuple[Any, ...]]:
    """Search by the command line and return what each trial tried and was told."""
    (folder / "space.yaml").write_text(SPACE, encoding="utf-8")
    study = ("study=mine", f"results={folder}", f"space={folder / 'space.yaml'}", "sampler=random", "trials=2")
    assert main(["search", *study, "workers=2", "threads=1", "device=cpu", "train.steps=3", *TINY, *executor]) == 0
    trials = load_records(f"sqlite:///{folder}/mine/study.db", "mine")[0].trials
    return [(trial.params, trial.values, trial.user_attrs["score"]["val_loss"]) for trial in trials]


@pytest.mark.slow
def test_a_search_under_slurm_records_what_one_on_this_machine_does(tmp_path: Path, start: Start) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    told = search(there, "executor=slurm", "executor.cluster=local")
    assert told == search(here)
    assert len(told) == 2
    assert list((there / "mine" / "jobs").iterdir()) == []
