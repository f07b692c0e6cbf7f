"""The numbers behind every figure: a two-dimensional Pareto front, its hypervolume, a mean with its standard error.

Costs are minimised and scores maximised throughout. Arrays in, arrays or floats out; no trials here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pareto_front(costs: ArrayLike, scores: ArrayLike) -> NDArray[np.intp]:
    """Return the indices of the points that no other dominates, in rising cost; O(n log n).

    Lower cost and higher score are better. Of equal points the first is kept.

    Raises:
        ValueError: The two differ in length, or hold NaN, which can neither dominate nor be dominated.

    Example:
        >>> pareto_front([3, 1, 2, 1], [0.9, 0.5, 0.4, 0.5]).tolist()
        [1, 0]
    """
    cost, score = np.asarray(costs, dtype=float), np.asarray(scores, dtype=float)
    if cost.ndim != 1 or cost.shape != score.shape:
        raise ValueError(f"costs and scores must be two lists of one length, got shapes {cost.shape} and {score.shape}")
    if np.isnan(cost).any() or np.isnan(score).any():
        raise ValueError("costs and scores must not hold NaN: leave out what was not measured")
    order = np.lexsort((-score, cost))  # stable, so equal points stay in the order they came
    best_cheaper = np.concatenate([[-math.inf], np.maximum.accumulate(score[order])])[:-1]
    return order[score[order] > best_cheaper]


def hypervolume(costs: ArrayLike, scores: ArrayLike, reference_cost: float, reference_score: float) -> float:
    """Return the exact area that the points dominate, bounded by the reference corner; costs count linearly.

    Points that do not beat the reference in both count nothing. Two values compare only over one reference.

    Example:
        >>> hypervolume([1, 2], [0.5, 0.75], reference_cost=4, reference_score=0.25)
        1.25
    """
    front = pareto_front(costs, scores)
    cost, score = np.asarray(costs, dtype=float)[front], np.asarray(scores, dtype=float)[front]
    inside = (cost < reference_cost) & (score > reference_score)
    widths = np.diff(np.append(cost[inside], reference_cost))
    return float(np.sum(widths * (score[inside] - reference_score)))


def hypervolume_history(
    costs: ArrayLike, scores: ArrayLike, reference_cost: float, reference_score: float
) -> list[tuple[int, float]]:
    """Return the hypervolume of the first so many points wherever it grew, as (index of the point, hypervolume).

    Raises:
        ValueError: As ``pareto_front``.

    Example:
        >>> hypervolume_history([2, 3, 1], [0.75, 0.5, 0.5], reference_cost=4, reference_score=0.25)
        [(0, 1.0), (2, 1.25)]
    """
    cost, score = np.asarray(costs, dtype=float), np.asarray(scores, dtype=float)
    pareto_front(cost, score)  # refuses what no front can be made of
    front: list[int] = []
    grown: list[tuple[int, float]] = []
    for index in range(len(cost)):
        if any(cost[other] <= cost[index] and score[other] >= score[index] for other in front):
            continue
        candidates = [*front, index]
        front = [candidates[place] for place in pareto_front(cost[candidates], score[candidates])]
        volume = hypervolume(cost[front], score[front], reference_cost, reference_score)
        if volume > (grown[-1][1] if grown else 0.0):
            grown.append((index, volume))
    return grown


def mean_and_se(values: ArrayLike) -> tuple[float, float]:
    """Return the mean and its standard error, ``sd / sqrt(n)`` with ``n - 1`` in the sd.

    With one value the standard error is NaN, not 0: one run says nothing about the spread, and 0 would claim certainty.

    Raises:
        ValueError: There is no value.
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        raise ValueError("a mean needs at least one value, got none")
    if array.size == 1:
        return float(array[0]), math.nan
    return float(array.mean()), float(array.std(ddof=1) / math.sqrt(array.size))
