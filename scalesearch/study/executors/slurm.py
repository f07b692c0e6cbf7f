"""Candidates as jobs of a Slurm cluster, by submitit: those submitted together are one array job.

The driver and the jobs share a file system. What a job tells on its way, and is answered, lies as JSON in a mailbox;
its score is submitit's result. submitit keeps jobs and results as pickles, which are code to whoever reads them: their
folder is made anew for each driver, with mode 0700, so that nobody else can write there.

A job that is pre-empted, or whose time is over, is requeued by submitit and goes on from its snapshot. One that ended
without a word is lost, and may be submitted again: its process trains nothing itself (see ``slurm_task``), so what
ended it came from outside. Slurm is asked how jobs are once a minute at most, as files tell all but such ends.
"""

from __future__ import annotations

import math
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from scalesearch.errors import ConfigError
from scalesearch.study.executors.config import ExecutorConfig
from scalesearch.study.executors.events import Event, Failed, Lost, Reached, Run, Scored
from scalesearch.study.executors.mailbox import Letters, Mailbox
from scalesearch.study.executors.slurm_task import SlurmTask
from scalesearch.study.executors.worker import WorkerSettings
from scalesearch.study.jobs import CandidateJob

_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0
_ASK_SECONDS = 60.0  # between two questions to Slurm; submitit alone would ask after up to ten minutes
_RESULT_SECONDS = 15.0  # that a file may take to be seen from another machine
_PREEMPTED_SECONDS = 300.0  # after which a job that Slurm has pre-empted, and did not requeue, is lost
_SIGNAL_SECONDS = 120  # before a job's time is over, to write a snapshot
_MEMORY_HEADROOM_GIB = 1.0  # for the parent, and so that the worker ends itself before Slurm does
_CLOSE_SECONDS = 10.0


@dataclass(slots=True)
class _Submitted:
    """A job of submitit's, and how it is heard of."""

    job: submitit.Job[Any]
    mailbox: Mailbox
    waits_at: tuple[Letters, int] | None = None
    gone_since: float = math.inf


