"""Order among candidates with several objectives: non-dominated sorting, then crowding (NSGA-II, Deb et al. 2002).

Every objective is minimised here. Arrays in, arrays out; no trials. O(m n^2) in time and n^2 bytes for n candidates
with m objectives: milliseconds for a thousand, which is more than a study trains.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def nondominated_ranks(values: ArrayLike) -> NDArray[np.intp]:
    """Return the front of each candidate: 0 where no other dominates it, 1 where only those of front 0 do, and so on.

    One dominates another that it is no worse than in any objective and better than in one; equals share a front.

    Args:
        values: ``(n, m)``, each objective minimised.

    Raises:
        ValueError: It is not a table, or holds NaN, which can neither dominate nor be dominated.

    Example:
        >>> nondominated_ranks([[1, 4], [2, 2], [3, 3], [2, 2]]).tolist()
        [0, 0, 1, 0]
    """
    table = _checked(values)
    if table.shape[1] == 1:
        return np.unique(table[:, 0], return_inverse=True)[1]
    dominates = _dominates(table)
    ranks = np.full(len(table), -1, dtype=np.intp)
    left, rank = np.arange(len(table)), 0
    while left.size:
        first = ~dominates[np.ix_(left, left)].any(axis=0)
        ranks[left[first]] = rank
        left, rank = left[~first], rank + 1
    return ranks


def nondominated(values: ArrayLike) -> NDArray[np.bool_]:
    """Say of each candidate whether it is on the first front, that no other dominates it.

    Args:
        values: ``(n, m)``, each objective minimised.

    Raises:
        ValueError: It is not a table, or holds NaN.

    Example:
        >>> nondominated([[1, 4], [2, 2], [3, 3], [2, 2]]).tolist()
        [True, True, False, True]
    """
    return np.asarray(~_dominates(_checked(values)).any(axis=0))


def crowding_distances(values: ArrayLike) -> NDArray[np.float64]:
    """Return how alone each candidate of one front is: the larger, the more is lost without it.

    The sum over the objectives of the gap between its two neighbours, as a share of the front's range; infinite for
    the two ends of each objective (Deb et al. 2002, section III-B). An objective in which all are equal counts nothing.

    Args:
        values: ``(n, m)``, the candidates of one front.

    Raises:
        ValueError: It is not a table, or holds NaN.

    Example:
        >>> crowding_distances([[0, 4], [1, 2], [4, 0]]).tolist()
        [inf, 2.0, inf]
    """
    table = _checked(values)
    distances = np.zeros(len(table))
    for objective in table.T:
        if len(table) == 0 or objective.min() == objective.max():
            continue
        order = np.argsort(objective, kind="stable")
        inner = objective[order]
        distances[order[1:-1]] += (inner[2:] - inner[:-2]) / (inner[-1] - inner[0])
        distances[order[[0, -1]]] = np.inf
    return distances


def crowded_places(values: ArrayLike) -> NDArray[np.intp]:
    """Return how many are better than each candidate: those of earlier fronts, and the less crowded of its own.

    Equals share a place, and so do the ends of a front: a new best in any objective is among the first. With one
    objective it is the place in the plain order.

    Raises:
        ValueError: ``values`` is not a table, or holds NaN.

    Example:
        >>> crowded_places([[3, 3], [0, 4], [1, 3.5], [4, 0]]).tolist()
        [2, 0, 3, 0]
    """
    table = _checked(values)
    ranks = nondominated_ranks(table)
    crowding = np.zeros(len(table))
    if table.shape[1] > 1:  # with one objective all of a front are equal
        for rank in range(ranks.max(initial=-1) + 1):
            front = ranks == rank
            crowding[front] = crowding_distances(table[front])
    order = np.lexsort((-crowding, ranks))
    is_first = np.ones(len(table), dtype=bool)  # of those that share a place
    is_first[1:] = (np.diff(ranks[order]) != 0) | (crowding[order][1:] != crowding[order][:-1])
    places = np.empty(len(table), dtype=np.intp)
    places[order] = np.maximum.accumulate(np.where(is_first, np.arange(len(table)), 0))
    return places


def _dominates(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return ``(n, n)``: whether the row's candidate dominates the column's."""
    no_worse = np.ones((len(table), len(table)), dtype=bool)
    better = np.zeros_like(no_worse)
    for objective in table.T:
        no_worse &= objective[:, None] <= objective
        better |= objective[:, None] < objective
    return no_worse & better


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=float)
    if table.ndim != 2:
        raise ValueError(f"values must be a table of candidates by objectives, got shape {table.shape}")
    if np.isnan(table).any():
        raise ValueError("values must not hold NaN: leave out what was not measured")
    return table
