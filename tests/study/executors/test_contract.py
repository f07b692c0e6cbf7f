"""What holds for every executor, on real processes."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.measure.scores import Score, score_job
from scalesearch.study.executors import (
    Event,
    Executor,
    Failed,
    LocalExecutor,
    Lost,
    Reached,
    Run,
    Scored,
    WorkerSettings,
)
from tests.study import jobs
from tests.study.executors.contract import (
    JOB,
    Start,
    climb,
    has_ended,
    is_running,
    pids_of,
    reach_a_rung,
    run_to_the_end,
)

WITHOUT_RAY = importlib.util.find_spec("ray") is None


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Give what builds an executor; Ray is begun once for all tests."""
    if request.param == "local":
        yield lambda run, num_workers, num_threads: LocalExecutor(num_workers, run, num_threads)
        return
    if WITHOUT_RAY:
        pytest.skip("ray is not installed")
    from scalesearch.study.executors.ray import RayExecutor
    from scalesearch.study.executors.ray_cluster import RayCluster
    from tests.study.executors.ray_clusters import begun_ray

    with begun_ray(num_cpus=3):
        yield lambda run, num_workers, num_threads: RayExecutor(
            num_workers, run, RayCluster("", 0), WorkerSettings(num_threads)
        )


@pytest.fixture
def start(engine: Start) -> Iterator[Start]:
    started: list[Executor] = []

    def start_executor(run: Run, num_workers: int = 1, num_threads: int = 1) -> Executor:
        started.append(engine(run, num_workers, num_threads))
        return started[-1]

    yield start_executor
    for executor in started:
        executor.close()


def test_scores_of_two_workers_arrive_with_their_keys(start: Start) -> None:
    events = run_to_the_end(start(jobs.tell_the_seed, num_workers=2), 1, 2)
    assert {event.key: event.score.val_top1 for event in events if isinstance(event, Scored)} == {1: 0.01, 2: 0.02}
    pids = {event.score.train_seconds for event in events if isinstance(event, Scored)}
    assert len(pids | {os.getpid()}) == 3  # each ran in a process of its own


def test_a_worker_has_the_threads_it_is_given(start: Start) -> None:
    (event,) = run_to_the_end(start(jobs.tell_the_seed, num_threads=3), 7)
    assert isinstance(event, Scored)
    assert event.score.steps == 3


def test_steps_are_told_while_the_job_runs(start: Start) -> None:
    *steps, last = run_to_the_end(start(jobs.take_steps), 7)
    assert [(step.key, step.steps, step.num_steps) for step in steps] == [(7, 1, 3), (7, 2, 3), (7, 3, 3)]
    assert all(10 < step.memory_mib < 100_000 for step in steps)
    assert isinstance(last, Scored)


def test_the_real_score_arrives_and_its_weights_are_kept(start: Start, tmp_path: Path) -> None:
    executor = start(score_job)
    executor.submit(0, replace(JOB, checkpoint=tmp_path / "net.safetensors"))
    events: list[Event] = []
    while not any(isinstance(event, (Scored, Failed)) for event in events):
        events += executor.wait()
    assert isinstance(events[-1], Scored)
    assert events[-1].score.steps == 2
    assert (tmp_path / "net.safetensors").exists()


@pytest.mark.parametrize(
    ("run", "reason", "traceback"),
    [
        (jobs.raise_an_error, "RuntimeError: seed 7 is unlucky", "in raise_an_error"),
        (jobs.lose_a_pipe, "BrokenPipeError: of its own", "in lose_a_pipe"),
        (jobs.run_out_of_memory, "out of memory", "in run_out_of_memory"),
    ],
)
def test_a_job_that_raises_is_a_failure_with_its_traceback(
    start: Start, run: Callable[..., Score], reason: str, traceback: str
) -> None:
    (event,) = run_to_the_end(start(run), 7)
    assert isinstance(event, Failed)
    assert (event.key, event.reason) == (7, reason)
    assert traceback in event.traceback


def test_a_worker_that_dies_takes_no_other_with_it(start: Start) -> None:
    executor = start(jobs.fail_if_odd, num_workers=2)
    ends = {event.key: type(event) for event in run_to_the_end(executor, 1, 2)}
    assert ends == {1: Lost, 2: Scored}
    (event,) = run_to_the_end(executor, 4)  # and the next job finds a worker
    assert isinstance(event, Scored)


def test_waiting_ends_without_an_event_when_nothing_happens(start: Start) -> None:
    executor = start(jobs.wait_at_a_rung)
    reach_a_rung(executor)
    assert executor.wait(0.1) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_job_that_is_stopped_ends_and_is_told_of_no_more(start: Start) -> None:
    executor = start(jobs.run_for_ever, num_workers=2)
    executor.submit(1, JOB)
    executor.submit(2, JOB)
    pids = pids_of(executor, 2)
    executor.stop(1)
    assert has_ended(pids[1])
    assert is_running(pids[2])
    assert all(event.key == 2 for event in executor.wait(0.1))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_closing_ends_the_jobs_that_run_or_wait_at_a_rung(start: Start) -> None:
    executor = start(jobs.wait_at_a_rung, num_workers=2)
    executor.submit(1, JOB)
    executor.submit(2, JOB)
    pids = pids_of(executor, 2)
    assert all(map(is_running, pids.values()))
    executor.close()
    assert all(map(has_ended, pids.values()))
    executor.close()  # a second time does no harm


@pytest.mark.parametrize(
    ("answers", "readings", "end"),
    [
        ([True, False], [Reached(1, 0, 10, 0.1), Reached(1, 1, 30, 0.3)], jobs.new_score(0.3, steps=30, stopped=True)),
        ([True, True], [Reached(1, 0, 10, 0.1), Reached(1, 1, 30, 0.3)], jobs.new_score(1.0, steps=100)),
    ],
)
def test_a_job_waits_at_a_rung_and_does_as_it_is_told(
    start: Start, answers: list[bool], readings: list[Event], end: Score
) -> None:
    *reached, last = climb(start(jobs.climb), {1: answers})
    assert reached == readings
    assert isinstance(last, Scored)
    assert (last.score.val_top1, last.score.steps, last.score.stopped) == (end.val_top1, end.steps, end.stopped)


def test_an_answer_reaches_the_job_it_is_for(start: Start) -> None:
    events = climb(start(jobs.climb, num_workers=2), {1: [False], 2: [True, True]})
    assert {event.key: event.score.stopped for event in events if isinstance(event, Scored)} == {1: True, 2: False}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_job_killed_at_a_rung_is_lost_and_the_answer_to_it_too(start: Start) -> None:
    executor = start(jobs.wait_at_a_rung)
    pid = reach_a_rung(executor)
    os.kill(pid, signal.SIGKILL)
    assert has_ended(pid)
    executor.answer(1, True)
    (event,) = executor.wait()
    assert isinstance(event, Lost)
    assert event.reason.startswith("the worker process ")
