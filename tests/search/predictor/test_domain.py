from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from scalesearch.search.predictor.domain import Domain

MIXED: dict[str, BaseDistribution] = {
    "block": CategoricalDistribution(["ir", "er", "ds"]),
    "kernel": CategoricalDistribution([7, 3, 5]),
    "skip": CategoricalDistribution([True, False]),
    "depth": IntDistribution(1, 4),
    "channels": IntDistribution(8, 1024, log=True),
    "dropout": FloatDistribution(0.0, 0.5, step=0.1),
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "constant": CategoricalDistribution(["only"]),
}


@given(seed=st.integers(0, 10_000))
def test_a_drawn_point_decodes_to_a_value_of_every_distribution_and_encodes_to_itself(seed: int) -> None:
    domain = Domain(MIXED)
    point = domain.draw(np.random.default_rng(seed), 1)
    params = domain.decode(point[0])
    assert set(params) == set(MIXED) - {"constant"}
    for name, value in params.items():
        assert MIXED[name]._contains(MIXED[name].to_internal_repr(value)), (name, value)
    again = domain.decode(domain.encode([params])[0])
    assert {name: again[name] for name in params if name != "rate"} == {n: v for n, v in params.items() if n != "rate"}
    assert again["rate"] == pytest.approx(params["rate"], rel=1e-12)


def test_the_size_counts_points_and_is_infinite_with_a_continuous_parameter() -> None:
    discrete = {name: MIXED[name] for name in ("block", "kernel", "skip", "depth", "dropout")}
    assert Domain(discrete).size == 3 * 3 * 2 * 4 * 6
    assert Domain(MIXED).size == np.inf


def squared_distance(distribution: BaseDistribution, first: Any, second: Any) -> float:
    domain = Domain({"x": distribution})
    features = domain.features(domain.encode([{"x": first}, {"x": second}]))
    return float(((features[0] - features[1]) ** 2).sum())


def test_numbers_are_ordered_whatever_the_order_of_the_choices_and_names_are_not() -> None:
    kernel = MIXED["kernel"]
    assert squared_distance(kernel, 3, 5) < squared_distance(kernel, 3, 7)
    block = MIXED["block"]
    assert squared_distance(block, "ir", "er") == squared_distance(block, "ir", "ds") == pytest.approx(1.0)
    assert squared_distance(kernel, 3, 7) == pytest.approx(1.0)


def test_a_true_and_a_one_are_not_numbers_in_a_row() -> None:
    assert squared_distance(MIXED["skip"], True, False) == pytest.approx(1.0)


def test_a_logarithmic_range_is_even_in_its_logarithm() -> None:
    domain = Domain({"rate": MIXED["rate"]})
    assert domain.encode([{"rate": 1e-3}])[0, 0] == pytest.approx(0.5)


def test_every_feature_belongs_to_its_parameter() -> None:
    domain = Domain(MIXED)
    features = domain.features(domain.draw(np.random.default_rng(0), 5))
    assert features.shape == (5, len(domain.groups))
    names = list(domain.axes)
    # a level's indicator each, one position for ordered parameters of three levels or more
    widths = {"block": 3, "kernel": 4, "skip": 2, "depth": 5, "channels": 1, "dropout": 7, "rate": 1}
    assert {names[index]: int((domain.groups == index).sum()) for index in range(len(names))} == widths
