"""One simulated study: the real loop, sampler, rungs and database, over workers that exist in a clock alone."""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scalesearch.arch import ArchSpec
from scalesearch.arch.budget import Budget
from scalesearch.search import SearchConfig
from scalesearch.search.loop import LoopSettings, SearchLoop
from scalesearch.search.networks import NetworkProblem
from scalesearch.search.rungs import PrunerConfig
from scalesearch.search.scoring import Scoring
from scalesearch.study.store import load_records, state_of

from .executor import NUM_STEPS, SimulatedExecutor, Trainings
from .ledger import Ledger
from .meter import Meter

_NUM_CLASSES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is simulated.

    Attributes:
        workers: Simulated.
        trials: Networks to score in all, those stopped at a rung included.
        sampler: One of ``SAMPLERS``.
        pruner: One of ``METHODS``.
        speed_up: By which trainings are shorter than measured.
        seed: From which every random choice follows.
        macs: Budget of a network.
    """

    workers: int
    trials: int
    sampler: str = "predictor"
    pruner: str = "off"
    speed_up: float = 1.0
    seed: int = 0
    macs: float = math.inf


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation says.

    Attributes:
        plan: What was simulated.
        ledger: Where the workers' seconds went.
        states: Trials of the record by state: those over the budget and the repeated ones cost the driver too.
        parts: The driver's real seconds by part.
    """

    plan: Plan
    ledger: Ledger
    states: Mapping[str, int]
    parts: Mapping[str, float]

    @property
    def load(self) -> float:
        """Workers times the driver's seconds a trial over a training's: from 1 on the driver is the limit."""
        return self.plan.workers * self.ledger.steady_driver_seconds / self.ledger.training_seconds


def simulate(
    plan: Plan,
    space: str,
    trainings: Trainings,
    folder: Path,
    storage: str | None = None,
    stopwatch: Callable[[], float] = time.perf_counter,
) -> Outcome:
    """Run one study to its end.

    Args:
        plan: What is simulated.
        space: Name or file of the search space.
        trainings: What they take and read.
        folder: For the study's files, and its SQLite database where no storage is given.
        storage: URL of another database.
        stopwatch: Reads the driver's seconds.
    """
    config = config_of(plan, space, folder, storage)
    executor, meter = SimulatedExecutor(plan.workers, trainings, stopwatch), Meter(stopwatch)
    with config.held(), contextlib.redirect_stderr(io.StringIO()):
        loop = build_loop(config, executor)
        with meter.attached():
            loop.run(plan.trials)
    (record,) = load_records(config.url, config.study)
    states = Counter(state_of(trial) for trial in record.trials)
    return Outcome(plan, executor.ledger, states, meter.seconds)


def config_of(plan: Plan, space: str, folder: Path, storage: str | None) -> SearchConfig:
    """Return the configuration of a simulated study."""
    return SearchConfig(
        study=f"simulated-{folder.name}",  # a temporary folder's: no other study in the storage has it
        results=str(folder),
        storage=storage,
        space=space,
        trials=plan.trials,
        seed=plan.seed,
        workers=plan.workers,
        device="cpu",
        sampler=plan.sampler,
        objective="accuracy",
        budget=Budget(macs=plan.macs),
        pruner=PrunerConfig(method=plan.pruner),
        snapshot_seconds=math.inf,
    )


def build_loop(config: SearchConfig, executor: SimulatedExecutor) -> SearchLoop[ArchSpec]:
    """Return a study's loop over simulated workers."""
    scoring = Scoring(
        score=config.score,
        num_classes=_NUM_CLASSES,
        num_steps=NUM_STEPS,
        identity={"simulated": True},
        executor=executor.begin,
        lacks=lambda _: False,
    )
    space = config.load_space()
    problem = NetworkProblem(config, space, config.load_objectives(), scoring, keeps_weights=False)
    settings = LoopSettings(
        part="search",
        folder=config.folder,
        url=config.url,
        seed=config.seed,
        sampler=config.sampler,
        pruner=config.pruner,
        rules=config.rules,
    )
    return SearchLoop(settings, problem)
