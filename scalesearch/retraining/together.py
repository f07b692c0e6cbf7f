"""Trainings that several processes do together: the first one drives the study, the others follow it.

The first process tells the others each training before it begins it, and at the end that there are no more. What goes
wrong in all of them alike, a loss that is not finite say, ends one training; what goes wrong in one of them ends that
process, whereupon torchrun ends the others, and the same command goes on from the last snapshot.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from typing import Any

import torch

from scalesearch.errors import DivergenceError, ScalesearchError
from scalesearch.measure.team import Team
from scalesearch.retraining.job import RetrainJob, RetrainScore
from scalesearch.study.executors import Event, Failed, Scored, keep_freed_memory

TrainTogether = Callable[..., RetrainScore]
"""``run(job, on_step, team=team)``."""

_SAME_IN_ALL = (DivergenceError, ScalesearchError)


class TeamExecutor:
    """Runs each training in this process and in those that follow it.

    Args:
        team: The processes; this is the first one.
        run: Trains, with every process calling it.
        num_threads: Of the processor, for each process.
    """

    def __init__(self, team: Team, run: TrainTogether, num_threads: int) -> None:
        self.num_workers = 1
        self._team, self._run = team, run
        self._waiting: list[tuple[int, RetrainJob]] = []
        self._busy = self._closed = False
        _prepare(num_threads)

    def submit(self, key: int, job: Any) -> None:  # noqa: ANN401 (a ``RetrainJob``: the protocol has any)
        """Take a training, to be run by the next ``wait``."""
        self._waiting.append((key, job))

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Run what was submitted, however long it takes."""
        waiting, self._waiting = self._waiting, []
        return [self._train(key, job) for key, job in waiting]

    def answer(self, key: int, goes_on: bool) -> None:
        """Refuse: such a training asks nobody whether it goes on."""
        raise AssertionError(f"training {key} asked at a rung, and has none")

    def stop(self, key: int) -> None:
        """Forget a training that has not run."""
        self._waiting = [(other, job) for other, job in self._waiting if other != key]

    def close(self) -> None:
        """Let the others go, unless one of them, or this one, was torn out of a training."""
        if not self._closed and not self._busy:
            self._team.tell(None)
        self._closed = True

    def _train(self, key: int, job: RetrainJob) -> Event:
        self._team.tell(job)
        self._busy = True
        try:
            event: Event = Scored(key, self._run(job, _tell_tenths(key), team=self._team))
        except _SAME_IN_ALL as error:
            event = Failed(key, f"{type(error).__name__}: {error}")
        self._busy = False
        return event


def follow(team: Team, run: TrainTogether, num_threads: int) -> None:
    """Take part in every training the first process tells of, until it tells of no more; print and write nothing."""
    _prepare(num_threads)
    logging.disable(logging.WARNING)
    while (job := team.tell()) is not None:
        try:
            run(job, None, team=team)
        except _SAME_IN_ALL:
            continue  # the first process records it


def _prepare(num_threads: int) -> None:
    keep_freed_memory()
    torch.set_num_threads(num_threads)


def _tell_tenths(key: int) -> Callable[[int, int], None]:
    """Return what prints a line at each tenth of a training: nothing else can while it runs in this process."""

    def tell(steps: int, num_steps: int) -> None:
        if steps * 10 // num_steps > (steps - 1) * 10 // num_steps:
            print(f"train: trial {key} step {steps}/{num_steps}", file=sys.stderr, flush=True)

    return tell
