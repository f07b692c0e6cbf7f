"""The three files of known results that are read, told apart by what is in them.

NAS-Bench-Macro (Su et al. 2021, arXiv 2103.11922): JSON, a key of one digit a layer, three trainings on CIFAR-10.
Keys that differ only in where an identity stands within a stage are one network, trained under each key. Of these the
first key is taken and not their mean, so that every network has the noise of one training.

Accel-NASBench (Ahmad et al. 2024, arXiv 2404.08005): CSV, four columns a block, one training on ImageNet; the few
networks that occur in several rows have several.

``trials.csv`` of a scalesearch study: the COMPLETE trials of its search, so that a finished study can be searched
again. Trials of other parts are left out, for they may have been trained longer.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scalesearch.arch import ArchSpec, SearchSpace, StageSpec, network_cost
from scalesearch.errors import ConfigError, ScalesearchError, shown
from scalesearch.measure.scores.table.trials import TRIAL_COLUMNS, read_trials

Runs = Mapping[ArchSpec, tuple[float, ...]]

_MACRO_CLASSES, _ACCEL_CLASSES = 10, 1000
_FORMATS = (
    "NAS-Bench-Macro's JSON (keys of digits, each with test_acc), Accel-NASBench's CSV (columns block0_e, block0_k,"
    " block0_l, block0_se, ... and val_top1) or a study's trials.csv (columns arch_id, seed, state, val_top1, ...)"
)
_MOST_BYTES = 2**28  # the largest of the three, Accel-NASBench's, has a thousandth of it
# Rows whose published costs are compared with ours: a table of another space differs in the first few.
_COMPARED = 20


@dataclass(frozen=True, slots=True)
class KnownResults:
    """What a file says: top-1 accuracies in [0, 1] of each network, one a training."""

    num_classes: int
    runs: Runs


def read_results(content: bytes, space: SearchSpace) -> KnownResults:
    """Read one of the three formats.

    Raises:
        ConfigError: The file is none of them, or does not fit the space.
    """
    text = _decode(content)
    try:
        found = _read_text(text, space)
    except (ValueError, OverflowError) as error:
        if isinstance(error, ScalesearchError):
            raise
        raise ConfigError(
            f"a table's cells must be finite numbers where it has numbers ({shown(str(error))})"
        ) from None
    wrong = next((value for runs in found.runs.values() for value in runs if not 0 <= value <= 1), None)
    if wrong is not None:
        raise ConfigError(f"an accuracy must lie within 0 and 100 %, got {100 * wrong:g} %")
    return found


def _read_text(text: str, space: SearchSpace) -> KnownResults:
    header = set(text[: text.find("\n")].strip().split(","))
    if text.lstrip().startswith("{"):
        return KnownResults(_MACRO_CLASSES, _read_macro(_parse_macro(text), space))
    if {"block0_e", "val_top1"} <= header:
        return KnownResults(_ACCEL_CLASSES, _read_accel(_parse_csv(text), space))
    if set(TRIAL_COLUMNS) <= header:
        # all as text: pandas would write a whole number beside an empty cell as 16.0
        return KnownResults(*read_trials(_parse_csv(text, as_text=True), space))
    raise _unknown(text)


def _decode(content: bytes) -> str:
    try:
        return (_unpack(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8")
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError):
        raise _unknown(repr(content[:20])) from None


def _unpack(content: bytes) -> bytes:
    """Return what gzip packed, unless it is a bomb: a file of a megabyte may unpack to a gigabyte."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(_MOST_BYTES + 1)
    if len(unpacked) > _MOST_BYTES:
        raise ConfigError(f"a table must unpack to at most {_MOST_BYTES:,} bytes, got more")
    return unpacked


def _unknown(text: str) -> ConfigError:
    return ConfigError(f"a table must be {_FORMATS}; got a file that begins with {text[:60]!r}")


def _parse_csv(text: str, *, as_text: bool = False) -> pd.DataFrame:
    try:
        if as_text:
            return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        return pd.read_csv(io.StringIO(text))
    except (ValueError, OverflowError) as error:  # pandas' ParserError among them
        reason = " ".join(str(error).split())
        raise ConfigError(f"a table must have as many cells in each row as columns ({reason})") from None


