"""A finished study's ``trials.csv`` as a table of known results."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
from scalesearch.errors import ConfigError

TRIAL_COLUMNS = ("part", "number", "state", "arch_id", "seed", "params", "val_top1")

_Choice = str | int | float | bool


def read_trials(frame: pd.DataFrame, space: SearchSpace) -> tuple[int, dict[ArchSpec, tuple[float, ...]]]:
    """Return the number of classes and each network's accuracies, in the order of their seeds.

    Each network is built from its parameters and must have the ``arch_id`` that was recorded; the classes follow from
    its number of weights.

    Args:
        frame: The file, every cell as text.
        space: The space the study searched, at its image size.

    Raises:
        ConfigError: No trial of the search has an accuracy, or a trial is not a network of the space.
    """
    done = frame[(frame["part"] == "search") & (frame["state"] == "COMPLETE") & (frame["val_top1"] != "")]
    if done.empty:
        raise ConfigError(
            f"a study's table needs at least one COMPLETE trial of its search with val_top1, got {len(frame)} trials"
        )
    absent = [f"param.{name}" for name in space.parameters if f"param.{name}" not in frame.columns]
    if absent:
        raise ConfigError(f"the table does not fit search space {space.name}: it lacks the columns {', '.join(absent)}")
    by_seed: dict[ArchSpec, dict[int, float]] = {}
    classes = set()
    for _, row in done.iterrows():
        arch = _build(row, space)
        classes.add(_count_classes(row, arch))
        by_seed.setdefault(arch, {})[int(float(row["seed"]))] = float(row["val_top1"])
    if len(classes) > 1:
        raise ConfigError(f"the trials of one table must have one number of classes, got {sorted(classes)}")
    return classes.pop(), {arch: tuple(runs[seed] for seed in sorted(runs)) for arch, runs in by_seed.items()}


def _build(row: pd.Series, space: SearchSpace) -> ArchSpec:
    point = {name: _choose(row[f"param.{name}"], choices) for name, choices in space.parameters.items()}
    strange = [name for name, choice in point.items() if choice is None]
    if strange:
        raise ConfigError(
            f"the table does not fit search space {space.name}: trial {row['number']}: {strange[0]} must be one of"
            f" {list(space.parameters[strange[0]])}, got {row[f'param.{strange[0]}']!r}"
        )
    arch = space.decode(point)
    if arch.arch_id != row["arch_id"]:
        raise ConfigError(
            f"the table does not fit search space {space.name}: trial {row['number']} is the network {row['arch_id']},"
            f" the space's at {arch.image_size} px is {arch.arch_id}"
        )
    return arch


def _choose(text: str, choices: Sequence[_Choice]) -> _Choice | None:
    """Return the choice that was written as ``text``, perhaps as 16.0 for 16."""
    for choice in choices:
        if str(choice) == text:
            return choice
    try:
        number = float(text)
    except ValueError:
        return None
    return next((c for c in choices if not isinstance(c, (str, bool)) and c == number), None)


def _count_classes(row: pd.Series, arch: ArchSpec) -> int:
    others = network_cost(arch, num_classes=0).params
    classes, rest = divmod(int(float(row["params"])) - others, arch.head_channels + 1)
    if rest or classes < 1:
        raise ConfigError(
            f"trial {row['number']}: params must be those of the network {arch.arch_id}, got {row['params']}"
        )
    return classes
