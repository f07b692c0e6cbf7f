"""What a search will take on this machine, foreseen from a few real training steps of three of its networks.

Measured: the seconds of a step and beside the steps (process, evaluation, latency) of a small, a median and a large
network of the space within the budget, as many at once as there are workers; and what a worker's process holds.

Assumed: that a network's time lies between those three as its ``acts`` do (over the 60 networks that the search of
results/cifar10-small trained, their correlation with the seconds is 0.80, that of macs 0.60); that the sampler proposes
networks as a uniform draw within the budget does; that nothing else uses the machine more than it did meanwhile; that
no training fails or is stopped at a rung. The first two are why a range is given: what it would take if every network
came from the cheaper, or the dearer, half of those drawn.
"""

from __future__ import annotations

import random
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scalesearch.arch import ArchSpec, Cost, SearchSpace, network_cost
from scalesearch.arch.budget import check_reachable
from scalesearch.data import ImageData
from scalesearch.errors import ConfigError, SpaceError
from scalesearch.measure.available_memory import available_gib
from scalesearch.measure.memory_floor import training_floor_mib
from scalesearch.measure.scores import Job
from scalesearch.search.config import SearchConfig
from scalesearch.search.ledger import was_scored
from scalesearch.study.executors import Executor, Failed, Scored
from scalesearch.study.executors.events import Lost, Stepped
from scalesearch.study.sessions import num_cores
from scalesearch.study.settings import check_at_least
from scalesearch.study.store import load_records

OnNetwork = Callable[[str, int, int], None]
"""Told of what is done, how much of it, and of how many."""

_DRAWN = 200
_TRIES = 20_000
_QUANTILES = (0.1, 0.5, 0.9)
_RECORD_KIB_A_TRIAL = 16  # measured: study.db had 156 KiB after a search of 10 networks


@dataclass(kw_only=True, slots=True)
class PlanConfig(SearchConfig):
    """The keys of ``scalesearch plan``: those of ``search``, and how much is measured.

    Attributes:
        timed_steps: Training steps of each of the three networks that are timed.
    """

    timed_steps: int = 30

    def __post_init__(self) -> None:
        SearchConfig.__post_init__(self)
        check_at_least("timed_steps", self.timed_steps, 1)
        if self.score.method != "brief":
            raise ConfigError(f"score must be brief, whose trainings are what is foreseen; got {self.score.method!r}")
        if self.executor.kind != "local":
            raise ConfigError(
                f"executor must be local, for it is this machine that is timed; got {self.executor.kind!r}"
            )


@dataclass(frozen=True, slots=True)
class TimedNetwork:
    """What one network took: a step, all beside the steps, and the most memory that its process held."""

    arch: ArchSpec
    cost: Cost
    step_seconds: float
    fixed_seconds: float
    memory_mib: float

    def trial_seconds(self, num_steps: int) -> float:
        """Return what a training of so many steps takes, with all that belongs to it."""
        return self.fixed_seconds + num_steps * self.step_seconds


@dataclass(frozen=True, slots=True)
class PlanInfo:
    """What a search will take.

    Attributes:
        timed: A small, a median and a large network.
        num_timed_steps: Steps that each of them was trained.
        num_steps: Training steps of a candidate.
        workers: Candidates at once.
        threads: Of each.
        trials_done: Networks that the study has scored already.
        trials_left: Networks to score.
        seconds: To come, the mean over the networks drawn.
        seconds_low: If all were of the cheaper half.
        seconds_high: If all were of the dearer half.
        memory_mib: Of all workers at once, each with the largest network drawn.
        available_mib: What this machine has.
        disk_mib: What the study will add: its record, weights and snapshots; the decoded images are there already.
        cache_mib: What the decoded images take.
        free_mib: Left on the disk now.
        notes: What was not counted.
    """

    timed: tuple[TimedNetwork, ...]
    num_timed_steps: int
    num_steps: int
    workers: int
    threads: int
    trials_done: int
    trials_left: int
    seconds: float
    seconds_low: float
    seconds_high: float
    memory_mib: float
    available_mib: float
    disk_mib: float
    cache_mib: float
    free_mib: float
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """Return it in sentences for people."""
        begun = (
            f"{self.trials_done} are scored already, {self.trials_left} are left" if self.trials_done else "none yet"
        )
        spread = f"{duration(self.seconds_low)} to {duration(self.seconds_high)}"
        return [
            f"Trials: {self.trials_done + self.trials_left} networks of {self.num_steps} steps; {begun}.",
            f"Time: about {duration(self.seconds)}; {spread} if all networks came from the cheaper or the dearer half.",
            f"Memory: about {self.memory_mib:,.0f} MiB for {self.workers} workers, and there are"
            f" {self.available_mib:,.0f} MiB.",
            f"Disk: {self.cache_mib:,.0f} MiB of decoded images are written; about {self.disk_mib:,.0f} MiB will come"
            f" besides, and {self.free_mib:,.0f} MiB are free.",
            *self.notes,
        ]


