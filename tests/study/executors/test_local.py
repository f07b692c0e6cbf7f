"""Real worker processes: how each end of one is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.arch import ArchSpec
from scalesearch.data import DataConfig
from scalesearch.measure.scores import Job, Score, score_job
from scalesearch.measure.training import TrainConfig
from scalesearch.study.executors import Began, Event, Failed, LocalExecutor, Lost, Reached, Run, Scored, Stepped
from tests.study import jobs

REPO = Path(__file__).resolve().parents[3]
JOB = Job(
    arch=ArchSpec.from_blocks(["ds_r1_k3_s2_c8"], stem_channels=8, head_channels=16, image_size=16, stem_stride=1),
    seed=7,
    data=DataConfig(patches_per_class=2, eval_patches_per_class=1, stored_size=16),
    train=TrainConfig(steps=2, batch_size=11),
)


@pytest.fixture
def start() -> Iterator[Callable[..., LocalExecutor]]:
    started = []

    def start_executor(run: Run, num_workers: int = 1, **settings: int) -> LocalExecutor:
        started.append(LocalExecutor(num_workers, run=run, **settings))
        return started[-1]

    yield start_executor
    for executor in started:
        executor.close()


def run_to_the_end(executor: LocalExecutor, *seeds: int) -> list[Event]:
    """Run a job of each seed at once and return all events; a job's key is its seed."""
    for seed in seeds:
        executor.submit(seed, replace(JOB, seed=seed))
    events: list[Event] = []
    while sum(isinstance(event, (Scored, Failed, Lost)) for event in events) < len(seeds):
        events += [event for event in executor.wait() if not isinstance(event, Began)]
    return events


def test_a_score_arrives_with_its_key(start: Callable[..., LocalExecutor]) -> None:
    (event,) = run_to_the_end(start(jobs.tell_the_seed), 7)
    assert isinstance(event, Scored)
    assert (event.key, event.score.val_top1) == (7, 0.07)
    assert event.score.train_seconds != os.getpid()  # it ran in a process of its own


def test_scores_of_two_workers_both_arrive(start: Callable[..., LocalExecutor]) -> None:
    events = run_to_the_end(start(jobs.tell_the_seed, num_workers=2), 1, 2)
    assert {event.key: event.score.val_top1 for event in events if isinstance(event, Scored)} == {1: 0.01, 2: 0.02}
    assert len({event.score.train_seconds for event in events if isinstance(event, Scored)}) == 2


def test_a_worker_has_the_threads_it_is_given(start: Callable[..., LocalExecutor]) -> None:
    (event,) = run_to_the_end(start(jobs.tell_the_seed, num_threads=3), 7)
    assert isinstance(event, Scored)
    assert event.score.steps == 3


def test_steps_are_told_while_the_job_runs(start: Callable[..., LocalExecutor]) -> None:
    *steps, last = run_to_the_end(start(jobs.take_steps), 7)
    assert [(step.key, step.steps, step.num_steps) for step in steps] == [(7, 1, 3), (7, 2, 3), (7, 3, 3)]
    assert all(10 < step.memory_mib < 100_000 for step in steps)
    assert isinstance(last, Scored)


def test_the_real_score_arrives_from_its_process(start: Callable[..., LocalExecutor], tmp_path: Path) -> None:
    executor = LocalExecutor(1, score_job)
    executor.submit(0, replace(JOB, checkpoint=tmp_path / "net.safetensors"))
    events: list[Event] = []
    while not any(isinstance(event, (Scored, Failed)) for event in events):
        events += executor.wait()
    executor.close()
    assert isinstance(events[-1], Scored)
    assert events[-1].score.steps == 2
    assert (tmp_path / "net.safetensors").exists()


@pytest.mark.parametrize(
    ("run", "reason", "traceback"),
    [
        (jobs.raise_an_error, "RuntimeError: seed 7 is unlucky", "in raise_an_error"),
        (jobs.lose_a_pipe, "BrokenPipeError: of its own", "in lose_a_pipe"),
        (jobs.run_out_of_memory, "out of memory", "in run_out_of_memory"),
        (jobs.exit_hard, "the worker process ended with exit code 3 before it gave a score", ""),
        (jobs.exit_softly, "the worker process ended with exit code 4 before it gave a score", ""),
        (jobs.crash, "the worker process was ended by SIGSEGV", ""),
        (jobs.return_what_cannot_be_sent, "the worker process ended with exit code 1 before it gave a score", ""),
    ],
)
def test_a_job_that_ends_badly_is_a_failure_with_its_reason(
    start: Callable[..., LocalExecutor], run: Callable[..., Score], reason: str, traceback: str
) -> None:
    (event,) = run_to_the_end(start(run), 7)
    assert isinstance(event, Failed)
    assert (event.key, event.reason) == (7, reason)
    assert traceback in event.traceback
    assert bool(event.traceback) is bool(traceback)


def test_a_worker_that_dies_takes_no_other_with_it(start: Callable[..., LocalExecutor]) -> None:
    executor = start(jobs.fail_if_odd, num_workers=2)
    ends = {event.key: type(event) for event in run_to_the_end(executor, 1, 2)}
    assert ends == {1: Lost, 2: Scored}
    (event,) = run_to_the_end(executor, 4)  # and the next job finds a worker
    assert isinstance(event, Scored)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] not in "ZX"
    except OSError:
        return False


