"""Candidates in the driver's own process, for scores that cost less than a process."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scalesearch.study.executors.events import Event, Scored
from scalesearch.study.jobs import CandidateJob, CandidateScore


class InlineExecutor:
    """Runs each job in the driver's own process.

    Args:
        run: What a job does.
    """

    def __init__(self, run: Callable[[Any], CandidateScore]) -> None:
        self.num_workers = 1
        self._run = run
        self._waiting: list[tuple[int, CandidateJob]] = []

    def submit(self, key: int, job: CandidateJob) -> None:
        """Take a job, to be run by the next ``wait``."""
        self._waiting.append((key, job))

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Run what was submitted, however long it takes."""
        waiting, self._waiting = self._waiting, []
        return [Scored(key, self._run(job)) for key, job in waiting]

    def answer(self, key: int, goes_on: bool) -> None:
        """Refuse: such a job has no rungs."""
        raise AssertionError(f"job {key} asked at a rung, and has none")

    def stop(self, key: int) -> None:
        """Forget a job that has not run."""
        self._waiting = [(other, job) for other, job in self._waiting if other != key]

    def close(self) -> None:
        """Forget what has not run."""
        self._waiting.clear()
