"""Non-dominated sorting and crowding against their definitions, word for word and slowly."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.search.dominance import crowded_places, crowding_distances, nondominated, nondominated_ranks

Point = tuple[float, ...]

FUNCTIONS = (nondominated, nondominated_ranks, crowding_distances, crowded_places)


def points(num_objectives: int) -> st.SearchStrategy[list[Point]]:
    """Few distinct values, so that equal ones and whole fronts are common."""
    return st.lists(st.tuples(*[st.integers(0, 6).map(float)] * num_objectives), max_size=20)


def dominates(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def slow_ranks(values: list[Point]) -> list[int]:
    ranks: dict[int, int] = {}
    while len(ranks) < len(values):
        left = [index for index in range(len(values)) if index not in ranks]
        front = [index for index in left if not any(dominates(values[other], values[index]) for other in left)]
        ranks |= dict.fromkeys(front, max(ranks.values(), default=-1) + 1)
    return [ranks[index] for index in range(len(values))]


def slow_distances(values: list[Point]) -> list[float]:
    distances = [0.0] * len(values)
    for objective in range(len(values[0]) if values else 0):
        order = sorted(range(len(values)), key=lambda index: values[index][objective])
        column = [values[index][objective] for index in order]
        if column[0] == column[-1]:
            continue
        for place, index in enumerate(order):
            inside = 0 < place < len(order) - 1
            gap = column[place + 1] - column[place - 1] if inside else math.inf
            distances[index] += gap / (column[-1] - column[0])
    return distances


def as_table(values: list[Point], num_objectives: int) -> np.ndarray:
    return np.array(values, dtype=float).reshape(len(values), num_objectives)


@given(st.integers(1, 3).flatmap(lambda m: st.tuples(st.just(m), points(m))))
def test_ranks_are_those_of_peeling_front_by_front(case):
    num_objectives, values = case
    assert nondominated_ranks(as_table(values, num_objectives)).tolist() == slow_ranks(values)
    assert nondominated(as_table(values, num_objectives)).tolist() == [rank == 0 for rank in slow_ranks(values)]


@given(st.integers(1, 3).flatmap(lambda m: st.tuples(st.just(m), points(m))))
def test_crowding_is_the_sum_of_the_gaps_between_neighbours(case):
    num_objectives, values = case
    assert crowding_distances(as_table(values, num_objectives)).tolist() == pytest.approx(slow_distances(values))


@given(points(2))
def test_the_better_ones_are_those_of_earlier_fronts_and_the_less_crowded(values):
    table, ranks = as_table(values, 2), slow_ranks(values)
    keys = [(0, 0.0)] * len(values)
    for rank in set(ranks):
        front = [index for index, each in enumerate(ranks) if each == rank]
        for index, distance in zip(front, crowding_distances(table[front]), strict=True):
            keys[index] = (rank, -distance)
    assert crowded_places(table).tolist() == [sum(other < key for other in keys) for key in keys]


@given(points(1))
def test_with_one_objective_the_order_is_the_plain_one(values):
    expected = [sum(other < value for other in values) for value in values]
    assert crowded_places(as_table(values, 1)).tolist() == expected


def test_a_front_is_two_sided():
    front = [(x, 10.0 - x) for x in range(5)]
    behind = [(x + 1.0, y + 1.0) for x, y in front]
    assert nondominated_ranks(front + behind).tolist() == [0] * 5 + [1] * 5
    assert crowded_places(front + behind).tolist() == [0, 2, 2, 2, 0, 5, 7, 7, 7, 5]  # the ends come first


@pytest.mark.parametrize(
    ("function", "values"),
    list(
        product((nondominated, nondominated_ranks, crowding_distances, crowded_places), ([[1.0, math.nan]], [1.0, 2.0]))
    ),
)
def test_what_is_no_table_of_numbers_is_refused(function, values):
    with pytest.raises(ValueError, match=r"^values must (not hold NaN|be a table of candidates by objectives)"):
        function(values)
