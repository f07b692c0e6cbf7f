"""Racing over seeds: what the test may drop, what the schedule may, and which candidates come first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from scalesearch.arch import ScalingFactors, published_arch
from scalesearch.errors import ConfigError, StudyError
from scalesearch.scaling import scaling_grid
from scalesearch.scaling.racing import choose_subset, indistinguishable, one_step_apart, seeds_to_tell, survivors
from scalesearch.scaling.surface import Terms

QUICK = settings(max_examples=40, deadline=None)
SHARES = np.array([(a, b, 4 - a - b) for a in range(5) for b in range(5 - a)]) / 4


def table(truth: object, seeds: int, rng: np.random.Generator, noise: float = 0.3) -> pd.DataFrame:
    """Return scores of candidates a, b, ...; a seed shifts all by much more than the noise."""
    values = np.asarray(truth, dtype=float)[:, None] + 2 * rng.standard_normal(seeds)
    names = [f"net{number}" for number in range(len(values))]
    return pd.DataFrame(values + noise * rng.standard_normal(values.shape), index=names)


@st.composite
def races(draw: st.DrawFn) -> pd.DataFrame:
    """Some rounds of some candidates, of which some were dropped on the way and some trainings failed."""
    num_candidates, num_seeds = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = table(0.3 * rng.standard_normal(num_candidates), num_seeds, rng)
    for number in range(num_candidates):
        scores.iloc[number, draw(st.integers(1, num_seeds)) :] = np.nan
    failed = rng.uniform(size=scores.shape) < 0.1
    failed[draw(st.integers(0, num_candidates - 1)), 0] = False
    lost = scores.mask(failed)
    return scores if lost.isna().all(axis=None) else lost


@given(races(), st.floats(0.01, 1), st.floats(0.5, 0.99))
@QUICK
def test_a_race_never_drops_all_and_never_takes_back_a_dropped_one(
    scores: pd.DataFrame, keep: float, level: float
) -> None:
    going = survivors(scores, keep, level)
    most = scores.notna().sum(axis=1).max()
    racing = [name for name in scores.index if scores.loc[name].notna().sum() == most]
    assert going
    assert len(set(going)) == len(going)
    assert set(going) <= set(racing)
    assert len(going) <= math.ceil(keep * len(racing))


@given(races(), st.floats(0.5, 0.99))
@QUICK
def test_without_a_schedule_only_what_is_told_from_the_best_is_dropped(scores: pd.DataFrame, level: float) -> None:
    most = scores.notna().sum(axis=1).max()
    alike = {name for name in indistinguishable(scores, level) if scores.loc[name].notna().sum() == most}
    assert alike <= set(survivors(scores, level=level))


@given(races(), st.floats(0.1, 1), st.lists(st.floats(-50, 50), min_size=5, max_size=5))
@QUICK
def test_adding_a_constant_to_a_seed_changes_nothing(scores: pd.DataFrame, keep: float, constants: list[float]) -> None:
    shifted = scores + constants[: scores.shape[1]]
    assert survivors(shifted, keep) == survivors(scores, keep)
    assert indistinguishable(shifted) == indistinguishable(scores)


@given(races(), st.floats(0.1, 1), st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_candidates_and_seeds_changes_nothing(scores: pd.DataFrame, keep: float, random: object) -> None:
    rng = np.random.default_rng(hash(str(random)) % 2**32)
    mixed = scores.iloc[rng.permutation(len(scores)), rng.permutation(scores.shape[1])]
    assert survivors(mixed, keep) == survivors(scores, keep)
    assert indistinguishable(mixed) == indistinguishable(scores)


def test_the_schedule_keeps_the_better_part_rounded_up_the_best_first() -> None:
    scores = pd.DataFrame({0: [0.1, 0.5, 0.3, 0.2, 0.4]}, index=list("abcde"))
    assert survivors(scores, keep=1 / 2) == ["b", "e", "c"]
    assert survivors(scores, keep=1 / 3) == ["b", "e"]
    assert survivors(scores, keep=0.2) == survivors(scores, keep=0.01) == ["b"]
    assert survivors(pd.concat([scores] * 3), keep=1 / 3)[:3] == ["b", "b", "b"]
    assert len(survivors(pd.concat([scores] * 3), keep=1 / 3)) == 5


def test_after_one_seed_nothing_is_told_apart() -> None:
    scores = pd.DataFrame({0: [0.9, 0.1, 0.2]}, index=list("abc"))
    assert survivors(scores) == indistinguishable(scores) == ["a", "c", "b"]


def test_the_hopeless_go_after_two_seeds_though_no_pair_by_itself_says_so() -> None:
    rng = np.random.default_rng(0)
    truth = np.where(np.arange(20) < 5, 0.0, -3.0)
    scores = table(truth, 2, rng)
    assert {str(name) for name in survivors(scores)} == {f"net{number}" for number in range(5)}
    best = scores.loc[survivors(scores)[0]]
    alone = [ttest_rel(best, scores.loc[f"net{number}"]).pvalue for number in range(5, 20)]
    assert np.mean(np.array(alone) > 0.05 / 19) > 0.9


def test_alternatives_that_are_equal_stay() -> None:
    scores = pd.DataFrame(np.tile([0.5, 0.6, 0.7], (4, 1)), index=list("abcd"))
    assert survivors(scores) == indistinguishable(scores) == list("abcd")


def test_a_candidate_without_noise_is_told_from_a_worse_one() -> None:
    scores = pd.DataFrame({0: [0.5, 0.4, 0.5], 1: [0.7, 0.6, 0.7]}, index=list("abc"))
    assert indistinguishable(scores) == ["a", "c"]


@pytest.mark.parametrize("lead", [0.0, 0.1])
def test_over_a_whole_race_the_best_falls_to_the_test_as_rarely_as_the_level_says(lead: float) -> None:
    rng = np.random.default_rng(1)
    fallen = []
    for _ in range(200):
        scores = table([lead, *[0.0] * 9], 6, rng)
        racing: list[Hashable] = list(scores.index)
        for seeds in range(1, 7):
            scores.loc[~scores.index.isin(racing), seeds - 1] = np.nan
            racing = survivors(scores.iloc[:, :seeds], level=0.9)
        fallen.append("net0" not in racing)
    assert np.mean(fallen) <= 0.1


def test_the_best_is_among_those_like_the_best_measured_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(2)
    sets = [indistinguishable(table([0.2, 0.1, *[0.0] * 8], 3, rng), level=0.9) for _ in range(200)]
    assert np.mean(["net0" in names for names in sets]) >= 0.9
    far = [indistinguishable(table([2.0, *[0.0] * 9], 3, rng), level=0.9) for _ in range(50)]
    assert np.mean([names == ["net0"] for names in far]) > 0.9


def test_a_lower_level_tells_more_apart() -> None:
    scores = table(-0.1 * np.arange(10), 4, np.random.default_rng(3))
    sizes = [len(indistinguishable(scores, level)) for level in (0.5, 0.9, 0.99, 0.9999)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_a_failed_training_takes_its_candidate_out_of_the_race_but_not_out_of_the_comparison() -> None:
    scores = pd.DataFrame({0: [0.5, 0.9, 0.4], 1: [0.6, np.nan, 0.51]}, index=list("abc"))
    assert survivors(scores) == ["a", "c"]
    assert indistinguishable(scores)[0] == "a"  # not b, on the luck of one seed
    assert "b" in indistinguishable(scores)


def test_candidates_without_a_common_seed_are_not_told_apart() -> None:
    scores = pd.DataFrame({0: [0.5, 0.9, np.nan], 1: [0.51, 0.91, np.nan], 2: [np.nan, np.nan, 0.1]}, index=list("abc"))
    assert indistinguishable(scores) == ["b", "c"]
    assert survivors(scores, level=0.5) == ["b"]


def test_a_round_in_which_every_training_failed_decides_nothing() -> None:
    scores = table([1.0, 0.0, 0.0], 2, np.random.default_rng(4))
    assert survivors(scores.assign(late=np.nan), keep=0.5) == survivors(scores, keep=0.5)


@pytest.mark.parametrize(
    ("keep", "level", "match"),
    [
        (0.0, 0.9, "keep must be above 0 and at most 1, got 0.0"),
        (1.5, 0.9, "keep must be"),
        (math.nan, 0.9, "keep must be"),
        (0.5, 1.0, "level must be between 0 and 1, got 1.0"),
        (0.5, 0.0, "level must be"),
    ],
)
def test_a_share_or_a_level_out_of_range_is_refused(keep: float, level: float, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        survivors(pd.DataFrame({0: [0.1, 0.2]}), keep, level)


def test_a_race_without_a_score_is_refused() -> None:
    with pytest.raises(StudyError, match="no candidate of the race has a score"):
        survivors(pd.DataFrame({0: [np.nan, np.nan]}))
    with pytest.raises(StudyError, match="no candidate"):
        indistinguishable(pd.DataFrame(index=["a", "b"]))


def information(chosen: list[int]) -> float:
    terms = Terms.of(SHARES)
    columns = terms.columns(SHARES)[chosen]
    prior = np.diag(np.arange(columns.shape[1]) >= terms.num_free).astype(float)
    return float(np.linalg.slogdet(columns.T @ columns + prior)[1])


def exactly(truth: list[float], seeds: int) -> pd.DataFrame:
    """Return scores that show the truth, and noise of just 1."""
    noise = np.random.default_rng(0).standard_normal((len(truth), seeds))
    noise -= noise.mean(axis=0) + noise.mean(axis=1, keepdims=True) - noise.mean()
    noise /= np.sqrt(np.sum(noise**2) / ((len(truth) - 1) * (seeds - 1)))
    return pd.DataFrame(np.array(truth)[:, None] + noise)


def test_with_as_many_seeds_as_planned_the_best_is_told_from_the_next_as_often_as_the_power_says() -> None:
    truth = [1.2, 0.0, -2.0, -2.0]
    planned = seeds_to_tell(exactly(truth, 3), power=0.8)
    assert 10 < planned < 30
    rng = np.random.default_rng(0)
    told = ["net1" not in indistinguishable(table(truth, int(planned), rng, noise=1.0)) for _ in range(200)]
    assert 0.75 < np.mean(told) < 0.95


@given(races(), st.floats(0.5, 0.99), st.floats(0.5, 0.95))
@QUICK
def test_more_seeds_than_there_are_would_tell_what_is_not_told(
    scores: pd.DataFrame, level: float, power: float
) -> None:
    scores = scores.dropna()  # all with the same seeds
    if len(scores):
        planned, alike = seeds_to_tell(scores, level, power), indistinguishable(scores, level)
        if len(alike) == 1 or scores.shape[1] == 1:
            assert math.isnan(planned)
        else:
            assert planned >= scores.shape[1]
            assert planned <= seeds_to_tell(scores, level, (power + 1) / 2)


def test_half_the_difference_takes_four_times_the_seeds() -> None:
    plans = [seeds_to_tell(exactly([lead, 0.0, -5.0], 3)) for lead in (0.02, 0.01)]
    assert plans[1] == pytest.approx(4 * plans[0], rel=1e-3)


def test_equal_scores_take_seeds_without_end_and_one_seed_cannot_be_planned_from() -> None:
    assert seeds_to_tell(pd.DataFrame([[0.5, 0.6], [0.6, 0.5]])) == math.inf
    assert math.isnan(seeds_to_tell(pd.DataFrame([[0.5], [0.6]])))
    assert math.isnan(seeds_to_tell(pd.DataFrame([[0.5, 0.6]])))


def test_a_power_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"power must be between 0 and 1, got 1"):
        seeds_to_tell(pd.DataFrame([[0.5, 0.6], [0.6, 0.5]]), power=1.0)


@pytest.mark.parametrize("num", [5, 6])
def test_the_first_candidates_tell_as_much_of_a_surface_as_any_others_would(num: int) -> None:
    chosen = choose_subset(SHARES, num)
    assert chosen == sorted(set(chosen))
    best = max(information(list(each)) for each in itertools.combinations(range(len(SHARES)), num))
    assert information(chosen) == pytest.approx(best, abs=0.05)


def test_the_first_candidates_have_the_corners_of_the_grid_and_its_middle() -> None:
    chosen = SHARES[choose_subset(SHARES, 8)]
    assert {(1, 0, 0), (0, 1, 0), (0, 0, 1)} <= {tuple(each) for each in chosen}
    assert (chosen.max(axis=1) <= 0.5).any()


@pytest.mark.parametrize("num", [1, 2, 15])
def test_any_number_of_first_candidates_can_be_had(num: int) -> None:
    assert len(set(choose_subset(SHARES, num))) == num
    assert choose_subset(SHARES, num) == choose_subset(SHARES, num)


def test_first_candidates_that_cannot_be_had_are_refused() -> None:
    for num in (0, 16):
        with pytest.raises(ConfigError, match=f"1 to 15 candidates, got {num}"):
            choose_subset(SHARES, num)
    with pytest.raises(StudyError, match="at least two candidates that differ"):
        choose_subset(np.ones((3, 2)), 2)


def test_candidates_are_a_step_apart_where_two_of_their_points_are() -> None:
    points = [
        [ScalingFactors(1.05, 1.0, 1.2), ScalingFactors(1.25, 1.0, 1.2)],
        [ScalingFactors(1.3, 1.05, 1.2)],
        [ScalingFactors(1.0, 1.0, 1.3)],
    ]
    assert one_step_apart(points, 0.05).tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert one_step_apart(points, 0.1)[0].all()


def test_the_steps_between_the_networks_of_a_real_grid_go_both_ways() -> None:
    candidates = scaling_grid(published_arch("efficientnet-b0")).candidates
    near = one_step_apart([candidate.points for candidate in candidates], 0.05)
    assert near.diagonal().all()
    assert (near == near.T).all()
    assert 1 < near.sum(axis=1).mean() < len(near) / 3
