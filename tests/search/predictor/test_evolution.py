from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from scalesearch.search.predictor.domain import Domain
from scalesearch.search.predictor.evolution import Effort, cross, maximise, mutate, neighbours

Array = NDArray[np.float64]
SPACE: dict[str, BaseDistribution] = {
    **{f"layer{index:02}": CategoricalDistribution(["a", "b", "c", "d"]) for index in range(20)},
    "rate": FloatDistribution(0.0, 1.0),
}
DOMAIN = Domain(SPACE)


def test_a_mutation_differs_in_at_least_one_parameter_and_stays_inside() -> None:
    rng = np.random.default_rng(0)
    points = DOMAIN.draw(rng, 500)
    mutants = mutate(points, DOMAIN, rng, 1.5)
    changed = (mutants != points).sum(axis=1)
    assert changed.min() >= 1
    assert 1.2 < changed.mean() < 2.2
    assert ((mutants >= 0) & (mutants <= np.where(DOMAIN.num_levels, DOMAIN.num_levels - 1, 1))).all()


def test_a_child_has_every_parameter_from_a_parent() -> None:
    rng = np.random.default_rng(0)
    first, second = DOMAIN.draw(rng, 50), DOMAIN.draw(rng, 50)
    child = cross(first, second, rng)
    assert ((child == first) | (child == second)).all()
    assert (child != first).any()


def test_neighbours_are_every_other_level_of_every_parameter() -> None:
    point = DOMAIN.draw(np.random.default_rng(0), 1)[0]
    around = neighbours(point, DOMAIN, np.random.default_rng(0))
    assert len(around) == 20 * 3 + 2
    assert ((around != point).sum(axis=1) == 1).all()
    assert len(np.unique(around, axis=0)) == len(around)


def test_the_best_point_of_a_rugged_sum_is_found_from_poor_parents() -> None:
    rng = np.random.default_rng(0)
    worth = rng.random((20, 4))

    def acquisition(points: Array) -> Array:
        levels = points[:, :20].astype(int)
        return worth[np.arange(20), levels].sum(axis=1) - np.abs(points[:, 20] - 0.3)

    best = maximise(acquisition, lambda points: points, DOMAIN.draw(rng, 3), DOMAIN, rng, Effort(num_rounds=30))
    assert best is not None
    assert acquisition(best[None])[0] > worth.max(axis=1).sum() - 0.1


def test_nothing_is_found_where_nothing_may_be_proposed() -> None:
    rng = np.random.default_rng(0)
    assert maximise(lambda p: p[:, 0], lambda points: points[:0], DOMAIN.draw(rng, 3), DOMAIN, rng, Effort()) is None
