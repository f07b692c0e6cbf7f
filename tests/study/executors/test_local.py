"""Processes of this machine: how each end of one is told. What holds for every executor is in test_contract.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalesearch.measure.scores import Score
from scalesearch.study.executors import Failed, LocalExecutor, Lost, Run
from tests.study import jobs
from tests.study.executors.contract import has_ended, reach_a_rung, run_to_the_end

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture
def start() -> Iterator[Callable[..., LocalExecutor]]:
    started = []

    def start_executor(run: Run, num_workers: int = 1, **settings: int) -> LocalExecutor:
        started.append(LocalExecutor(num_workers, run=run, **settings))
        return started[-1]

    yield start_executor
    for executor in started:
        executor.close()


@pytest.mark.parametrize(
    ("run", "reason", "traceback"),
    [
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
from scalesearch.study.executors import LocalExecutor
from tests.study.executors.contract import reach_a_rung

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