def plan_search(config: PlanConfig, on_network: OnNetwork | None = None) -> PlanInfo:
    """Train three networks of the space for a few steps and return what the whole search will take.

    The images are decoded into the study's folder, as the search would; nothing else is written.

    Args:
        config: The search, as it will be told.
        on_network: Told of each network that was timed.

    Raises:
        ScalesearchError: The data, space or budget is not usable.
    """
    space = config.load_space()
    data = config.load_data()
    check_reachable(space, config.budget, data.num_classes)
    drawn = _draw(config, space, data.num_classes)
    chosen = [drawn[int(quantile * (len(drawn) - 1))] for quantile in _QUANTILES]
    timed: list[TimedNetwork] = []
    _time(config, data, *chosen[0], num_steps=1)  # the process from which workers are forked begins but once
    for place, (arch, cost) in enumerate(chosen):
        timed.append(_time(config, data, arch, cost, num_steps=config.timed_steps))
        if on_network is not None:
            on_network("networks timed", place + 1, len(chosen))
    num_steps = config.train.num_steps(len(data.train))
    seconds = _seconds_of(drawn, timed, num_steps)
    done = _count_scored(config)
    left = max(0, config.trials - done)
    turns, half = left / config.workers, len(seconds) // 2
    largest = max(drawn, key=lambda each: each[1].params)[1].params
    return PlanInfo(
        timed=tuple(timed),
        num_timed_steps=config.timed_steps,
        num_steps=num_steps,
        workers=config.workers,
        threads=config.threads or max(1, num_cores() // config.workers),
        trials_done=done,
        trials_left=left,
        seconds=turns * statistics.fmean(seconds),
        seconds_low=turns * statistics.fmean(seconds[: half or 1]),
        seconds_high=turns * statistics.fmean(seconds[half:]),
        memory_mib=config.workers * _memory_of_largest(config, data, drawn, timed),
        available_mib=1024 * available_gib(config.torch_device),
        # weights of the best and of each candidate that runs, whose snapshot holds the optimiser's two means too
        disk_mib=(4 * largest * (1 + 4 * config.workers)) / 2**20 + left * _RECORD_KIB_A_TRIAL / 1024,
        cache_mib=_size_mib(config.folder.cache),
        free_mib=shutil.disk_usage(config.folder.cache).free / 2**20,
        notes=tuple(_notes(config)),
    )


def duration(seconds: float) -> str:
    """Return seconds as a person says them.

    Example:
        >>> duration(20), duration(600), duration(9000)
        ('20 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _draw(config: PlanConfig, space: SearchSpace, num_classes: int) -> list[tuple[ArchSpec, Cost]]:
    """Return networks within the budget, drawn uniformly, in rising acts."""
    rng, found = random.Random(config.seed), {}
    for _ in range(_TRIES):
        arch = space.sample(rng)
        cost = network_cost(arch, num_classes=num_classes)
        if config.budget.holds(cost):
            found[arch.arch_id] = (arch, cost)
        if len(found) == _DRAWN:
            break
    if not found:
        raise SpaceError(
            f"of {_TRIES:,} networks drawn from search space {space.name} none is within the budget; raise budget.macs"
        )
    return sorted(found.values(), key=lambda each: each[1].acts)


def _time(config: PlanConfig, data: ImageData, arch: ArchSpec, cost: Cost, *, num_steps: int) -> TimedNetwork:
    """Train a network for a few steps in every worker at once, as they would in the search."""
    job = Job(
        arch=arch,
        seed=config.seed,
        data=config.data,
        train=replace(config.train, steps=num_steps, epochs=None),
        cache=config.folder.cache,
        device=config.torch_device,
        latency_batch_size=config.latency_batch_size,
    )
    executor = config.open_executor(data)
    try:
        started = time.perf_counter()
        for key in range(config.workers):
            executor.submit(key, job)
        return _read(executor, config.workers, started, arch, cost)
    finally:
        executor.close()


def _read(executor: Executor, num_workers: int, started: float, arch: ArchSpec, cost: Cost) -> TimedNetwork:
    steps: list[float] = []
    beside: list[float] = []
    memory = [0.0]
    while len(steps) < num_workers:
        for event in executor.wait():
            if isinstance(event, Stepped):
                memory.append(event.memory_mib)
            elif isinstance(event, Failed | Lost):
                raise ConfigError(f"a network of {cost.macs:,} macs cannot be trained: {event.reason}")
            elif isinstance(event, Scored):
                seconds = float(event.score.to_dict()["train_seconds"])
                steps.append(seconds / event.score.steps)
                beside.append(time.perf_counter() - started - seconds)
    return TimedNetwork(arch, cost, statistics.fmean(steps), statistics.fmean(beside), max(memory))


def _seconds_of(drawn: Sequence[tuple[ArchSpec, Cost]], timed: Sequence[TimedNetwork], num_steps: int) -> list[float]:
    """Return the seconds of a trial of each network drawn, in rising order."""
    places = [float(each.cost.acts) for each in timed]
    known = [each.trial_seconds(num_steps) for each in timed]
    return sorted(float(np.interp(cost.acts, places, known)) for _, cost in drawn)


def _memory_of_largest(
    config: PlanConfig, data: ImageData, drawn: Sequence[tuple[ArchSpec, Cost]], timed: Sequence[TimedNetwork]
) -> float:
    """Return what a process held with the large network, and by how much more the largest one's floor is."""

    def floor(arch: ArchSpec) -> float:
        num_images, num_classes = len(data.train), data.num_classes
        return training_floor_mib(
            arch, config.train, config.torch_device, num_images=num_images, num_classes=num_classes
        )

    return max(each.memory_mib for each in timed) + max(0.0, floor(drawn[-1][0]) - floor(timed[-1].arch))


def _count_scored(config: PlanConfig) -> int:
    if config.storage is None and not config.folder.database.exists():  # SQLite would make an empty one
        return 0
    records = load_records(config.url, config.folder.name)
    return len({t.user_attrs["arch_id"] for r in records if r.part == "search" for t in r.trials if was_scored(t)})


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def _notes(config: PlanConfig) -> list[str]:
    notes = []
    if config.pruner.method != "off":
        notes.append(f"Not counted: what pruner={config.pruner.method} saves by ending trainings early.")
    if config.score.propose != "none":
        notes.append(f"Not counted: the first search by score.propose={config.score.propose}.")
    return notes
