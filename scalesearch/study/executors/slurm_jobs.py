"""What submitit is told of a job, where a driver keeps its jobs, and how one ended that says nothing itself."""

from __future__ import annotations

import fcntl
import math
import secrets
import shlex
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import submitit

from scalesearch.study.executors.config import ExecutorConfig
from scalesearch.study.executors.events import Failed, Lost
from scalesearch.study.executors.slurm_mailbox import Mailbox
from scalesearch.study.executors.worker import WorkerSettings

BEAT = "beat"
"""File in a driver's folder: its time says that the driver was there, its lock that it lives."""

_SIGNAL_SECONDS = 120  # before a job's time is over, to write a snapshot
_MEMORY_HEADROOM_GIB = 1.0  # for the parent, and so that the worker ends itself before Slurm does


def open_engine(
    config: ExecutorConfig, folder: Path, settings: WorkerSettings, num_gpus: int, num_workers: int
) -> submitit.AutoExecutor:
    """Return submitit's executor, told what a job needs; on this machine it heeds the time and the devices alone."""
    engine = submitit.AutoExecutor(
        folder=folder,
        cluster=config.cluster,
        slurm_max_num_timeout=config.requeues,
        local_max_num_timeout=config.requeues,
    )
    memory_gib = settings.memory_gib + _MEMORY_HEADROOM_GIB
    engine.update_parameters(
        name="scalesearch",
        timeout_min=config.minutes,
        cpus_per_task=settings.num_threads,
        gpus_per_node=num_gpus or None,
        mem_gb=memory_gib if math.isfinite(memory_gib) else None,
        stderr_to_stdout=True,
        slurm_partition=config.partition or None,
        slurm_signal_delay_s=min(_SIGNAL_SECONDS, 15 * config.minutes),
        slurm_array_parallelism=num_workers,
        slurm_srun_args=[f"--cpus-per-task={settings.num_threads}"],  # which srun no longer takes from sbatch
        slurm_additional_parameters=_options(config.sbatch),
    )
    return engine


def _options(sbatch: str) -> dict[str, str | bool]:
    parted = [option.removeprefix("--").partition("=") for option in shlex.split(sbatch)]
    return {name: value if equals else True for name, equals, value in parted}


def failure(key: int, said: str, config: ExecutorConfig) -> Failed:
    """Read what submitit says of an error that a job ended with."""
    rule = "-" * 22 + "\n"
    trace = said.partition(rule)[2].partition("\n" + rule)[0] or said
    if "timed-out too many times" in trace:
        requeued = f"was requeued executor.requeues={config.requeues} times"
        return Failed(key, f"its time was over, executor.minutes={config.minutes}, after it {requeued}")
    return Failed(key, last_line(trace), trace)


def silent_end(key: int, state: str, config: ExecutorConfig) -> Failed | Lost:
    """Say how a job ended that left no result."""
    match state:
        case "OUT_OF_MEMORY":
            return Failed(key, "out of memory: Slurm ended the job", out_of_memory=True)
        case "TIMEOUT" | "DEADLINE":
            return Failed(key, f"Slurm ended the job at its time, executor.minutes={config.minutes}: {state}")
    return Lost(key, f"the job ended without a score: {state}")


def last_line(text: str) -> str:
    """Return the line that says what went wrong."""
    return text.strip().splitlines()[-1]


def make_private(folder: Path, cluster: str) -> Path:
    """Return a folder of this driver's own, made anew, in which nobody else can write."""
    folder.mkdir(parents=True, exist_ok=True)
    private = folder / f"{cluster}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    private.mkdir(mode=0o700)
    return private


def hold_beat(folder: Path) -> TextIO:
    """Make the file that a driver touches, and lock it for as long as the driver lives."""
    beat = (folder / BEAT).open("a", encoding="ascii")
    fcntl.flock(beat, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return beat


def end_jobs_of_dead_drivers(folder: Path) -> None:
    """Cancel the jobs that drivers of the study have left who were killed: one that ends by itself leaves none.

    A job that runs finds its mailbox closed, on any machine, and ends itself; Slurm is told of those that wait, too.
    """
    for left in folder.glob("*-*/"):
        if not _is_driven(left):
            ids = [path.name.removesuffix("_submitted.pkl") for path in left.glob("*_submitted.pkl")]
            if ids and left.name.startswith("slurm-"):
                subprocess.run(["scancel", *ids], check=False)
            tidy(left)


def _is_driven(folder: Path) -> bool:
    """Whether the folder's driver lives, on this machine or another; where nobody can tell, it does."""
    try:
        with (folder / BEAT).open("r+", encoding="ascii") as beat:
            fcntl.flock(beat, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def tidy(folder: Path) -> None:
    """Close all mailboxes and remove all but the logs."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.is_dir():
                Mailbox(path).close()
            elif not path.name.endswith("_log.out"):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
