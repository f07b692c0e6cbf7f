"""The whole errand: measure or complete a table, write it, and say how far it is from whole networks.

The schema of ``scalesearch latency-table`` on the command line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from scalesearch.arch.space import SearchSpace
from scalesearch.errors import ConfigError
from scalesearch.measure.latency_table.error import LatencyErrorInfo, evaluate_latency_table
from scalesearch.measure.latency_table.keys import table_keys
from scalesearch.measure.latency_table.measuring import (
    OnEntry,
    Timers,
    describe_conditions,
    draw_networks,
    measure_latency_table,
)
from scalesearch.measure.latency_table.table import LatencyTable


@dataclass(kw_only=True, slots=True)
class LatencyTableConfig:
    """What is measured and where it is written.

    Attributes:
        space: A search space's name, or the path of its file.
        image_size: Pixels a side; the space's own where it is not given.
        num_classes: Outputs of the classifier.
        batch_size: Images a pass.
        threads: Of the processor.
        device: ``cpu`` or ``cuda``.
        repeats: Timed passes of a block, or a network, in one round.
        rounds: Rounds over all of them; the least disturbed one counts.
        networks: Random networks on which the table's error is measured; 0 measures none.
        path: File to write, or to complete where it is there; ``latency-<space>-<device>.json`` where it is not given.
        seed: Of the networks.
    """

    space: str = "mbconv_small"
    image_size: int | None = None
    num_classes: int = 1000
    batch_size: int = 1
    threads: int = 1
    device: str = "cpu"
    repeats: int = 20
    rounds: int = 3
    networks: int = 50
    path: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_classes", "batch_size", "threads", "repeats", "rounds"):
            _check_least(name, getattr(self, name), 1)
        if self.image_size is not None:
            _check_least("image_size", self.image_size, 1)
        if self.networks != 0:
            _check_least("networks, where it is not 0,", self.networks, 2)
        _check_device(self.device)

    def load_space(self) -> SearchSpace:
        """Read the space, at the image size that is asked for.

        Raises:
            SpaceError: There is no such space, or its file has a mistake.
        """
        space = SearchSpace.load(self.space)
        return space.at_image_size(self.image_size) if self.image_size is not None else space

    def file(self) -> Path:
        """Return the file to write."""
        device = self.device.replace(":", "")
        return Path(self.path or f"latency-{Path(self.space).stem}-{device}.json")


@dataclass(frozen=True, slots=True)
class LatencyTableResult:
    """What came of it.

    Attributes:
        table: The table.
        path: Where it was written.
        entries: Different blocks of the space.
        entries_before: How many of them, fully measured, the file held already.
        measure_seconds: Seconds the blocks and the networks for the factor took; 0 or nearly so for a complete file.
        error: Over ``networks`` networks; absent where none were asked for.
    """

    table: LatencyTable
    path: Path
    entries: int
    entries_before: int
    measure_seconds: float
    error: LatencyErrorInfo | None


def run_latency_table(
    config: LatencyTableConfig, *, on_entry: OnEntry | None = None, timers: Timers | None = None
) -> LatencyTableResult:
    """Measure a table, or complete the one that the file holds, and then its error on whole networks.

    Args:
        config: What is measured and where it is written.
        on_entry: Told after every reading: what is measured, readings there are, readings there will be.
        timers: What takes the times.

    Raises:
        SpaceError: There is no such space.
        ConfigError: The file holds something else, or a table that was measured under other conditions.
    """
    space, path = config.load_space(), config.file()
    existing = LatencyTable.load(path) if path.exists() else None
    start = time.monotonic()
    try:
        table = _measure(config, space, existing, on_entry, timers)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    seconds = time.monotonic() - start
    keys, before = table_keys(space), existing.readings if existing else {}
    had = sum(key in before and before[key].rounds >= config.rounds for key in keys)
    error_info = _evaluate(config, space, table, on_entry, timers) if config.networks else None
    return LatencyTableResult(table, path, len(keys), had, seconds, error_info)


def _measure(
    config: LatencyTableConfig,
    space: SearchSpace,
    existing: LatencyTable | None,
    on_entry: OnEntry | None,
    timers: Timers | None,
) -> LatencyTable:
    return measure_latency_table(
        space,
        describe_conditions(
            space,
            num_classes=config.num_classes,
            batch_size=config.batch_size,
            num_threads=config.threads,
            device=config.device,
        ),
        repeats=config.repeats,
        rounds=config.rounds,
        seed=config.seed,
        existing=existing,
        path=config.file(),
        on_entry=on_entry,
        timers=timers,
    )


def _evaluate(
    config: LatencyTableConfig,
    space: SearchSpace,
    table: LatencyTable,
    on_entry: OnEntry | None,
    timers: Timers | None,
) -> LatencyErrorInfo:
    archs = draw_networks(space, config.networks, f"evaluation {config.seed}", exclude=table.fitted_on)
    return evaluate_latency_table(
        table, archs, repeats=config.repeats, rounds=config.rounds, on_entry=on_entry, timers=timers
    )


def _check_least(name: str, value: int, least: int) -> None:
    if not value >= least:
        raise ConfigError(f"{name} must be at least {least}, got {value}")


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        allowed = "cpu or cuda" if torch.cuda.is_available() else "cpu (there is no CUDA device here)"
        raise ConfigError(f"device must be {allowed}, got {device!r}")
