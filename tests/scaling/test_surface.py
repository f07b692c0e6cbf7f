"""The response surface: what it recovers exactly, what changes nothing, and how often its claims hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scalesearch.arch import published_arch
from scalesearch.errors import ConfigError, StudyError
from scalesearch.scaling.doublings import at_equal_cost
from scalesearch.scaling.surface import ResponseSurface, fit_surface

Floats = NDArray[np.float64]

B0 = published_arch("efficientnet-b0")
TABLES = Path(__file__).resolve().parents[3] / "shared" / "reference" / "scaling.csv"
PLANE = np.array([[1, -1, 0], [0.5, 0.5, -1]])  # two directions that cost nothing
SHARES = np.array([(a, b, 4 - a - b) for a in range(5) for b in range(5 - a)]) / 4  # 15 ways to share a doubling
QUICK = settings(max_examples=15, deadline=None)


def bowl(features: Floats, peak: Floats, curvature: float = 1.0) -> Floats:
    return np.asarray(80 - curvature * np.sum((features - peak) ** 2, axis=1))


def trained(truth: Floats, seeds: int, rng: np.random.Generator, noise: float = 0.3) -> Floats:
    """Return accuracies (seeds, candidates); a seed shifts all candidates by much more than the noise."""
    return np.asarray(truth + 2 * rng.standard_normal((seeds, 1)) + noise * rng.standard_normal((seeds, len(truth))))


def fit_table(features: Floats, table: Floats) -> ResponseSurface:
    """Fit accuracies (seeds, candidates)."""
    rows, columns = np.indices(table.shape).reshape(2, -1)
    return fit_surface(features[columns], table.ravel(), rows)


@given(st.integers(0, 10_000), st.integers(1, 3))
@QUICK
def test_an_exact_quadratic_is_recovered_exactly(seed: int, num_features: int) -> None:
    rng = np.random.default_rng(seed)
    features, elsewhere = rng.standard_normal((2, 20, num_features))
    slope, square = rng.standard_normal(num_features), rng.standard_normal((num_features, num_features))

    def accuracy(points: Floats) -> Floats:
        return np.asarray(70 + points @ slope + np.einsum("nd,de,ne->n", points, square, points))

    surface = fit_surface(features, accuracy(features))
    predicted, errors = surface.predict(elsewhere)
    np.testing.assert_allclose(predicted, accuracy(elsewhere), atol=2e-3)
    assert surface.residual_sd < 0.01
    assert errors.max() < 0.1
    assert surface.loo_error().rms < 0.01


@given(st.integers(0, 10_000), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
@QUICK
def test_adding_a_constant_to_a_seed_changes_no_choice_and_no_error(seed: int, constants: list[float]) -> None:
    table = trained(bowl(SHARES, SHARES[4]), 3, np.random.default_rng(seed))
    shifted = table + np.array(constants)[:, None]
    before, after = fit_table(SHARES, table), fit_table(SHARES, shifted)
    np.testing.assert_allclose(after.predict(SHARES)[0] - before.predict(SHARES)[0], np.mean(constants), atol=1e-6)
    np.testing.assert_allclose(after.predict(SHARES)[1], before.predict(SHARES)[1], rtol=1e-6)
    assert after.residual_sd == pytest.approx(before.residual_sd, rel=1e-6)
    assert after.maximum(SHARES) == before.maximum(SHARES)
    np.testing.assert_array_equal(after.confidence_region(SHARES), before.confidence_region(SHARES))


@given(st.integers(0, 10_000))
@QUICK
def test_the_order_of_the_trainings_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = trained(bowl(SHARES, SHARES[4]), 3, rng)
    seeds, owners = np.indices(table.shape).reshape(2, -1)
    order = rng.permutation(table.size)
    before, after = (fit_surface(SHARES[owners[o]], table.ravel()[o], seeds[o]) for o in (np.arange(table.size), order))
    np.testing.assert_allclose(after.predict(SHARES), before.predict(SHARES), rtol=1e-6)
    assert after.maximum(SHARES) == before.maximum(SHARES)


def test_the_same_trainings_give_the_same_draws_bit_for_bit() -> None:
    table = trained(bowl(SHARES, SHARES[4]), 2, np.random.default_rng(0))
    np.testing.assert_array_equal(fit_table(SHARES, table).draws, fit_table(SHARES, table).draws)


def assert_alike(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> None:
    """Compare means and standard errors up to what 4,000 draws leave to chance: a sixteenth of an error in a mean."""
    np.testing.assert_allclose(one[1], other[1], rtol=0.08)
    assert np.all(np.abs(one[0] - other[0]) < other[1] / 16)


def test_a_feature_that_does_not_vary_changes_nothing() -> None:
    table = trained(bowl(SHARES, SHARES[4]), 3, np.random.default_rng(0))
    wider = np.column_stack([np.full(len(SHARES), 7.0), SHARES])
    assert_alike(fit_table(wider, table).predict(wider), fit_table(SHARES, table).predict(SHARES))


def test_the_unit_of_the_features_changes_nothing() -> None:
    table = trained(bowl(SHARES, SHARES[4]), 3, np.random.default_rng(0))
    natural = SHARES * np.log(2)
    assert_alike(fit_table(natural, table).predict(natural), fit_table(SHARES, table).predict(SHARES))


def test_the_noise_of_a_training_is_told_from_the_seeds_shifts() -> None:
    table = trained(bowl(SHARES, SHARES[4]), 10, np.random.default_rng(1))
    surface = fit_table(SHARES, table)
    assert surface.residual_sd == pytest.approx(0.3, rel=0.15)
    shifts = np.array([surface.seed_shifts[seed] for seed in range(10)])
    np.testing.assert_allclose(shifts, table.mean(axis=1) - table.mean(), atol=1e-3)


def test_standard_errors_are_as_large_as_the_errors() -> None:
    rng = np.random.default_rng(2)
    truth = bowl(SHARES, SHARES[4], curvature=0.8)
    scores = []
    for _ in range(60):
        predicted, errors = fit_table(SHARES, trained(truth, 3, rng, noise=0.3)).predict(SHARES)
        contrast = predicted - predicted.mean() - (truth - truth.mean())  # the mean has the shifts of three seeds
        scores.append(np.std(contrast) / np.mean(errors))
    assert 0.6 < np.mean(scores) < 1.2


def test_a_little_more_compute_is_a_slope_and_leaves_the_plane_alone() -> None:
    rng = np.random.default_rng(3)
    excess = rng.uniform(-0.05, 0.05, len(SHARES))  # doublings, as rounding gives them
    features = SHARES + excess[:, None] / 3
    surface = fit_surface(features, bowl(SHARES, SHARES[4]) + 1.75 * excess)
    assert (surface.terms.plane.shape[1], surface.terms.across.shape[1]) == (2, 1)
    moved = at_equal_cost(features, 2.0)
    np.testing.assert_allclose(moved, SHARES, atol=1e-12)
    assert surface.maximum(moved) == 4
    more = surface.predict(SHARES + 0.01)[0] - surface.predict(SHARES)[0]
    np.testing.assert_allclose(more, 1.75 * 0.03, atol=0.01)


def test_a_candidates_own_deviation_widens_the_errors_though_its_seeds_agree() -> None:
    rng = np.random.default_rng(4)
    smooth = bowl(SHARES, SHARES[4])
    rough = smooth + 0.5 * rng.standard_normal(len(SHARES))
    errors = [
        fit_table(SHARES, trained(truth, 4, rng, noise=0.1)).predict(SHARES)[1].mean() for truth in (smooth, rough)
    ]
    assert errors[1] > 2 * errors[0]


def test_leaving_out_is_by_candidate_so_its_other_seeds_do_not_give_it_away() -> None:
    truth = bowl(SHARES, SHARES[4])
    truth[7] += 2.0
    table = trained(truth, 4, np.random.default_rng(5), noise=0.01)
    assert fit_table(SHARES, table).loo_error().rms > 2.0 / np.sqrt(len(SHARES))


@pytest.mark.skipif(not TABLES.exists(), reason="public tables are not here")
@pytest.mark.parametrize(("model", "num_networks", "largest"), [("mobilenet_v1", 16, 0.25), ("mobilenet_v2", 22, 0.7)])
def test_a_public_table_is_predicted_network_by_network(model: str, num_networks: int, largest: float) -> None:
    rows = pd.read_csv(TABLES)
    rows = rows[(rows.source == "tf-slim") & (rows.model == model)]
    width, resolution = rows.width_mult.astype(float), rows.resolution.astype(float) / 224
    features = np.column_stack([2 * np.log2(width), 2 * np.log2(resolution)])
    error = fit_surface(features, rows.top1).loo_error()
    assert len(rows) == num_networks
    assert error.mean_absolute <= error.rms <= largest


def test_the_region_holds_the_best_as_often_as_it_says_and_leaves_others_out() -> None:
    rng = np.random.default_rng(6)
    holds, shares = [], []
    for _ in range(60):
        truth = bowl(SHARES, SHARES[rng.integers(len(SHARES))], curvature=0.8)
        surface = fit_table(SHARES, trained(truth, 3, rng))
        region = surface.confidence_region(SHARES)
        holds.append(region[truth.argmax()])
        shares.append(region.mean())
        assert region[surface.maximum(SHARES)]
        assert (surface.confidence_region(SHARES, level=0.5) <= region).all()
    assert np.mean(holds) >= 0.95
    assert np.mean(shares) < 0.6


def test_more_seeds_make_the_region_smaller() -> None:
    truth = bowl(SHARES, SHARES[4])
    sizes = [
        fit_table(SHARES, trained(truth, seeds, np.random.default_rng(7))).confidence_region(SHARES).sum()
        for seeds in (2, 40)
    ]
    assert 1 <= sizes[1] < sizes[0]


def test_candidates_with_equal_features_are_in_the_region_together() -> None:
    surface = fit_table(SHARES, trained(bowl(SHARES, SHARES[4]), 3, np.random.default_rng(8)))
    region = surface.confidence_region(np.vstack([SHARES, SHARES]))
    np.testing.assert_array_equal(region[: len(SHARES)], region[len(SHARES) :])


def test_a_margin_grows_with_the_level_and_ends_where_the_region_does() -> None:
    surface = fit_table(SHARES, trained(bowl(SHARES, SHARES[4]), 3, np.random.default_rng(8)))
    margins = [surface.confidence_margins(SHARES, level) for level in (0.5, 0.95, 0.999)]
    assert (np.diff(margins, axis=0) > 0).all()
    np.testing.assert_array_equal(margins[1] >= 0, surface.confidence_region(SHARES))
    assert margins[1].argmax() == surface.maximum(SHARES)
    np.testing.assert_array_equal(surface.confidence_margins(SHARES[:1]), [0.0])  # none to compare with


def test_near_takes_the_candidate_whose_surroundings_most_probably_hold_the_best() -> None:
    surface = fit_table(SHARES, trained(bowl(SHARES, SHARES[4]), 2, np.random.default_rng(9)))
    everything, itself = np.ones((15, 15)), np.eye(15)
    assert surface.maximum(SHARES, everything) == surface.maximum(SHARES)
    most_often = np.bincount((surface.draws @ surface.terms.columns(SHARES).T).argmax(axis=1)).argmax()
    assert surface.maximum(SHARES, itself) == most_often
    region = surface.confidence_region(SHARES)
    for candidate in range(15):
        hub = itself.copy()
        hub[candidate] = True
        assert (surface.maximum(SHARES, hub) == candidate) == region[candidate]


def test_a_candidate_that_is_told_from_the_maximum_is_not_chosen_for_its_neighbours() -> None:
    """As where depths round up: a rule one step from the best one may be a network far from it."""
    surface = fit_table(SHARES, trained(bowl(SHARES, SHARES[4]), 5, np.random.default_rng(9)))
    best = surface.maximum(SHARES)
    far = int(np.sum((SHARES - SHARES[best]) ** 2, axis=1).argmax())
    near = np.eye(15)
    near[far] = True
    assert surface.maximum(SHARES, near) != far


def test_the_peak_between_the_candidates_is_found_and_its_region_holds_it_as_often_as_it_says() -> None:
    peak, rng = np.array([0.4, 0.25, 0.35]), np.random.default_rng(10)
    found = [fit_table(SHARES, trained(bowl(SHARES, peak), 5, rng)).peak(level=0.9) for _ in range(60)]
    holds = [(each.lower <= peak) & (peak <= each.upper) for each in found if each is not None]
    assert len(holds) == len(found)
    assert np.mean(holds) >= 0.9
    assert np.mean([each.upper - each.lower for each in found if each is not None]) < 0.3  # of 1
    np.testing.assert_allclose([each.location.sum() for each in found if each is not None], 1)
    np.testing.assert_allclose(np.mean([each.location for each in found if each is not None], axis=0), peak, atol=0.03)


@pytest.mark.parametrize(
    "accuracy",
    [
        bowl(SHARES, np.array([3.0, -1.0, -1.0])),
        80 + np.sum((SHARES - 1 / 3) ** 2, axis=1),
        80 + (SHARES @ PLANE[0]) ** 2 - (SHARES @ PLANE[1]) ** 2,
    ],
    ids=["outside the grid", "a valley", "a saddle"],
)
def test_there_is_no_peak_where_the_range_has_none(accuracy: Floats) -> None:
    rng = np.random.default_rng(11)
    surface = fit_table(SHARES, trained(accuracy, 5, rng, noise=0.01))
    assert surface.peak() is None
    assert accuracy[surface.maximum(SHARES)] == pytest.approx(accuracy.max(), abs=0.05)


@pytest.mark.parametrize(
    ("features", "seeds", "num_free"),
    [
        (SHARES[:2], [0, 1], 2),  # a line
        (SHARES[[0, 4, 14]], [0, 1], 3),  # a plane
        (SHARES[[0, 4, 12, 14]], [0, 1], 4),  # and its bowl
        (SHARES[[0, 1, 4, 12, 14]] + np.array([[0.05], [0], [0.02], [0], [0]]), [0], 4),
        (SHARES[[0, 1, 4, 12, 14]] + np.array([[0.05], [0], [0.02], [0], [0]]), [0, 1], 5),  # and the slope across
    ],
)
def test_few_trainings_get_as_many_terms_as_they_can_tell_apart(
    features: Floats, seeds: list[int], num_free: int
) -> None:
    table = trained(bowl(features, features[0]), len(seeds), np.random.default_rng(12))
    surface = fit_table(features, table)
    assert surface.terms.num_free == num_free
    assert np.isfinite(surface.predict(features)).all()
    assert surface.confidence_region(features).any()


@pytest.mark.parametrize(
    ("features", "accuracy", "seeds", "error", "match"),
    [
        ([[1.0], [1.0]], [1, 2], [0, 1], StudyError, "at least two candidates that differ, got 1"),
        (np.empty((0, 3)), [], None, StudyError, "at least two candidates that differ, got 0"),
        ([[1.0], [2.0]], [1, 2], None, StudyError, "2 trainings with 1 seeds .* needs more trainings"),
        ([[1.0], [2.0], [3.0]], [1, 2, 3], [0, 1, 2], StudyError, "several candidates with each seed"),
        ([[1.0], [2.0], [3.0]], [1, 2, np.nan], None, ConfigError, "must be finite numbers: leave out what failed"),
        ([[1.0], [np.inf], [3.0]], [1, 2, 3], None, ConfigError, "must be finite"),
        ([1.0, 2.0, 3.0], [1, 2, 3], None, ConfigError, r"got shapes \(3,\), \(3,\) and \(3,\)"),
        ([[1.0], [2.0]], [1, 2, 3], None, ConfigError, "for each training"),
        ([[1.0], [2.0]], [1, 2], [0], ConfigError, "a seed for each training"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_a_sentence(
    features: Any, accuracy: Any, seeds: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        fit_surface(features, accuracy, seeds)
