"""scalesearch: search a base network, grid-search its compound scaling, see what each unit of compute buys.

Names are imported when they are first used, so that architectures and their costs need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scalesearch.arch.budget import Budget as Budget
    from scalesearch.arch.cost import network_cost as network_cost
    from scalesearch.arch.published import published_arch as published_arch
    from scalesearch.arch.scaling import ScalingFactors as ScalingFactors
    from scalesearch.arch.scaling import scale_arch as scale_arch
    from scalesearch.arch.space import SearchSpace as SearchSpace
    from scalesearch.arch.spec import ArchSpec as ArchSpec
    from scalesearch.arch.spec import StageSpec as StageSpec
    from scalesearch.data import DataConfig as DataConfig
    from scalesearch.export.config import ExportConfig as ExportConfig
    from scalesearch.export.exporting import export_network as export_network
    from scalesearch.export.loading import load as load
    from scalesearch.measure.training import TrainConfig as TrainConfig
    from scalesearch.nn import build_network as build_network
    from scalesearch.report.study import Study as Study
    from scalesearch.scaling import FamilyConfig as FamilyConfig
    from scalesearch.scaling import ScaleConfig as ScaleConfig
    from scalesearch.scaling import run_family as run_family
    from scalesearch.scaling import run_scaling_grid as run_scaling_grid
    from scalesearch.search import SearchConfig as SearchConfig
    from scalesearch.search import run_search as run_search

_HOMES = {
    "ArchSpec": "arch",
    "Budget": "arch.budget",
    "DataConfig": "data",
    "ExportConfig": "export.config",
    "FamilyConfig": "scaling",
    "ScaleConfig": "scaling",
    "ScalingFactors": "arch",
    "SearchConfig": "search",
    "SearchSpace": "arch",
    "StageSpec": "arch",
    "Study": "report.study",
    "TrainConfig": "measure.training",
    "build_network": "nn",
    "export_network": "export.exporting",
    "load": "export.loading",
    "network_cost": "arch",
    "published_arch": "arch",
    "run_family": "scaling",
    "run_scaling_grid": "scaling",
    "run_search": "search",
    "scale_arch": "arch",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
