"""What Slurm's commands are told, and what is made of their answers, with stand-ins of a few lines for the commands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalesearch.config import load_config
from scalesearch.errors import ConfigError
from scalesearch.study.executors import (
    Event,
    ExecutorConfig,
    Failed,
    Lost,
    ResourcesConfig,
    build_executor,
)
from tests.study import jobs
from tests.study.executors.contract import JOB

pytest.importorskip("submitit", reason="submitit is not installed")

from scalesearch.study.executors import slurm

COMMANDS = {
    "srun": "exit 0",
    "sbatch": 'cat "$1" >> "$SLURM_STANDIN/sbatch.told"; echo Submitted batch job 17',
    "sacct": 'cat "$SLURM_STANDIN/sacct.says" 2> /dev/null || echo "JobID|State|NodeList"',
    "scancel": 'echo "$@" >> "$SLURM_STANDIN/scancel.told"',
}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the stand-ins, in which they keep what they were told and find what to answer."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, line in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n", encoding="ascii")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STANDIN", str(folder))
    monkeypatch.setattr(slurm, "_RESULT_SECONDS", 0)
    monkeypatch.setattr(slurm.submitit.SlurmJob, "watcher", type(slurm.submitit.SlurmJob.watcher)())
    return folder


def new_executor(folder: Path, gpus: float = 0, memory_gib: float = 3, **keys: Any) -> slurm.SlurmExecutor:
    config = ExecutorConfig(kind="slurm", **keys)
    resources = ResourcesConfig(gpus=gpus)
    executor = build_executor(
        config,
        jobs.tell_the_seed,
        num_workers=2,
        num_threads=4,
        memory_gib=memory_gib,
        resources=resources,
        folder=folder / "jobs",
    )
    assert isinstance(executor, slurm.SlurmExecutor)
    return executor


def test_jobs_submitted_together_are_one_array_with_what_was_asked_for(commands: Path, tmp_path: Path) -> None:
    sbatch = "--account=vision --qos=low --exclusive"
    executor = new_executor(tmp_path, gpus=2, partition="gpu", minutes=90, sbatch=sbatch)
    executor.submit(1, JOB)
    executor.submit(2, JOB)
    assert not (commands / "sbatch.told").exists()  # the batch may grow
    assert executor.wait(0) == []
    script = (commands / "sbatch.told").read_text(encoding="utf-8")
    options = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    assert {
        "array='0-1%2'",
        "partition=gpu",
        "time=90",
        "cpus-per-task=4",
        "gpus-per-node=2",
        "mem=4GB",
        "account=vision",
        "qos=low",
        "exclusive",
        "signal=USR2@120",
    } <= {option.replace("=0-1%2", "='0-1%2'") for option in options}
    assert "--cpus-per-task=4" in script.partition("\nsrun ")[2]  # which srun does not take from sbatch any more
    executor.submit(3, JOB)
    executor.wait(0)
    assert "array" not in (commands / "sbatch.told").read_text(encoding="utf-8").removeprefix(script)
    executor.stop(2)
    assert (commands / "scancel.told").read_text(encoding="ascii") == "17_1\n"
    executor.close()
    assert (commands / "scancel.told").read_text(encoding="ascii") == "17_1\n17_0\n17\n"


def end_with(commands: Path, folder: Path, state: str) -> Event:
    executor = new_executor(folder)
    executor.submit(1, JOB)
    assert executor.wait(0) == []
    (commands / "sacct.says").write_text(
        f"JobID|State|NodeList\n17|{state}|node1\n17.0|FAILED|node1\n", encoding="ascii"
    )
    executor._next_question = 0.0
    time.sleep(0.01)  # submitit asks no more than once a millisecond
    (event,) = executor.wait(0)
    executor.close()
    return event


@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        ("OUT_OF_MEMORY", Failed, "out of memory: Slurm ended the job"),
        ("TIMEOUT", Failed, "Slurm ended the job at its time, executor.minutes=60: TIMEOUT"),
        ("NODE_FAIL", Lost, "the job ended without a score: NODE_FAIL"),
        ("FAILED", Lost, "the job ended without a score: FAILED"),
        ("CANCELLED by 1000", Lost, "the job ended without a score: CANCELLED"),
        ("PREEMPTED", Lost, "the job ended without a score: PREEMPTED"),
    ],
)
def test_a_job_that_ended_without_a_word_is_told_by_its_state(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, kind: type, reason: str
) -> None:
    monkeypatch.setattr(slurm, "_PREEMPTED_SECONDS", 0)
    event = end_with(commands, tmp_path, state)
    assert isinstance(event, kind)
    assert event.reason.startswith(f"{reason} (job 17, its log is {tmp_path}")  # type: ignore[attr-defined]
    assert getattr(event, "out_of_memory", False) is (state == "OUT_OF_MEMORY")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "REQUEUED", "COMPLETING", "PREEMPTED"])
def test_a_job_that_may_go_on_has_not_ended(commands: Path, tmp_path: Path, state: str) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        end_with(commands, tmp_path, state)


def test_the_next_driver_cancels_what_a_dead_one_has_left(commands: Path, tmp_path: Path) -> None:
    dead = new_executor(tmp_path)
    dead.submit(1, JOB)
    dead.wait(0)
    new_executor(tmp_path).close()
    assert not (commands / "scancel.told").exists()  # it lives, and drives the same study
    dead._lock.close()  # as when its process dies
    new_executor(tmp_path).close()
    assert (commands / "scancel.told").read_text(encoding="ascii") == "17\n"
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_job_that_slurm_refuses_is_told_in_its_words(commands: Path, tmp_path: Path) -> None:
    (commands / "sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid partition >&2; exit 1\n", encoding="ascii")
    executor = new_executor(tmp_path, partition="nowhere")
    executor.submit(1, JOB)
    with pytest.raises(ConfigError, match=r"^Slurm refused a job: .*invalid partition"):
        executor.wait()
    executor.close()
    assert list((tmp_path / "jobs").iterdir()) == []


def test_slurm_is_asked_again_where_it_had_taken_jobs_before(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slurm, "_RETRY_SECONDS", (0.0,))
    executor = new_executor(tmp_path)
    executor.submit(1, JOB)
    executor.wait(0)
    down = f'[ -e "{tmp_path}/asked" ] || {{ touch "{tmp_path}/asked"; echo sbatch: error: down >&2; exit 1; }}'
    (commands / "sbatch").write_text(f"#!/bin/sh\n{down}\n{COMMANDS['sbatch']}\n", encoding="ascii")
    executor.submit(2, JOB)
    assert executor.wait(0) == []
    assert "Slurm refused a job (sbatch: error: down" in caplog.text
    assert "it is asked again in 0 s" in caplog.text
    executor.close()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda path: new_executor(path, gpus=0.5), r"resources.gpus must be a whole number with .*, got 0.5"),
        (lambda path: new_executor(path, requeues=-1), "executor.requeues must be at least 0, got -1"),
        (
            lambda path: new_executor(path, sbatch="--time=5"),
            "executor.sbatch must leave .* to other keys, got '--time=5'",
        ),
    ],
)
def test_what_slurm_cannot_do_is_refused(
    commands: Path, tmp_path: Path, build: Callable[[Path], object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        build(tmp_path)


def test_what_sbatch_is_told_comes_from_the_command_line() -> None:
    keys = ["executor=slurm", "executor.sbatch=--account=vision --exclusive", "executor.minutes=9"]
    config = load_config("search", keys).executor
    assert (config.kind, config.sbatch, config.minutes) == ("slurm", "--account=vision --exclusive", 9)


def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^executor=slurm needs Slurm's commands, and there is no sbatch here$"):
        new_executor(tmp_path)
