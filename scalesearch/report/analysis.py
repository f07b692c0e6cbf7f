"""What a table of trials says: the front of every series, its hypervolume, the scaling candidates with their noise.

Pure functions from a trials table to the frozen values of ``info``. Costs are minimised and scores maximised. Several
COMPLETE rows of one part, ``arch_id`` and ``image_size`` with other seeds are one network: its score is the mean over
seeds, with the standard error of that mean. A seed that occurs twice counts once: it would repeat the same run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scalesearch.errors import StudyError
from scalesearch.report.info import (
    CostName,
    FrontierInfo,
    FrontierPoint,
    ScalingCandidate,
    ScalingInfo,
    ScoreName,
    SeriesInfo,
)
from scalesearch.report.pareto import hypervolume, mean_and_se, pareto_front
from scalesearch.scaling.racing import indistinguishable

__all__ = [
    "CostName",
    "FrontierInfo",
    "FrontierPoint",
    "ScalingCandidate",
    "ScalingInfo",
    "ScoreName",
    "SeriesInfo",
    "choice_table",
    "frontier_info",
    "hypervolume",
    "mean_and_se",
    "pareto_front",
    "scaling_info",
]

_COST_WORDS = {"latency_ms": "latency", "peak_memory_mib": "peak memory"}

SERIES_ORDER = ("search", "scale", "family")  # in the order of the work; any other series follows by name


def _complete_trials(trials: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the COMPLETE rows in rising macs, each seed of a network once.

    Raises:
        StudyError: The table lacks one of ``columns`` or of those that name a network, or holds no complete trial.
    """
    network = ["part", "arch_id", "image_size", "seed"]
    needed = dict.fromkeys(["state", "number", "macs", *network, *columns])
    missing = [name for name in needed if name not in trials.columns]
    if missing:
        raise StudyError(f"the trials table lacks the columns {', '.join(missing)}; it has {', '.join(trials.columns)}")
    complete = trials[trials["state"] == "COMPLETE"].sort_values(["macs", "number"]).drop_duplicates(network)
    if complete.empty:
        states = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items()) or "no trials"
        raise StudyError(f"nothing to analyse: the trials table needs at least one COMPLETE trial, got {states}")
    return complete


def frontier_info(
    trials: pd.DataFrame,
    *,
    cost: CostName = "macs",
    score: ScoreName = "val_top1",
    budget: float = math.inf,
    title: str = "",
    reference: tuple[float, float] | None = None,
) -> FrontierInfo:
    """Return every series' networks, the front of each series apart, and the hypervolumes over one reference.

    A front chosen by a score is optimistic in that score: the best of many noisy values is partly luck, the more so
    with one seed a network. So the front of a search by ``val_top1`` is a shortlist; what its networks are worth is
    known after they are retrained (``test_top1``, several seeds). Networks without a finite cost or score are left out
    and counted.

    Args:
        trials: One row a trial.
        cost: The column on the cost axis.
        score: The column on the score axis, a fraction in [0, 1].
        budget: In the unit of ``cost``; recorded, never a filter. Infinite where there is none.
        title: What the picture shows; empty for a plain description.
        reference: The (cost, score) corner of the hypervolumes; by default the budget, or without one the highest
            cost of all points, and their lowest score. Pass that of another study to compare with it.

    Raises:
        StudyError: A column is missing, no trial is complete, or no complete trial has both cost and score.
    """
    complete = _complete_trials(trials, (cost, score, "label"))
    everything = {name: _networks(complete[complete["part"] == name], cost, score) for name in _series_names(complete)}
    measured = {name: _mark_front([p for p in points if _measured(p)]) for name, points in everything.items()}
    points = tuple(point for name in measured for point in measured[name])
    if not points:
        raise StudyError(
            f"no complete trial has both {cost} and {score}: {len(complete)} complete trials, none measured"
        )
    highest_cost = budget if math.isfinite(budget) else max(point.cost for point in points)
    corner = reference or (highest_cost, min(point.score for point in points))
    return FrontierInfo(
        points=points,
        series=tuple(_series_info(name, len(everything[name]), measured[name], corner) for name in measured),
        cost_name=cost,
        score_name=score,
        budget=budget,
        reference=corner,
        hypervolume=_volume(points, corner),
        title=title or f"Top-1 against {_COST_WORDS.get(cost, cost)}, every network of the study",
        **_count_others(trials),
    )


def _count_others(trials: pd.DataFrame) -> dict[str, int]:
    """Return how many trials have ended as anything but COMPLETE."""
    counts = trials["state"].value_counts()
    return {f"num_{state}": int(counts.get(state.upper(), 0)) for state in ("infeasible", "failed", "pruned")}


def _series_names(complete: pd.DataFrame) -> list[str]:
    names = {str(name) for name in complete["part"]}
    return [name for name in SERIES_ORDER if name in names] + sorted(names - set(SERIES_ORDER))


