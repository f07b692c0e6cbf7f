from __future__ import annotations

import numpy as np

from scalesearch.arch import ScalingFactors, published_arch
from scalesearch.scaling.candidates import scaling_grid
from scalesearch.scaling.doublings import at_equal_cost, cost_doublings, realised_factors

B0 = published_arch("efficientnet-b0")


def test_the_doublings_of_the_three_dimensions_add_up_to_the_realised_ratio() -> None:
    for rounding in ("ceil", "round", "floor"):
        candidates = scaling_grid(B0, rounding=rounding, num_classes=10).candidates  # type: ignore[arg-type]
        factors = [candidate.factors for candidate in candidates]
        doublings = cost_doublings(B0, factors, rounding, num_classes=10)  # type: ignore[arg-type]
        ratios = np.log2([candidate.realised_ratio for candidate in candidates])
        np.testing.assert_allclose(doublings.sum(axis=1), ratios, atol=0.04)


def test_factors_that_round_to_one_network_have_one_place() -> None:
    one, other = cost_doublings(B0, [ScalingFactors(1.05, 1.0, 1.2), ScalingFactors(1.25, 1.0, 1.2)])
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(cost_doublings(B0, [ScalingFactors(1, 1, 1)]), np.zeros((1, 3)))
    assert cost_doublings(B0, []).shape == (0, 3)


def test_at_equal_cost_all_candidates_cost_the_target() -> None:
    features = np.random.default_rng(13).uniform(0, 1, (10, 3))
    moved = at_equal_cost(features, 3.0)
    np.testing.assert_allclose(moved.sum(axis=1), np.log2(3))
    np.testing.assert_allclose(np.diff(moved, axis=1), np.diff(features, axis=1))


def test_realised_factors_multiply_to_what_the_doublings_add_up_to() -> None:
    doublings = np.random.default_rng(3).uniform(0, 1, (10, 3))
    alpha, beta, gamma = realised_factors(doublings).T
    np.testing.assert_allclose(alpha * beta**2 * gamma**2, np.exp2(doublings.sum(axis=1)))
