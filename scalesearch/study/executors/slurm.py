"""Candidates as jobs of a Slurm cluster, by submitit: those submitted together are one array job.

The driver and the jobs share a file system. What a job tells on its way, and is answered, lies as JSON in a mailbox;
its score is submitit's result. submitit keeps jobs and results as pickles, which are code to whoever reads them: their
folder is made anew for each driver, with mode 0700, so that nobody else can write there.

A job that is pre-empted, or whose time is over, is requeued by submitit and goes on from its snapshot. One that ended
without a word is lost, and may be submitted again: its process trains nothing itself (see ``slurm_task``), so what
ended it came from outside. Slurm is asked how jobs are once a minute at most, as files tell all but such ends.
"""

from __future__ import annotations

import logging
import math
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from scalesearch.errors import ConfigError
from scalesearch.study.executors.config import ExecutorConfig
from scalesearch.study.executors.events import End, Event, Failed, Halted, Lost, Reached, Run, Scored
from scalesearch.study.executors.slurm_jobs import (
    BEAT,
    end_jobs_of_dead_drivers,
    failure,
    hold_beat,
    last_line,
    make_private,
    open_engine,
    silent_end,
    tidy,
)
from scalesearch.study.executors.slurm_mailbox import Letters, Mailbox
from scalesearch.study.executors.slurm_task import SlurmTask
from scalesearch.study.executors.worker import WorkerSettings
from scalesearch.study.jobs import CandidateJob

_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0
_ASK_SECONDS = 60.0  # between two questions to Slurm; submitit alone would ask after up to ten minutes
_RESULT_SECONDS = 15.0  # that a file may take to be seen from another machine
_PREEMPTED_SECONDS = 300.0  # after which a job that Slurm has pre-empted, and did not requeue, is lost
_RETRY_SECONDS = (5.0, 15.0, 45.0, 135.0)  # before Slurm is asked again to take a job; less than silence_seconds in all
_CLOSE_SECONDS = 10.0
_logger = logging.getLogger(__name__)


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
        end_jobs_of_dead_drivers(folder.absolute())
        self._folder = make_private(folder.absolute(), config.cluster)
        self._beat, self._lock = self._folder / BEAT, hold_beat(self._folder)
        self._next_question = 0.0
        self._has_given = False
        self._engine = open_engine(config, self._folder, settings, num_gpus, num_workers)
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
        tidy(self._folder)
        self._lock.close()

    def _submit_batch(self) -> None:
        if not self._waiting:
            return
        batch = [(key, job, Mailbox(self._folder / f"{key}-{secrets.token_hex(4)}")) for key, job in self._waiting]
        tasks = []
        for key, job, mailbox in batch:
            mailbox.open()
            tasks.append(self._task(key, job, mailbox))
        jobs = self._give(tasks)
        self._waiting.clear()
        for (key, _, mailbox), submitted in zip(batch, jobs, strict=True):
            self._submitted[key] = _Submitted(submitted, mailbox)

    def _give(self, tasks: Sequence[SlurmTask]) -> list[submitit.Job[Any]]:
        """Submit jobs as one array; a Slurm that has taken some before is asked again: it may be down, or be full."""
        pauses = iter(_RETRY_SECONDS if self._has_given else ())
        while True:
            try:
                with self._engine.batch():
                    jobs = [self._engine.submit(task) for task in tasks]
            except (FailedJobError, FailedSubmissionError) as error:
                said, pause = last_line(str(error)), next(pauses, None)
                if pause is None:
                    raise ConfigError(f"Slurm refused a job: {said}") from None
                _logger.warning("Slurm refused a job (%s); it is asked again in %g s", said, pause)
                time.sleep(pause)
            else:
                self._has_given = True
                return jobs

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

    def _end_of(self, key: int, submitted: _Submitted) -> End | Lost:
        job = submitted.job
        if job.paths.result_pickle.exists():
            error = job.exception()
            end = job.result() if error is None else failure(key, str(error), self._config)
        else:
            end = silent_end(key, job.state.partition(" ")[0], self._config)
        submitted.mailbox.close()
        _remove_pickles(job)
        if isinstance(end, Scored):
            job.paths.stdout.unlink(missing_ok=True)
            return end
        assert isinstance(end, Failed | Lost | Halted)
        return replace(end, reason=f"{end.reason} (job {job.job_id}, its log is {job.paths.stdout})")


def _remove_pickles(job: submitit.Job[Any]) -> None:
    job.paths.submitted_pickle.unlink(missing_ok=True)
    job.paths.result_pickle.unlink(missing_ok=True)


def _wait_for_the_end(jobs: Sequence[submitit.Job[Any]]) -> None:
    until = time.monotonic() + _CLOSE_SECONDS
    while not all(job.done() for job in jobs) and time.monotonic() < until:
        time.sleep(_FIRST_PAUSE)
