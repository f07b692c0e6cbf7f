"""What an executor is asked and what it tells: one protocol, whether candidates run here, on Ray or under Slurm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scalesearch.study.jobs import CandidateJob, CandidateScore

Run = Callable[..., CandidateScore]
"""Scores a job: ``run(job, watcher, data)``; without ``data`` it loads what the job names."""


@dataclass(frozen=True, slots=True)
class Began:
    """A job has a process, on the host ``place``; until then it waited for one."""

    key: int
    place: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """A running job has done ``steps`` of ``num_steps``; its process holds ``memory_mib``, NaN if unknown."""

    key: int
    steps: int
    num_steps: int
    memory_mib: float = math.nan


@dataclass(frozen=True, slots=True)
class Reached:
    """A running job has read what it is worth at a rung, counted from 0, and waits for ``Executor.answer``."""

    key: int
    rung: int
    steps: int
    worth: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A job has ended with a score."""

    key: int
    score: CandidateScore


@dataclass(frozen=True, slots=True)
class Failed:
    """A job has ended without a score, by its own fault: the same would happen again."""

    key: int
    reason: str
    traceback: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A job's process, machine or allocation was taken from it: it may be submitted again."""

    key: int
    reason: str


@dataclass(frozen=True, slots=True)
class Halted:
    """A job could write no more, on a full disk say: it is not its fault, and no other would fare better."""

    key: int
    reason: str


@dataclass(frozen=True, slots=True)
class Requeued:
    """A job's process was taken from it, and the executor begins it again by itself: it waits for another."""

    key: int
    reason: str


End = Scored | Failed | Halted
"""How a job's process says that it has ended."""

Event = Began | Stepped | Reached | Scored | Failed | Lost | Requeued | Halted


class Executor(Protocol):
    """Runs jobs, ``num_workers`` at once."""

    num_workers: int

    def submit(self, key: int, job: CandidateJob) -> None:
        """Begin a job; ``key`` names it in the events."""
        ...

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Return what has happened: at least one event, or none after so many seconds without."""
        ...

    def answer(self, key: int, goes_on: bool) -> None:
        """Tell a job that waits at a rung whether it goes on; one that has died meanwhile is told nothing."""
        ...

    def stop(self, key: int) -> None:
        """End one job that runs; no event tells of it any more."""
        ...

    def close(self) -> None:
        """End every job that still runs."""
        ...
