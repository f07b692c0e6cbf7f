from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from scalesearch.search.predictor.acquisition import (
    expected_hypervolume_improvement,
    log_expected_improvement,
    nondominated_boxes,
)

Array = NDArray[np.float64]


def volume(front: Array, reference: Array, top: float) -> float:
    """Count the volume above the reference that the front leaves, up to ``top`` in every objective."""
    boxes = np.minimum(nondominated_boxes(front, reference), top)
    return float(np.prod(boxes[:, 1] - boxes[:, 0], axis=1).sum())


@pytest.mark.parametrize("score", [-40.0, -6.0, -5.0, -1.0, 0.0, 2.0])
def test_the_logarithm_of_expected_improvement_is_that_of_its_integral(score: float) -> None:
    mean, deviation, level = np.array([1.0 + score * 0.5]), np.array([0.5]), 1.0
    found = log_expected_improvement(mean, deviation, level)[0]
    assert np.isfinite(found)
    if score > -8:
        exact = np.log(0.5 * (norm.pdf(score) + score * norm.cdf(score)))
        assert found == pytest.approx(exact, abs=0.11)


def test_expected_improvement_rises_with_the_mean_also_far_below_the_level() -> None:
    means = np.linspace(-60, 5, 400)
    assert (np.diff(log_expected_improvement(means, np.ones(400), 0.0)) > 0).all()


@given(seed=st.integers(0, 10_000), objectives=st.integers(1, 3), size=st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_the_boxes_tile_what_no_point_dominates(seed: int, objectives: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    front = rng.random((size, objectives)).round(1)  # rounded: ties happen
    boxes = nondominated_boxes(front, np.zeros(objectives))
    points = rng.random((300, objectives)) * 1.2 + 1e-9
    dominated = (front[None] >= points[:, None]).all(axis=2).any(axis=1)
    inside = ((points[:, None] > boxes[None, :, 0]) & (points[:, None] <= boxes[None, :, 1])).all(axis=2).sum(axis=1)
    assert (inside == np.where(dominated, 0, 1)).all()


@pytest.mark.parametrize("objectives", [2, 3])
def test_expected_hypervolume_improvement_is_the_mean_over_draws(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    front, reference = rng.random((6, objectives)), np.zeros(objectives)
    mean, deviation = np.full((1, objectives), 0.7), np.full((1, objectives), 0.2)
    deviation[0, -1] = 0.0  # known exactly
    boxes = nondominated_boxes(front, reference)
    before = volume(front, reference, 9.0)
    draws = mean + deviation * rng.standard_normal((400, objectives))
    gains = [before - volume(np.vstack([front, draw]), reference, 9.0) for draw in draws]
    expected = expected_hypervolume_improvement(mean, deviation, boxes)[0]
    assert expected == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / np.sqrt(400))


def test_a_candidate_that_is_surely_dominated_gains_nothing() -> None:
    boxes = nondominated_boxes(np.array([[1.0, 1.0]]), np.zeros(2))
    assert expected_hypervolume_improvement(np.array([[0.5, 0.5]]), np.zeros((1, 2)), boxes) == 0.0
