"""Where the seconds of simulated workers went: training, waiting for an answer at a rung, or idle.

The three are counted separately, each where it happens, so that their sum is a check: it must be the workers times the
makespan.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scalesearch.arch import ArchSpec

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ended:
    """A training to its end, at the moment its worker was done, and what it read."""

    seconds: float
    arch: ArchSpec
    worth: float
    stopped: bool


@dataclass(slots=True)
class Ledger:
    """The account of one simulation, in virtual seconds from the moment the driver had its workers.

    Attributes:
        num_workers: Simulated.
        spans: Begin and end of every stretch of training.
        submitted: When each job was handed to a worker.
        ended: Every job that has ended, in that order.
        waited: Seconds that workers held a job that waited for an answer.
        idle: Seconds that workers had no job.
        makespan: When the driver closed its workers.
        driver_seconds: Real seconds between two calls of the executor, all told.
        processor_seconds: Of the same work, without waiting for a disk, a database server or other programs.
        driven: The driver's seconds so far at each submission.
    """

    num_workers: int
    spans: list[tuple[float, float]] = field(default_factory=list)
    submitted: list[float] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    waited: float = 0.0
    idle: float = 0.0
    makespan: float = math.nan
    driver_seconds: float = 0.0
    processor_seconds: float = 0.0
    driven: list[float] = field(default_factory=list)
    _free_since: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self._free_since = deque([0.0] * self.num_workers)

    def take_worker(self, now: float) -> None:
        """Give a job to the worker that has been free for longest."""
        self.idle += now - self._free_since.popleft()
        self.submitted.append(now)
        self.driven.append(self.driver_seconds)

    def free_worker(self, ended: float) -> None:
        """Take a job from a worker."""
        self._free_since.append(ended)

    def close(self, now: float) -> None:
        """End the account."""
        assert math.isnan(self.makespan), "an account is closed once"
        self.makespan = now
        self.idle += sum(now - since for since in self._free_since)
        self._free_since.clear()

    @property
    def busy(self) -> float:
        """Seconds of training."""
        return float(sum(end - begin for begin, end in self.spans))

    @property
    def utilisation(self) -> float:
        """Seconds of training over those of all workers from first to last."""
        return self.busy / (self.num_workers * self.makespan)

    @property
    def steady(self) -> tuple[float, float]:
        """Begin and end of the steady part: from as many jobs as workers, up to the last job.

        Where the driver keeps up, it begins when all workers are busy for the first time. Where it does not, they
        never are: this moment is then the one at which all could have been.
        """
        first = self.submitted[min(self.num_workers, len(self.submitted)) - 1]
        return first, self.submitted[-1]

    @property
    def steady_utilisation(self) -> float:
        """Seconds of training over those of all workers in the steady part; NaN where it has no length."""
        begin, end = self.steady
        inside = sum(max(0.0, min(span[1], end) - max(span[0], begin)) for span in self.spans)
        return float(inside / (self.num_workers * (end - begin))) if end > begin else math.nan

    @property
    def steady_driver_seconds(self) -> float:
        """The driver's seconds a trial in the steady part; NaN where it holds no trial."""
        trials = len(self.submitted) - self.num_workers
        return (self.driven[-1] - self.driven[self.num_workers - 1]) / trials if trials > 0 else math.nan

    @property
    def training_seconds(self) -> float:
        """Mean seconds that a trial kept its worker busy."""
        return self.busy / len(self.submitted)

    def utilisation_curve(self, num_windows: int = 60) -> tuple[Floats, Floats]:
        """Return the middle of each of so many equal stretches of time, and the utilisation in it."""
        edges = np.linspace(0.0, self.makespan, num_windows + 1)
        begins = np.sort([span[0] for span in self.spans])
        ends = np.sort([span[1] for span in self.spans])
        # seconds of training done up to each edge: those since every begin, less those since every end
        done = np.array([np.maximum(edge - begins, 0).sum() - np.maximum(edge - ends, 0).sum() for edge in edges])
        return (edges[:-1] + edges[1:]) / 2, np.diff(done) / (self.num_workers * np.diff(edges))