def _group_networks(complete: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield ``arch_id`` and the rows (one a seed) of every network of one part, in the order of the table."""
    for key, rows in complete.groupby(["arch_id", "image_size"], sort=False):
        yield str(key[0]), rows


def _networks(complete: pd.DataFrame, cost: str, score: str) -> list[FrontierPoint]:
    """Return a point a network of one part: plain Python, since pandas takes seconds for thousands of groups."""
    groups: dict[tuple[object, object], list[int]] = {}
    for row, key in enumerate(zip(complete["arch_id"], complete["image_size"], strict=True)):
        groups.setdefault(key, []).append(row)
    costs, scores, labels = complete[cost].tolist(), complete[score].tolist(), complete["label"].tolist()
    part, points = str(complete["part"].iloc[0]), []
    for (arch_id, _), rows in groups.items():
        measured = [float(scores[row]) for row in rows if _is_known(scores[row])]
        mean, error = mean_and_se(measured) if measured else (math.nan, math.nan)
        label = next((str(labels[row]) for row in rows if isinstance(labels[row], str) and labels[row]), "")
        known = [float(costs[row]) for row in rows if _is_known(costs[row])]
        mean_cost = mean_and_se(known)[0] if known else math.nan  # latency is read anew with every seed
        points.append(FrontierPoint(label, part, mean_cost, mean, error, len(measured), str(arch_id)))
    return points


def _is_known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _measured(point: FrontierPoint) -> bool:
    return math.isfinite(point.cost) and math.isfinite(point.score)


def _mark_front(points: list[FrontierPoint]) -> list[FrontierPoint]:
    front = set(pareto_front([p.cost for p in points], [p.score for p in points]).tolist())
    return [replace(point, on_front=index in front) for index, point in enumerate(points)]


def _series_info(name: str, num_all: int, points: list[FrontierPoint], corner: tuple[float, float]) -> SeriesInfo:
    seeds = [point.num_seeds for point in points] or [0]
    return SeriesInfo(name, len(points), num_all - len(points), min(seeds), max(seeds), _volume(points, corner))


def _volume(points: Sequence[FrontierPoint], corner: tuple[float, float]) -> float:
    return hypervolume([p.cost for p in points], [p.score for p in points], *corner)


def scaling_info(trials: pd.DataFrame, *, score: ScoreName = "val_top1", title: str = "") -> ScalingInfo:
    """Return the scaling candidates, those with the most seeds first, then by mean, and which the seeds cannot part.

    A candidate is within noise when ``indistinguishable`` of ``scaling.racing`` does not tell it from the best measured
    one: paired over seeds, the noise pooled over all candidates, at 95 %. With one seed each every candidate is.

    Args:
        trials: The trials of the grid search, with its columns ``alpha``, ``beta``, ``gamma``, ``product`` and
            ``realised_ratio``.
        score: The column to rank by, a fraction in [0, 1].
        title: What the picture shows; empty for a plain description.

    Raises:
        StudyError: A column is missing, no trial is complete, or no complete trial has the score.
    """
    complete = _complete_trials(trials, (score, "alpha", "beta", "gamma", "product", "realised_ratio"))
    measured = complete[complete[score].notna()]
    if measured.empty:
        raise StudyError(f"no complete trial has {score}: {len(complete)} complete trials, none measured")
    networks = list(_group_networks(measured))
    seed_sd = _pooled_sd([rows[score].to_numpy(dtype=float) for _, rows in networks])
    candidates = [_candidate(arch_id, rows, score) for arch_id, rows in networks]
    untold = indistinguishable(measured.pivot_table(index=["arch_id", "image_size"], columns="seed", values=score))
    return ScalingInfo(
        candidates=tuple(
            replace(candidate, within_noise=(candidate.arch_id, candidate.image_size) in untold)
            # one that was dropped early is not put first by the luck of few seeds
            for candidate in sorted(candidates, key=lambda each: (-each.num_seeds, -each.score))
        ),
        score_name=score,
        seed_sd=seed_sd,
        title=title or "Scaling candidates by mean top-1",
    )


def choice_table(info: ScalingInfo) -> pd.DataFrame:
    """Return the candidates as a table, one row each and best first, for a csv or a report."""
    return pd.DataFrame([asdict(candidate) for candidate in info.candidates])


def _candidate(arch_id: str, rows: pd.DataFrame, score: str) -> ScalingCandidate:
    first, (mean, error) = rows.iloc[0], mean_and_se(rows[score])
    return ScalingCandidate(
        alpha=float(first["alpha"]),
        beta=float(first["beta"]),
        gamma=float(first["gamma"]),
        product=float(first["product"]),
        realised_ratio=float(first["realised_ratio"]),
        arch_id=arch_id,
        image_size=int(first["image_size"]),
        score=mean,
        standard_error=error,
        num_seeds=len(rows),
    )


def _pooled_sd(groups: Sequence[NDArray[np.float64]]) -> float:
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return math.nan
    return math.sqrt(sum(float(np.sum((group - group.mean()) ** 2)) for group in groups) / freedom)
