"""The same simulation with a driver that exists on paper: so many seconds a trial, no loop and no database.

It says in a second what a real driver of that speed would do to thousands of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.arch import ArchSpec
from scalesearch.data import DataConfig
from scalesearch.measure.scores import Job
from scalesearch.measure.training import TrainConfig

from .executor import SimulatedExecutor
from .ledger import Ledger
from .study import Outcome, Plan


@dataclass(frozen=True, slots=True)
class Lengths:
    """Trainings that take what they took, and read nothing.

    Attributes:
        measured: Seconds by network.
        speed_up: By which they are shorter.
    """

    measured: dict[ArchSpec, float]
    speed_up: float = 1.0

    def seconds(self, arch: ArchSpec) -> float:
        """Return the seconds of a training."""
        return self.measured[arch] / self.speed_up

    def read(self, arch: ArchSpec, share: float) -> float:
        """Return nothing of use."""
        return 0.0


def simulate_on_paper(plan: Plan, lengths: Lengths, archs: Sequence[ArchSpec], driver_seconds: float) -> Outcome:
    """Train networks drawn from ``archs`` behind a driver that takes ``driver_seconds`` for each."""
    clock = [0.0]
    executor = SimulatedExecutor(plan.workers, lengths, lambda: clock[0])
    drawn = np.random.default_rng(plan.seed).integers(len(archs), size=plan.trials)
    running, begun = 0, 0
    while begun < plan.trials or running:
        while begun < plan.trials and running < plan.workers:
            clock[0] += driver_seconds
            executor.submit(begun, Job(archs[drawn[begun]], 0, DataConfig(), TrainConfig()))
            running, begun = running + 1, begun + 1
        running -= len(executor.wait())
    executor.close()
    return Outcome(plan, _closed(executor.ledger), {}, {})


def _closed(ledger: Ledger) -> Ledger:
    spent = ledger.busy + ledger.waited + ledger.idle
    assert np.isclose(spent, ledger.num_workers * ledger.makespan), "every second of a worker is accounted for"
    return ledger