class SlurmExecutor:
    """One Slurm job a candidate, those submitted between two ``wait`` one array.

    Args:
        config: The cluster's, of the job's time and of what else ``sbatch`` is told.
        run: What a job does.
        num_workers: Jobs at once.
        folder: Seen by the driver and all nodes under one name; each driver has a folder of its own in it.
        settings: What a training's process may use; Slurm is asked for as many processors, and for 1 GiB beside
            the memory where that is limited.
        num_gpus: Of a job.
        silence_seconds: Without a sign of the driver, after which a job ends itself.

    Raises:
        ConfigError: There is no Slurm here.
    """

    def __init__(
        self,
        config: ExecutorConfig,
        run: Run,
        num_workers: int,
        folder: Path,
        settings: WorkerSettings,
        num_gpus: int = 0,
        silence_seconds: float = 600.0,
    ) -> None:
        self.num_workers = num_workers
        self._run, self._settings, self._silence = run, settings, silence_seconds
        self._config, self._is_local = config, config.cluster == "local"
        if not self._is_local and shutil.which("sbatch") is None:
            raise ConfigError("executor=slurm needs Slurm's commands, and there is no sbatch here")
        _end_jobs_of_dead_drivers(folder.absolute())
        self._folder = _make_private(folder.absolute(), config.cluster)
        self._beat = self._folder / "beat"
        self._beat.touch()
        self._next_question = 0.0
        self._engine = _open_engine(config, self._folder, settings, num_gpus, num_workers)
        self._waiting: list[tuple[int, CandidateJob]] = []
        self._submitted: dict[int, _Submitted] = {}

    def submit(self, key: int, job: CandidateJob) -> None:
        """Take a job, which the next ``wait`` gives to Slurm with others."""
        self._waiting.append((key, job))

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Return what has happened: at least one event, or none after so many seconds without."""
        self._submit_batch()
        assert self._submitted, "nothing runs: there is nothing to wait for"
        until, pause = time.monotonic() + seconds, _FIRST_PAUSE
        while True:
            self._beat.touch()
            self._ask_slurm()
            events = [event for key in list(self._submitted) for event in self._hear(key)]
            left = until - time.monotonic()
            if events or left <= 0:
                return events
            time.sleep(min(pause, left))
            pause = min(1.5 * pause, _LAST_PAUSE)

    def answer(self, key: int, goes_on: bool) -> None:
        """Tell a job that waits at a rung whether it goes on; one that has died meanwhile is told nothing."""
        submitted = self._submitted.get(key)
        if submitted is not None and submitted.waits_at is not None:
            letters, rung = submitted.waits_at
            submitted.waits_at = None
            letters.post_answer(rung, goes_on)

    def stop(self, key: int) -> None:
        """End one job that waits for Slurm, or runs."""
        self._waiting = [(other, job) for other, job in self._waiting if other != key]
        submitted = self._submitted.pop(key, None)
        if submitted is not None:
            submitted.mailbox.close()
            submitted.job.cancel(check=False)
            _remove_pickles(submitted.job)

    def close(self) -> None:
        """End every job that still runs, and keep the logs of those that have failed."""
        jobs = [submitted.job for submitted in self._submitted.values()]
        for key in [*(key for key, _ in self._waiting), *self._submitted]:
            self.stop(key)
        if self._is_local:
            _wait_for_the_end(jobs)
        _tidy(self._folder)

    def _submit_batch(self) -> None:
        if not self._waiting:
            return
        batch = [(key, job, Mailbox(self._folder / f"{key}-{secrets.token_hex(4)}")) for key, job in self._waiting]
        tasks = []
        for key, job, mailbox in batch:
            mailbox.open()
            tasks.append(self._task(key, job, mailbox))
        try:
            with self._engine.batch():
                jobs = [self._engine.submit(task) for task in tasks]
        except (FailedJobError, FailedSubmissionError) as error:
            raise ConfigError(f"Slurm refused a job: {_last_line(str(error))}") from None
        self._waiting.clear()
        for (key, _, mailbox), submitted in zip(batch, jobs, strict=True):
            self._submitted[key] = _Submitted(submitted, mailbox)

    def _task(self, key: int, job: CandidateJob, mailbox: Mailbox) -> SlurmTask:
        return SlurmTask(
            run=self._run,
            key=key,
            job=job,
            settings=self._settings,
            mailbox=mailbox.folder,
            beat=self._beat,
            silence_seconds=self._silence,
        )

    def _ask_slurm(self) -> None:
        """Have submitit ask for all jobs at once, where it is time."""
        if not self._is_local and time.monotonic() >= self._next_question:
            next(iter(self._submitted.values())).job.get_info(mode="force")
            self._next_question = time.monotonic() + _ASK_SECONDS

    def _hear(self, key: int) -> list[Event]:
        """Return what a job has told; how it ended is the last thing."""
        submitted = self._submitted[key]
        has_ended = self._has_ended(submitted)  # before its letters are read: none comes after
        letters = submitted.mailbox.latest
        events = [] if letters is None else letters.collect()
        for event in events:
            if isinstance(event, Reached):
                assert letters is not None
                submitted.waits_at = (letters, event.rung)
        if has_ended:
            del self._submitted[key]
            events.append(self._end_of(key, submitted))
        return events

    def _has_ended(self, submitted: _Submitted) -> bool:
        """Whether nothing more comes: with the result, or some time after Slurm says so."""
        job, now = submitted.job, time.monotonic()
        is_done = job.done()
        if is_done and (self._is_local or job.paths.result_pickle.exists()):
            return True
        if not is_done and not job.state.startswith("PREEMPTED"):
            submitted.gone_since = math.inf
            return False
        submitted.gone_since = min(submitted.gone_since, now)
        return now - submitted.gone_since >= (_RESULT_SECONDS if is_done else _PREEMPTED_SECONDS)

    def _end_of(self, key: int, submitted: _Submitted) -> Scored | Failed | Lost:
        job = submitted.job
        if job.paths.result_pickle.exists():
            error = job.exception()
            end = job.result() if error is None else _failure(key, str(error), self._config)
        else:
            end = _silent_end(key, job.state.partition(" ")[0], self._config)
        submitted.mailbox.close()
        _remove_pickles(job)
        if isinstance(end, Scored):
            job.paths.stdout.unlink(missing_ok=True)
            return end
        assert isinstance(end, Failed | Lost)
        return replace(end, reason=f"{end.reason} (job {job.job_id}, its log is {job.paths.stdout})")


def _open_engine(
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
        slurm_additional_parameters=dict(config.sbatch),
    )
    return engine


def _failure(key: int, said: str, config: ExecutorConfig) -> Failed:
    """Read what submitit says of an error that a job ended with."""
    rule = "-" * 22 + "\n"
    trace = said.partition(rule)[2].partition("\n" + rule)[0] or said
    if "timed-out too many times" in trace:
        requeued = f"was requeued executor.requeues={config.requeues} times"
        return Failed(key, f"its time was over, executor.minutes={config.minutes}, after it {requeued}")
    return Failed(key, _last_line(trace), trace)


def _silent_end(key: int, state: str, config: ExecutorConfig) -> Failed | Lost:
    """Say how a job ended that left no result."""
    match state:
        case "OUT_OF_MEMORY":
            return Failed(key, "out of memory: Slurm ended the job", out_of_memory=True)
        case "TIMEOUT" | "DEADLINE":
            return Failed(key, f"Slurm ended the job at its time, executor.minutes={config.minutes}: {state}")
    return Lost(key, f"the job ended without a score: {state}")


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def _make_private(folder: Path, cluster: str) -> Path:
    """Return a folder of this driver's own, made anew, in which nobody else can write."""
    folder.mkdir(parents=True, exist_ok=True)
    private = folder / f"{cluster}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    private.mkdir(mode=0o700)
    return private


def _end_jobs_of_dead_drivers(folder: Path) -> None:
    """Cancel the jobs that earlier drivers of the study have left: a driver that ends by itself leaves none.

    One that runs finds its mailbox closed, on any machine, and ends itself; Slurm is told of those that wait, too.
    """
    for left in folder.glob("*-*/"):
        ids = [path.name.removesuffix("_submitted.pkl") for path in left.glob("*_submitted.pkl")]
        if ids and left.name.startswith("slurm-"):
            subprocess.run(["scancel", *ids], check=False)
        _tidy(left)


def _tidy(folder: Path) -> None:
    """Close all mailboxes and remove all but the logs."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.is_dir():
                Mailbox(path).close()
            elif not path.name.endswith("_log.out"):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def _remove_pickles(job: submitit.Job[Any]) -> None:
    job.paths.submitted_pickle.unlink(missing_ok=True)
    job.paths.result_pickle.unlink(missing_ok=True)


def _wait_for_the_end(jobs: Sequence[submitit.Job[Any]]) -> None:
    until = time.monotonic() + _CLOSE_SECONDS
    while not all(job.done() for job in jobs) and time.monotonic() < until:
        time.sleep(_FIRST_PAUSE)