def _parse_macro(text: str) -> dict[str, dict[str, Any]]:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        raise _unknown(text) from None
    rows = all(isinstance(row, dict) and isinstance(row.get("test_acc"), list) for row in table.values())
    if (
        not table
        or not rows
        or not all(row["test_acc"] and all(map(_is_number, row["test_acc"])) for row in table.values())
    ):
        raise _unknown(text)
    return dict(sorted(table.items()))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def _read_macro(table: Mapping[str, Mapping[str, Any]], space: SearchSpace) -> Runs:
    options, network = space.stage_options(), _network_setting(space)
    runs: dict[ArchSpec, tuple[float, ...]] = {}
    for index, (key, row) in enumerate(table.items()):
        if len(key) != len(options) or not all(d in "0123456789"[: len(o)] for d, o in zip(key, options, strict=True)):
            counts = ", ".join(str(len(option)) for option in options)
            raise _misfit(
                space, f"a key chooses one option of each stage, which has {counts} of them; got key {shown(key)}"
            )
        chosen = (option[int(digit)] for option, digit in zip(options, key, strict=True))
        arch = ArchSpec(tuple(stage for stage in chosen if stage), **network)
        if index < _COMPARED and {"params", "flops"} <= row.keys():
            cost = network_cost(arch, num_classes=_MACRO_CLASSES)
            _compare(space, f"key {key!r}", (cost.params, cost.macs), (row["params"], row["flops"]))
        runs.setdefault(arch, tuple(accuracy / 100 for accuracy in row["test_acc"]))
    return runs


def _read_accel(frame: pd.DataFrame, space: SearchSpace) -> Runs:
    options, network = _accel_options(space), _network_setting(space)
    columns = [f"block{index}_{code}" for index in range(len(options)) for code in ("e", "k", "l", "se")]
    missing = [name for name in columns if name not in frame.columns]
    if missing or f"block{len(options)}_e" in frame.columns:
        raise _misfit(space, f"a table of it has the columns {columns[0]} to {columns[-1]}")
    frame = frame[frame["val_top1"].notna()]
    runs: dict[ArchSpec, tuple[float, ...]] = {}
    for index, values in enumerate(frame[columns].to_numpy().tolist()):
        row = frame.iloc[index] if index < _COMPARED else None
        arch = ArchSpec(tuple(_accel_stages(space, options, values, index)), **network)
        if row is not None and {"params_m", "macs_m"} <= set(frame.columns):
            cost = network_cost(arch, num_classes=_ACCEL_CLASSES)
            # the benchmark's macs also count BatchNorm, activations and pooling (search_spaces/accel_nasbench.yaml)
            ours = (cost.params, cost.macs + 4 * cost.acts + 64_000)
            _compare(space, f"row {index}", ours, (round(row["params_m"] * 1e6), round(row["macs_m"] * 1e6)))
        runs[arch] = (*runs.get(arch, ()), float(frame["val_top1"].iloc[index]) / 100)
    return runs


def _accel_options(space: SearchSpace) -> list[dict[tuple[Any, ...], StageSpec]]:
    """Return each stage's options by (expansion, kernel, layers, whether it squeezes)."""
    found = []
    for index, stage in enumerate(space.stage_options()):
        keyed = {(o.expand_ratio, o.kernel_size, o.num_blocks, o.se_ratio > 0): o for o in stage if o is not None}
        if len(keyed) < len(stage):
            raise _misfit(space, f"stage {index} has choices besides e, k, l and se")
        found.append(keyed)
    return found


def _accel_stages(
    space: SearchSpace, options: Sequence[Mapping[tuple[Any, ...], StageSpec]], values: Sequence[Any], row: int
) -> list[StageSpec]:
    stages = []
    for index, option in enumerate(options):
        chosen = tuple(values[4 * index : 4 * index + 4])
        if chosen not in option:
            e, k, l, se = chosen  # noqa: E741 - the file's own names
            raise _misfit(space, f"stage {index} has no choice e={e}, k={k}, l={l}, se={se}, as in row {row}")
        stages.append(option[chosen])
    return stages


def _network_setting(space: SearchSpace) -> dict[str, Any]:
    settings = list(space.network_settings())
    if len(settings) > 1:
        names = [name for name, choices in space.network.items() if len(choices) > 1]
        raise _misfit(space, f"the table says nothing of {', '.join(names)}, which the space chooses")
    return settings[0]


def _compare(space: SearchSpace, where: str, ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    if ours != theirs:
        raise _misfit(
            space,
            f"{where} has {theirs[0]:,} params and {theirs[1]:,} macs, the space's network {ours[0]:,} and {ours[1]:,}",
        )


def _misfit(space: SearchSpace, reason: str) -> ConfigError:
    return ConfigError(f"the table does not fit search space {space.name}: {reason}")
