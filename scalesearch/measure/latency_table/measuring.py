"""Filling the table: every block of a search space, a few rounds each, and then the factor to whole networks.

Each round passes once over all that is measured, in an order of its own, so that a minute in which the machine is busy
does not fall on a few blocks alone; of a block's rounds the least disturbed counts.
"""

from __future__ import annotations

import platform
import random
import statistics
import time
from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from scalesearch.arch.space import SearchSpace
from scalesearch.arch.spec import ArchSpec
from scalesearch.errors import ConfigError
from scalesearch.measure.latency_table.blocks import time_block, time_network
from scalesearch.measure.latency_table.keys import BlockKey, table_keys
from scalesearch.measure.latency_table.table import Conditions, LatencyTable, Reading
from scalesearch.measure.probe import check_counts

OnEntry = Callable[[str, int, int], None]  # what is measured, readings there are, readings there will be
CALIBRATION_NETWORKS = 12
SAVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Timers:
    """What takes the times; a test gives functions of its own.

    Attributes:
        block: Takes one reading of a block.
        network: Takes one reading of a whole network.
    """

    block: Callable[[BlockKey], Reading]
    network: Callable[[ArchSpec], Reading]

    @classmethod
    def of(cls, conditions: Conditions, repeats: int, warmup: int) -> Timers:
        """Return the real ones."""
        return cls(
            partial(time_block, conditions=conditions, repeats=repeats, warmup=warmup),
            partial(time_network, conditions=conditions, repeats=repeats, warmup=warmup),
        )


def measure_latency_table(
    space: SearchSpace,
    conditions: Conditions,
    *,
    repeats: int = 20,
    warmup: int = 3,
    rounds: int = 3,
    seed: int = 0,
    existing: LatencyTable | None = None,
    path: Path | None = None,
    on_entry: OnEntry | None = None,
    timers: Timers | None = None,
) -> LatencyTable:
    """Measure every block that some network of the space contains, and fit the factor to whole networks.

    Args:
        space: The space; its image size, or sizes, are those measured.
        conditions: Under what; see ``describe_conditions``.
        repeats: Timed passes of a block in one round.
        warmup: Passes before them that are not timed.
        rounds: Rounds over all blocks.
        seed: Of the order within a round, and of the networks the factor is fitted on.
        existing: A table to complete: what it has is not measured again.
        path: File the table is written to every 10 seconds, at the end, and when the measuring is interrupted.
        on_entry: Told after every reading.
        timers: What takes the times.

    Raises:
        ConfigError: A count is too small, or ``existing`` was measured under other conditions.
    """
    check_counts(repeats=repeats, rounds=rounds)
    timers = timers or Timers.of(conditions, repeats, warmup)
    table = existing or LatencyTable(conditions, {})
    check_conditions(table, conditions)
    readings = dict(table.readings)
    todo = _missing_rounds(table_keys(space), readings, rounds, seed)
    if todo:
        table = replace(table, readings=readings, scale=1.0, fitted_on=())
        _measure_blocks(todo, table, readings, timers, path, on_entry)
        table = replace(table, measured=_now())
    if not table.fitted_on:
        archs = draw_networks(space, CALIBRATION_NETWORKS, f"calibration {seed}")
        table = calibrate(table, archs, timers=timers, rounds=rounds, on_entry=on_entry)
    if path is not None:
        table.save(path)
    return table


def describe_conditions(
    space: SearchSpace, *, num_classes: int, batch_size: int = 1, num_threads: int = 1, device: str = "cpu"
) -> Conditions:
    """Return the conditions of a measuring on this machine.

    Raises:
        ConfigError: A count is below 1.
    """
    check_counts(num_classes=num_classes, batch_size=batch_size, num_threads=num_threads)
    return Conditions(space.name, device, _device_name(device), torch.__version__, num_threads, batch_size, num_classes)


