"""An executor that scores by a formula: a search end to end in seconds, everything but the training real."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.data import DataConfig
from scalesearch.measure.scores import Job
from scalesearch.measure.training import TrainConfig
from scalesearch.study.executors import Event, Failed, Reached, Scored, Stepped
from scalesearch.study.jobs import CandidateScore
from tests.study.jobs import new_score

TINY_DATA = DataConfig(patches_per_class=2, eval_patches_per_class=1, stored_size=16)
TINY_TRAINING = TrainConfig(steps=1, batch_size=11)

Formula = Callable[[Job], float]


@event.listens_for(Engine, "connect")
def do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    """Trust the kernel with SQLite's writes: a killed process loses none, and tests survive no power cut anyway."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def worth(job: Job) -> float:
    """Return an accuracy that rises with width, depth and kernel, and by a hair with the seed."""
    arch = job.arch
    size = sum(stage.out_channels * stage.num_blocks + stage.kernel_size for stage in arch.stages)
    return size / (size + 100) + job.seed * 1e-4


@dataclass
class _Running:
    """A job, the rung it comes to next, and whether it was told to stop there."""

    job: Job
    rung: int = 0
    stopped: bool = False

    @property
    def is_at_a_rung(self) -> bool:
        return self.rung < len(self.job.rungs) and not self.stopped

    @property
    def steps(self) -> int:
        return self.job.rungs[self.rung] if self.rung < len(self.job.rungs) else num_steps(self.job)


def num_steps(job: Job) -> int:
    assert job.train.steps is not None
    return job.train.steps


class FormulaExecutor:
    """At each ``wait`` the oldest job reaches its next rung, where it has one, or ends.

    At a rung a job reads its final accuracy times the share of the steps done, so a rung ranks as the end does.

    Args:
        formula: The accuracy of a job; an error it raises is the job's failure.
        num_workers: Jobs at once.
        last: The rungs and ends that may come; then ``KeyboardInterrupt``, as when a person stops the driver.
    """

    def __init__(self, formula: Formula = worth, num_workers: int = 1, last: int = 1_000_000) -> None:
        self.num_workers, self._formula, self._left = num_workers, formula, last
        self.submitted: list[tuple[int, Job]] = []
        self.answers: list[tuple[int, int, bool]] = []
        self.closed = False
        self._running: dict[int, _Running] = {}

    @property
    def archs(self) -> list[ArchSpec]:
        return [job.arch for _, job in self.submitted]

    def submit(self, key: int, job: Job) -> None:
        assert len(self._running) < self.num_workers
        self.submitted.append((key, job))
        self._running[key] = _Running(job)

    def wait(self, seconds: float = math.inf) -> list[Event]:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        key = next(iter(self._running))
        running = self._running.pop(key)
        try:
            val_top1 = self._formula(running.job) * (running.steps / num_steps(running.job))
        except ArithmeticError as error:
            return [Failed(key, f"{type(error).__name__}: {error}", "Traceback: in the formula")]
        if running.is_at_a_rung:
            self._running[key] = running  # behind the others, as if they ran side by side
            return [Reached(key, running.rung, running.steps, val_top1)]
        if running.job.checkpoint is not None and not running.stopped:
            running.job.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            running.job.checkpoint.write_text(running.job.arch.arch_id, encoding="ascii")
        score = self.score(running.job, val_top1, steps=running.steps, stopped=running.stopped)
        return [Stepped(key, running.steps, num_steps(running.job)), Scored(key, score)]

    def score(self, job: Any, value: float, **facts: Any) -> CandidateScore:
        """Return a score of a network; an executor of other candidates returns theirs."""
        return new_score(value, latency_ms=network_cost(job.arch).macs / 1e6, **facts)

    def answer(self, key: int, goes_on: bool) -> None:
        running = self._running[key]
        assert running.is_at_a_rung
        self.answers.append((key, running.rung, goes_on))
        running.rung += goes_on
        running.stopped = not goes_on

    def stop(self, key: int) -> None:
        del self._running[key]

    def close(self) -> None:
        self.closed = True


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the keys that every part of a study shares, for a study ``mine`` below ``folder``."""
    shared = {"study": "mine", "results": str(folder), "workers": 1, "device": "cpu"}
    return {**shared, "data": TINY_DATA, "train": TINY_TRAINING, **changes}