def has_ended(pid: int) -> bool:
    for _ in range(100):
        if not is_running(pid):
            return True
        time.sleep(0.1)  # the fork server reaps it
    return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_closing_ends_the_processes_that_run() -> None:
    executor = LocalExecutor(2, run=jobs.run_for_ever)
    executor.submit(1, JOB)
    executor.submit(2, JOB)
    pids: dict[int, int] = {}
    while len(pids) < 2:
        pids |= {event.key: event.steps for event in executor.wait() if isinstance(event, Stepped)}
    assert all(map(is_running, pids.values()))
    executor.close()
    assert all(map(has_ended, pids.values()))
    executor.close()  # a second time does no harm


def climb(executor: LocalExecutor, answers: dict[int, list[bool]]) -> list[Event]:
    """Run a job for each key, answer it in turn, and return all events."""
    for key in answers:
        executor.submit(key, replace(JOB, rungs=(10, 30)))
    events: list[Event] = []
    while sum(isinstance(event, (Scored, Failed)) for event in events) < len(answers):
        news = [event for event in executor.wait() if not isinstance(event, Began)]
        for event in news:
            if isinstance(event, Reached):
                executor.answer(event.key, answers[event.key].pop(0))
        events += news
    return events


@pytest.mark.parametrize(
    ("answers", "readings", "end"),
    [
        ([False], [Reached(1, 0, 10, 0.1)], jobs.new_score(0.1, steps=10, stopped=True)),
        ([True, False], [Reached(1, 0, 10, 0.1), Reached(1, 1, 30, 0.3)], jobs.new_score(0.3, steps=30, stopped=True)),
        ([True, True], [Reached(1, 0, 10, 0.1), Reached(1, 1, 30, 0.3)], jobs.new_score(1.0, steps=100)),
    ],
)
def test_a_job_waits_at_a_rung_and_does_as_it_is_told(
    start: Callable[..., LocalExecutor], answers: list[bool], readings: list[Event], end: Score
) -> None:
    *reached, last = climb(start(jobs.climb), {1: answers})
    assert reached == readings
    assert isinstance(last, Scored)
    assert (last.score.val_top1, last.score.steps, last.score.stopped) == (end.val_top1, end.steps, end.stopped)


def test_an_answer_reaches_the_job_it_is_for(start: Callable[..., LocalExecutor]) -> None:
    events = climb(start(jobs.climb, num_workers=2), {1: [False], 2: [True, True]})
    assert {event.key: event.score.stopped for event in events if isinstance(event, Scored)} == {1: True, 2: False}


def reach_a_rung(executor: LocalExecutor) -> int:
    """Submit a job and return the id of its process, which waits at a rung by then."""
    executor.submit(1, JOB)
    began, *_ = executor.wait()
    assert isinstance(began, Began)
    (event,) = executor.wait()
    assert isinstance(event, Reached)
    return event.steps


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_closing_ends_a_job_that_waits_at_a_rung(start: Callable[..., LocalExecutor]) -> None:
    executor = start(jobs.wait_at_a_rung)
    pid = reach_a_rung(executor)
    assert is_running(pid)
    executor.close()
    assert has_ended(pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_job_that_dies_at_a_rung_is_a_failure_and_the_answer_to_it_is_lost(
    start: Callable[..., LocalExecutor],
) -> None:
    executor = start(jobs.wait_at_a_rung)
    pid = reach_a_rung(executor)
    os.kill(pid, signal.SIGKILL)
    assert has_ended(pid)
    executor.answer(1, True)
    assert executor.wait() == [Lost(1, "the worker process was ended by SIGKILL")]


DEAD_DRIVER = """
import os
from tests.study import jobs
from tests.study.executors.test_local import JOB, LocalExecutor, reach_a_rung

print(reach_a_rung(LocalExecutor(1, run=jobs.wait_at_a_rung)), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_job_that_waits_at_a_rung_ends_when_its_driver_dies() -> None:
    # the worker holds the pipe of standard output too: were it to hang, this would time out
    done = subprocess.run(
        [sys.executable, "-c", DEAD_DRIVER], cwd=REPO, capture_output=True, text=True, timeout=300, check=False
    )
    assert has_ended(int(done.stdout))
    assert done.stderr == ""  # quietly: there is nobody left to tell


UNGUARDED = """
from scalesearch import Budget, DataConfig, SearchConfig, TrainConfig, run_search

print("the script begins")
result = run_search(
    SearchConfig(
        study="unguarded",
        space="space.yaml",
        trials=2,
        workers=2,
        data=DataConfig(patches_per_class=2, eval_patches_per_class=1, stored_size=16),
        train=TrainConfig(steps=1, batch_size=11),
    )
)
print(result.num_scored)
"""

SPACE = """
image_size: 16
stem_channels: 8
head_channels: 16
stages:
  - {block: ir, kernel_size: [3, 5], stride: 2, expand_ratio: [1, 2], out_channels: [8, 16]}
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED, encoding="utf-8")
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split("\n") == ["the script begins", "2", ""], done.stderr