def check_conditions(table: LatencyTable, conditions: Conditions) -> None:
    """Refuse a table that was measured under other conditions.

    Raises:
        ConfigError: One differs; the sentence says which.
    """
    for name in Conditions.__slots__:
        had, has = getattr(table.conditions, name), getattr(conditions, name)
        if had != has:
            raise ConfigError(f"{name} must be {had!r}, as the latency table was measured, got {has!r}")


def calibrate(
    table: LatencyTable,
    archs: Sequence[ArchSpec],
    *,
    timers: Timers,
    rounds: int = 3,
    on_entry: OnEntry | None = None,
) -> LatencyTable:
    """Return the table with the factor from the sum of blocks to whole networks, fitted on some of them.

    One factor, and no offset or term for each block besides: measured on one CPU thread (mbconv_small, batch 1), those
    lowered the error on other networks no further. It is the median over the networks, so that a few disturbed
    readings do not move it.
    """
    unscaled = replace(table, scale=1.0, fitted_on=())
    measured = measure_networks(archs, timers=timers, rounds=rounds, what="networks to fit", on_entry=on_entry)
    ratios = [min(times) / unscaled.predict_ms(arch) for arch, times in zip(archs, measured, strict=True)]
    return replace(unscaled, scale=statistics.median(ratios), fitted_on=tuple(arch.arch_id for arch in archs))


def measure_networks(
    archs: Sequence[ArchSpec], *, timers: Timers, rounds: int, what: str, on_entry: OnEntry | None = None
) -> list[list[float]]:
    """Return the median milliseconds of each network in each round; a round passes over all networks."""
    times: list[list[float]] = [[] for _ in archs]
    for turn in range(rounds):
        for index, arch in enumerate(archs):
            times[index].append(timers.network(arch).p50_ms)
            if on_entry is not None:
                on_entry(what, turn * len(archs) + index + 1, rounds * len(archs))
    return times


def draw_networks(space: SearchSpace, number: int, seed: str, exclude: Collection[str] = ()) -> list[ArchSpec]:
    """Draw different random networks; fewer than ``number`` where the space has not so many.

    Args:
        space: The space.
        number: Of networks.
        seed: Of the draws.
        exclude: Each ``arch_id`` that must not be drawn.
    """
    rng, archs = random.Random(seed), dict[str, ArchSpec]()
    for _ in range(100 * number):  # bounded: a small space may not have so many
        if len(archs) == number:
            break
        arch = space.sample(rng)
        if arch.arch_id not in exclude:
            archs[arch.arch_id] = arch
    return list(archs.values())


def _missing_rounds(
    keys: Sequence[BlockKey], readings: MutableMapping[BlockKey, Reading], rounds: int, seed: int
) -> list[BlockKey]:
    """Return the blocks to measure, round after round, each round in an order of its own."""
    todo: list[BlockKey] = []
    for turn in range(rounds):
        lacking = [key for key in keys if key not in readings or readings[key].rounds <= turn]
        todo += random.Random(f"{seed} {turn}").sample(lacking, len(lacking))
    return todo


def _measure_blocks(
    todo: Sequence[BlockKey],
    table: LatencyTable,
    readings: MutableMapping[BlockKey, Reading],
    timers: Timers,
    path: Path | None,
    on_entry: OnEntry | None,
) -> None:
    """Add a reading for each of ``todo`` to ``readings``, which are the table's, and write the file now and then."""
    saved = time.monotonic()
    try:
        for done, key in enumerate(todo, start=1):
            reading = timers.block(key)
            readings[key] = readings[key].join(reading) if key in readings else reading
            if on_entry is not None:
                on_entry("blocks", done, len(todo))
            if path is not None and time.monotonic() - saved > SAVE_SECONDS:
                replace(table, measured=_now()).save(path)
                saved = time.monotonic()
    finally:  # Ctrl-C, too
        if path is not None:
            replace(table, measured=_now()).save(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return next(_cpu_models(Path("/proc/cpuinfo")), platform.processor() or platform.machine())


def _cpu_models(path: Path) -> Iterator[str]:
    """Yield what Linux calls its processors; nothing elsewhere."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                yield value.strip()
