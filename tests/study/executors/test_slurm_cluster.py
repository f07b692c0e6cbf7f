"""A real Slurm, where there is one whose nodes see the test's folders, a machine that is its only node say."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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
    Requeued,
    Run,
    Scored,
    Stepped,
    WorkerSettings,
)
from tests.study import jobs
from tests.study.executors.contract import JOB, REPO, has_ended

pytest.importorskip("submitit", reason="submitit is not installed")

from scalesearch.study.executors.slurm import SlurmExecutor


def answers(*question: str) -> bool:
    try:
        return subprocess.run(question, capture_output=True, check=False, timeout=10).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


HAS_SLURM = answers("sinfo") and answers("sacct")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SLURM, reason="no Slurm with accounting runs here")]

Start = Callable[..., SlurmExecutor]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started = []

    def start_executor(run: Run, num_workers: int = 1, **keys: Any) -> SlurmExecutor:
        config = ExecutorConfig(kind="slurm", **keys)
        started.append(SlurmExecutor(config, run, num_workers, tmp_path / "jobs", WorkerSettings(1)))
        return started[-1]

    yield start_executor
    for executor in started:
        executor.close()


def until(executor: SlurmExecutor, kinds: tuple[type, ...], num: int = 1) -> list[Event]:
    """Return all events until so many of some kinds have come."""
    events: list[Event] = []
    while sum(isinstance(event, kinds) for event in events) < num:
        events += executor.wait()
    return events


ENDS = (Scored, Failed, Lost)
LONG = replace(JOB, train=TrainConfig(steps=1500, batch_size=11))


def test_a_batch_is_one_array_whose_jobs_end_each_in_its_own_way(start: Start) -> None:
    executor = start(jobs.end_by_seed, num_workers=3)
    for seed in (1, 2, 3):
        executor.submit(seed, replace(JOB, seed=seed))
    executor.wait(0)
    ids = [submitted.job.job_id for submitted in executor._submitted.values()]
    assert [job_id.partition("_")[2] for job_id in ids] == ["0", "1", "2"]
    assert len({job_id.partition("_")[0] for job_id in ids}) == 1
    events = until(executor, ENDS, num=3)
    assert {event.key for event in events if isinstance(event, Began)} == {1, 2, 3}
    assert {event.key: type(event) for event in events if isinstance(event, ENDS)} == {1: Lost, 2: Failed, 3: Scored}


def trained_alone(checkpoint: Path) -> Score:
    executor = LocalExecutor(1, score_job, num_threads=1)
    executor.submit(0, replace(LONG, checkpoint=checkpoint))
    while True:
        for event in executor.wait():
            if isinstance(event, Scored):
                assert isinstance(event.score, Score)
                executor.close()
                return event.score


def preempt(job: Any) -> None:
    job._interrupt(timeout=False)  # SIGTERM, then SIGUSR2, to all processes of the job


def requeue(job: Any) -> None:
    subprocess.check_call(["scontrol", "requeue", job.job_id])  # SIGTERM alone, and Slurm requeues by itself


def test_a_job_taken_from_its_node_goes_on_from_its_snapshot(start: Start, tmp_path: Path) -> None:
    expected = trained_alone(tmp_path / "whole.safetensors")
    executor = start(score_job, num_workers=2)
    for key, act in enumerate((preempt, requeue)):
        snapshot = SnapshotConfig(tmp_path / f"{key}.snapshot", seconds=1e6)  # none is due by time
        executor.submit(key, replace(LONG, checkpoint=tmp_path / f"{key}.safetensors", snapshot=snapshot))
        steps = next(event for event in until(executor, (Stepped,)) if isinstance(event, Stepped))
        act(executor._submitted[key].job)
        events = until(executor, ENDS)
        told = [type(event) for event in events if not isinstance(event, Stepped)]
        assert [kind for kind in told if kind is not Requeued] == [Began, Scored]
        assert min(event.steps for event in events[1:] if isinstance(event, Stepped)) >= steps.steps
        score = events[-1].score  # type: ignore[union-attr]
        assert (score.val_top1, score.val_loss) == (expected.val_top1, expected.val_loss)  # type: ignore[attr-defined]
        assert (tmp_path / f"{key}.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_stopping_cancels_and_what_others_cancel_is_lost(start: Start) -> None:
    executor = start(jobs.run_for_ever, num_workers=2)
    executor.submit(1, JOB)
    executor.submit(2, JOB)
    pids: dict[int, int] = {}
    while len(pids) < 2:
        pids |= {event.key: event.steps for event in executor.wait() if isinstance(event, Stepped)}
    executor.stop(1)
    assert has_ended(pids[1])
    subprocess.check_call(["scancel", executor._submitted[2].job.job_id])
    *_, event = until(executor, ENDS)
    assert isinstance(event, Lost)
    assert event.key == 2
    assert has_ended(pids[2])
