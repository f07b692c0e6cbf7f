"""An executor whose workers train in virtual time, while its driver works in real time.

The clock is the sum of two things. While the driver waits, it jumps to the next event of a training. While the driver
does anything else (proposes, writes, decides), the seconds that this really takes are added. So a slow driver leaves
simulated workers idle exactly as it would leave real ones.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scalesearch.arch import ArchSpec
from scalesearch.measure.scores import Job, Score
from scalesearch.study.executors import Event, Reached, Scored

from .ledger import Ended, Ledger

NUM_STEPS = 900
"""Steps of a simulated training: rungs at a ninth and a third of it are whole."""


class Trainings(Protocol):
    """What trainings take, and what they read."""

    def seconds(self, arch: ArchSpec) -> float:
        """Return the seconds of a network's training to its end."""
        ...

    def read(self, arch: ArchSpec, share: float) -> float:
        """Return the accuracy in [0, 1] that is read after so large a share of the training."""
        ...


@dataclass(slots=True)
class _Running:
    job: Job
    seconds: float
    rung: int = 0  # the next one
    steps: int = 0  # done when it was last seen
    since: float = 0.0  # it has trained on, or has waited
    stopped: bool = False

    @property
    def next_steps(self) -> int:
        return self.job.rungs[self.rung] if self.rung < len(self.job.rungs) else NUM_STEPS


class SimulatedExecutor:
    """Trains ``num_workers`` jobs at once in virtual time.

    Args:
        num_workers: Jobs at once.
        trainings: How long they take and what they read.
        stopwatch: Reads the driver's seconds; one that stands still makes a driver that takes no time.
    """

    def __init__(self, num_workers: int, trainings: Trainings, stopwatch: Callable[[], float]) -> None:
        self.num_workers, self._trainings, self._stopwatch = num_workers, trainings, stopwatch
        self.ledger = Ledger(num_workers)
        self._running: dict[int, _Running] = {}
        self._due: list[tuple[float, int]] = []  # when which job comes to its next rung or end
        self._now, self._left, self._left_processor = 0.0, stopwatch(), time.process_time()

    def begin(self) -> SimulatedExecutor:
        """Start the clock: from here on the driver's seconds count."""
        self._leave_to_driver()
        return self

    def submit(self, key: int, job: Job) -> None:
        """Begin a job on a free worker."""
        self._return_from_driver()
        assert len(self._running) < self.num_workers, "a job more than there are workers"
        self._running[key] = _Running(job, self._trainings.seconds(job.arch))
        self.ledger.take_worker(self._now)
        self._train_on(key)
        self._leave_to_driver()

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Jump to the next event, or so many seconds ahead, and return all that is due by then."""
        self._return_from_driver()
        next_due = self._due[0][0] if self._due else math.inf
        self._now = max(self._now, min(next_due, self._now + seconds))
        events = []
        while self._due and self._due[0][0] <= self._now:
            due, key = heapq.heappop(self._due)
            events.append(self._arrive(key, due))
        self._leave_to_driver()
        return events

    def answer(self, key: int, goes_on: bool) -> None:
        """Let a job that waits at a rung go on, or end with what it has read there."""
        self._return_from_driver()
        running = self._running[key]
        self.ledger.waited += self._now - running.since
        running.rung, running.stopped = running.rung + 1, not goes_on
        if goes_on:
            self._train_on(key)
        else:
            running.since = self._now
            heapq.heappush(self._due, (self._now, key))
        self._leave_to_driver()

    def stop(self, key: int) -> None:
        """End no job: a simulated one does not hang."""
        raise AssertionError(f"job {key} hangs, in a simulation")

    def close(self) -> None:
        """End the account."""
        self._return_from_driver()
        self.ledger.close(self._now)

    def _return_from_driver(self) -> None:
        seconds = self._stopwatch() - self._left
        self._now += seconds
        self.ledger.driver_seconds += seconds
        self.ledger.processor_seconds += time.process_time() - self._left_processor

    def _leave_to_driver(self) -> None:
        self._left, self._left_processor = self._stopwatch(), time.process_time()

    def _train_on(self, key: int) -> None:
        running = self._running[key]
        running.since = self._now
        share = (running.next_steps - running.steps) / NUM_STEPS
        heapq.heappush(self._due, (self._now + share * running.seconds, key))

    def _arrive(self, key: int, due: float) -> Event:
        """Account for what a job has done since it was last seen; it may have been due for a while."""
        running = self._running[key]
        if not running.stopped:
            self.ledger.spans.append((running.since, due))
            running.steps, running.since = running.next_steps, due
        share = running.steps / NUM_STEPS
        worth = self._trainings.read(running.job.arch, share)
        if running.steps < NUM_STEPS and not running.stopped:
            return Reached(key, running.rung, running.steps, worth)
        del self._running[key]
        self.ledger.free_worker(due)
        self.ledger.ended.append(Ended(due, running.job.arch, worth, running.stopped))
        return Scored(
            key,
            Score(
                val_top1=worth,
                train_seconds=share * running.seconds,
                steps=running.steps,
                stopped=running.stopped,
            ),
        )
