"""The loop that keeps the workers busy: next job, run, settle. What the jobs are is the caller's matter."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.trial import Trial

from scalesearch.errors import StudyError
from scalesearch.measure.snapshot import SnapshotConfig
from scalesearch.study.executors.events import (
    Began,
    Event,
    Executor,
    Failed,
    Halted,
    Lost,
    Reached,
    Requeued,
    Scored,
    Stepped,
)
from scalesearch.study.interrupts import Interrupts
from scalesearch.study.jobs import CandidateJob
from scalesearch.study.progress import ProgressDisplay

Settle = Callable[[Trial, Any, Scored | Failed], str]
"""Records how a trial ended and returns a few words about it."""

Decide = Callable[[Trial, Any, Reached], bool]
"""Records what a trial read at a rung and says whether its training goes on."""

NextJob = tuple[Trial, CandidateJob, str] | None
"""A trial, what it runs and a few words to show; None where there is nothing at present, but may be later."""

_POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRules:
    """What holds for every job of a part.

    Attributes:
        snapshots: Folder in which running trainings keep what they need to go on; None keeps nothing.
        snapshot_seconds: Between two of a training's snapshots.
        timeout_seconds: After which a running job counts as hung.
        retries: Times a job is begun again that was lost through no fault of its own.
        variant: Names the way the jobs train, where a part of a study has several.
    """

    snapshots: Path | None = None
    snapshot_seconds: float = 30.0
    timeout_seconds: float = math.inf
    retries: int = 2
    variant: str = ""

    def prepare(self, part: str, job: Any) -> Any:  # noqa: ANN401 (a job as it came, of its own kind)
        """Return a job that goes on from the snapshot of an earlier process; none where ``snapshot_seconds`` is inf."""
        if self.snapshots is None or math.isinf(self.snapshot_seconds):
            return job
        names = filter(None, [part, self.variant, job.arch.arch_id, str(job.seed)])
        path = self.snapshots / f"{'-'.join(names)}.snapshot"
        return replace(job, snapshot=SnapshotConfig(path, self.snapshot_seconds))


@dataclass(slots=True)
class _Running:
    trial: Trial
    job: CandidateJob
    lost: list[str] = field(default_factory=list)
    deadline: float = math.inf


def drive(
    part: str,
    jobs: Iterator[NextJob],
    executor: Executor,
    settle: Settle,
    progress: ProgressDisplay,
    decide: Decide | None = None,
    rules: JobRules | None = None,
) -> None:
    """Run jobs as workers fall free until there are none left.

    ``jobs`` is asked for the next one only when a worker is free, so a search proposes with all that is known by
    then. On any error, Ctrl-C included, the running jobs are ended; their trials stay RUNNING in the record and are
    taken up again by the next run.

    Args:
        part: Of the study.
        jobs: What is to be run.
        executor: Where jobs run; closed at the end.
        settle: Told of each job that ended.
        progress: Told of everything.
        decide: Asked at each rung; needed where jobs have rungs.
        rules: For all jobs.
    """
    loop = _Drive(part, executor, settle, progress, decide, rules or JobRules())
    try:
        with Interrupts() as interrupts:
            while True:
                may_come = loop.fill(jobs)
                if not loop.running and not may_come:
                    return
                with interrupts.allowed():
                    events = loop.wait(may_come=may_come)
                for event in events:
                    loop.take(event)
                loop.end_the_hung()
    finally:
        executor.close()


class _Drive:
    """What runs now, and what is done with each event."""

    def __init__(
        self,
        part: str,
        executor: Executor,
        settle: Settle,
        progress: ProgressDisplay,
        decide: Decide | None,
        rules: JobRules,
    ) -> None:
        self._part, self._executor, self._rules = part, executor, rules
        self._settle, self._decide, self._progress = settle, decide, progress
        self.running: dict[int, _Running] = {}
        self._next_ask = 0.0

    def fill(self, jobs: Iterator[NextJob]) -> bool:
        """Submit jobs to the free workers; say whether more may come, though there is none at present."""
        while len(self.running) < self._executor.num_workers:
            if time.monotonic() < self._next_ask:
                return True
            try:
                following = next(jobs)
            except StopIteration:
                return False
            if following is None:
                self._next_ask = time.monotonic() + _POLL_SECONDS
                return True
            trial, job, description = following
            job = self._rules.prepare(self._part, job)
            self.running[trial.number] = _Running(trial, job)
            self._progress.begin(trial.number, description)
            self._executor.submit(trial.number, job)
        return False

    def wait(self, *, may_come: bool) -> list[Event]:
        """Return what has happened, soon where another job may come or one may hang."""
        if not self.running:
            time.sleep(_POLL_SECONDS)
            return []
        hurried = may_come or any(math.isfinite(each.deadline) for each in self.running.values())
        return self._executor.wait(_POLL_SECONDS if hurried else math.inf)

    def take(self, event: Event) -> None:
        """Do what an event asks for."""
        running = self.running[event.key]
        match event:
            case Began():
                running.deadline = time.monotonic() + self._rules.timeout_seconds
            case Stepped():
                self._progress.step(event.key, event.steps, event.num_steps)
            case Reached():
                assert self._decide is not None, "a job with rungs came without anybody to ask"
                self._executor.answer(event.key, self._decide(running.trial, running.job, event))
            case Requeued():
                running.deadline = math.inf  # it waits, and that is not counted
                self._progress.note(f"trial {event.key} waits to go on: {event.reason}")
            case Lost():
                self._begin_again(running, event)
            case Halted():
                raise StudyError(f"{event.reason}; make room there, and the same command goes on with the study")
            case Scored() | Failed():
                self._end(running, event)

    def end_the_hung(self) -> None:
        """Fail the jobs that run for too long."""
        for key, running in list(self.running.items()):
            if time.monotonic() > running.deadline:
                self._executor.stop(key)
                limit = f"{self._rules.timeout_seconds:g} s of trial_timeout"
                self._end(running, Failed(key, f"the worker was ended after the {limit}"))

    def _begin_again(self, running: _Running, event: Lost) -> None:
        running.lost.append(event.reason)
        running.trial.set_user_attr("lost", running.lost)
        if len(running.lost) > self._rules.retries:
            tried = f", {len(running.lost)} times" if self._rules.retries else ""
            self._end(running, Failed(event.key, f"{event.reason}{tried}"))
            return
        self._progress.note(f"trial {event.key} is begun again: {event.reason}")
        running.deadline = math.inf
        self._executor.submit(event.key, running.job)

    def _end(self, running: _Running, event: Scored | Failed) -> None:
        if isinstance(event, Failed) and event.out_of_memory:
            floor = running.job.memory_floor_mib
            foreseen = "" if math.isnan(floor) else f"; foreseen were at least {floor:,.0f} MiB beside torch's own"
            event = replace(event, reason=event.reason + foreseen)
        del self.running[event.key]
        line = self._settle(running.trial, running.job, event)
        if running.job.snapshot is not None:
            running.job.snapshot.path.unlink(missing_ok=True)
        self._progress.settle(event.key, _state_after(event), line)


def _state_after(event: Scored | Failed) -> str:
    if isinstance(event, Failed):
        return "FAILED"
    return "PRUNED" if event.score.stopped else "COMPLETE"
