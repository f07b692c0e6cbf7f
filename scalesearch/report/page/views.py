"""Every pair of axes that a study has measured: fronts, hypervolumes, and how these grew from trial to trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pandas as pd

from scalesearch.arch import network_cost, published_arch
from scalesearch.arch.published import EFFICIENTNETS
from scalesearch.errors import StudyError
from scalesearch.report.analysis import frontier_info
from scalesearch.report.info import CostName, FrontierInfo, ScoreName
from scalesearch.report.page.networks import COSTS, SCORES
from scalesearch.report.page.payload import Landmark, Pair, Series, View, number
from scalesearch.report.pareto import hypervolume_history

References = Mapping[tuple[str, str], Pair]
"""The corner of the hypervolumes, by cost and score."""


def measure_views(
    trials: pd.DataFrame, budget: Mapping[str, Any], references: References | None = None
) -> list[FrontierInfo]:
    """Return the frontier over every cost and score that at least one network has.

    Args:
        trials: Of the parts that train.
        budget: Limits of the search by name, infinite or missing where there is none.
        references: Corners common to several studies; by default each pair's own.
    """
    infos = []
    for score in SCORES:
        for cost in COSTS:
            if not {cost, score} <= set(trials.columns) or trials[cost].isna().all() or trials[score].isna().all():
                continue
            limit = number(budget.get(cost)) or math.inf
            corner = (references or {}).get((cost, score))
            try:
                found = frontier_info(
                    trials, cost=cast(CostName, cost), score=cast(ScoreName, score), budget=limit, reference=corner
                )
            except StudyError:  # none has both
                continue
            infos.append(found)
    return infos


def describe_view(info: FrontierInfo, trials: pd.DataFrame) -> View:
    """Return what the page needs of a frontier beside its networks."""
    return View(
        cost=info.cost_name,
        score=info.score_name,
        budget=number(info.budget),
        reference=info.reference,
        series=[
            Series(
                name=series.name,
                num_networks=series.num_networks,
                num_left_out=series.num_left_out,
                front=[f"{series.name}:{point.arch_id}" for point in info.front(series.name)],
                hypervolume=series.hypervolume,
                history=_history(info, trials[trials.part == series.name]),
            )
            for series in info.series
            if series.num_networks
        ],
    )


def common_references(infos: Iterable[FrontierInfo]) -> dict[tuple[str, str], Pair]:
    """Return the corners over which the hypervolumes of several studies compare."""
    corners: dict[tuple[str, str], Pair] = {}
    for info in infos:
        cost, score = corners.get((info.cost_name, info.score_name), info.reference)
        corners[info.cost_name, info.score_name] = max(cost, info.reference[0]), min(score, info.reference[1])
    return corners


def list_landmarks() -> list[Landmark]:
    """Return what the released EfficientNets cost at their own image sizes, with 1000 classes."""
    return [Landmark(name=name, costs=network_cost(published_arch(name))._asdict()) for name in EFFICIENTNETS]


def _history(info: FrontierInfo, trials: pd.DataFrame) -> list[Pair]:
    """Return (trial number, hypervolume) wherever the hypervolume of the trials so far grew, and at the last trial."""
    complete = trials[trials.state == "COMPLETE"].sort_values("number")
    complete = complete[complete[[info.cost_name, info.score_name]].notna().all(axis=1)]
    if complete.empty:
        return []
    numbers = complete.number.tolist()
    grown = hypervolume_history(complete[info.cost_name], complete[info.score_name], *info.reference)
    history = [(float(numbers[index]), volume) for index, volume in grown]
    return [*history, (float(trials.number.max()), history[-1][1])] if history else []
