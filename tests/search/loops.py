"""Searches on a formula with a known optimum, for the tests of the loop."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
from scalesearch.search import SearchConfig, SearchResult, run_search
from scalesearch.study.executors import Executor
from scalesearch.study.store import Record, load_records
from tests.study.stand_ins import FormulaExecutor, settings

NUM_CLASSES = 11

WIDE = {  # 1,728 networks
    "image_size": 16,
    "stem_channels": 8,
    "head_channels": 32,
    "stages": [
        {"block": "ir", "kernel_size": [3, 5, 7], "stride": 2, "expand_ratio": 2, "out_channels": [8, 16, 24, 32],
         "num_blocks": [1, 2]},
        {"block": "er", "kernel_size": [3, 5, 7], "stride": 1, "expand_ratio": 2, "out_channels": [8, 16, 24, 32],
         "num_blocks": [1, 2, 3], "se_ratio": [0, 0.25]},
    ],
}  # fmt: skip
NARROW = {  # six points, four networks: the expansion of a depthwise block changes nothing
    "image_size": 16,
    "stem_channels": 8,
    "head_channels": 16,
    "stages": [{"block": ["ds"], "kernel_size": 3, "stride": 2, "expand_ratio": [1, 2], "out_channels": [8, 16, 24]}],
}


class FormulaSearch(SearchConfig):
    """A search whose candidates are scored by an executor that is handed in."""

    __slots__ = ("used",)

    def open_executor(self, data: object) -> Executor:
        return self.used


def search(folder: Path, executor: FormulaExecutor | None = None, *, space: Any = WIDE, **changes: Any) -> SearchResult:
    return run_search(new_config(folder, executor, space=space, **changes))


def new_config(
    folder: Path, executor: FormulaExecutor | None = None, *, space: Any = WIDE, **changes: Any
) -> FormulaSearch:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(space), encoding="utf-8")
    config = FormulaSearch(**settings(folder, space=str(path), **changes))
    config.used = executor or FormulaExecutor()
    return config


def read_trials(folder: Path) -> pd.DataFrame:
    (record,) = load_records(f"sqlite:///{folder}/mine/study.db", "mine")
    return record.frame()


def read_record(folder: Path) -> Record:
    return load_records(f"sqlite:///{folder}/mine/study.db", "mine")[0]


def proposals(folder: Path) -> list[tuple[dict[str, Any], list[float] | None]]:
    """Return the parameters and values of each trial."""
    return [(trial.params, trial.values) for trial in read_record(folder).trials]


def all_archs(content: Any) -> list[ArchSpec]:
    space = SearchSpace.from_dict("all", content)
    points = itertools.product(*space.parameters.values())
    return [space.decode(dict(zip(space.parameters, point, strict=True))) for point in points]


def macs_of(arch: ArchSpec) -> int:
    return network_cost(arch, num_classes=NUM_CLASSES).macs


MEDIAN_MACS = statistics.median(macs_of(arch) for arch in all_archs(WIDE))
