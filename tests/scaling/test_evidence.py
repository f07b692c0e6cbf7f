"""What the trainings of a grid say: the surface's choice, the best measured candidate, and what is not told apart."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch import ArchSpec
from scalesearch.errors import StudyError
from scalesearch.scaling.candidates import ScalingCandidate, scaling_grid
from scalesearch.scaling.doublings import at_equal_cost, cost_doublings
from scalesearch.scaling.evidence import Evidence, score_table, weigh
from scalesearch.scaling.racing import indistinguishable, seeds_to_tell

BASE = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_c16", "ir_r3_k3_s2_e2_c24", "ir_r4_k3_s2_e2_c48"],
    stem_channels=16,
    head_channels=64,
    image_size=32,
    stem_stride=1,
)
STEP = 0.1
GRID = scaling_grid(BASE, step=STEP, tolerance=0.1, num_classes=10).candidates
FEATURES = at_equal_cost(cost_doublings(BASE, [each.factors for each in GRID], num_classes=10), 2.0)
TOP = np.array([0.5, 0.25, 0.25])  # doublings where the made-up accuracy is highest
HILL = 0.6 - 0.1 * np.sum((FEATURES - TOP) ** 2, axis=1)
QUICK = settings(max_examples=8, deadline=None)


def trainings(truth: Any, seeds: int, noise: float = 0.0, number: int = 0) -> pd.DataFrame:
    """Return trials of the grid, seed by seed; a seed shifts all by much more than the noise."""
    rng = np.random.default_rng(number)
    shifts = 0.05 * rng.standard_normal(seeds)
    return pd.DataFrame(
        [
            {
                "state": "COMPLETE",
                "arch_id": candidate.arch.arch_id,
                "seed": seed,
                "val_top1": worth + shifts[seed] + noise * rng.standard_normal(),
            }
            for seed in range(seeds)
            for candidate, worth in zip(GRID, truth, strict=True)
        ]
    )


def evidence_of(trials: pd.DataFrame, candidates: list[ScalingCandidate] | None = None, **changes: Any) -> Evidence:
    asked = {"target": 2.0, "step": STEP, "rounding": "ceil", "num_classes": 10, **changes}
    return weigh(BASE, GRID if candidates is None else candidates, trials, **asked)


def failing(trials: pd.DataFrame, *places: tuple[int, int]) -> pd.DataFrame:
    """Return the trials with those of some (candidate, seed) failed."""
    lost = [(trials.arch_id == GRID[candidate].arch.arch_id) & (trials.seed == seed) for candidate, seed in places]
    is_lost = np.logical_or.reduce(lost)
    return trials.assign(state=trials.state.mask(is_lost, "FAILED"), val_top1=trials.val_top1.mask(is_lost))


def test_without_noise_the_choice_is_the_maximum_and_the_best_measured_one() -> None:
    evidence = evidence_of(trainings(HILL, 2))
    best = GRID[int(HILL.argmax())]
    assert (evidence.chosen, evidence.chosen_by, evidence.best_measured) == (best, "surface", best)
    assert evidence.num_in_region < 4


def test_the_surface_is_not_misled_by_one_lucky_candidate() -> None:
    lucky = int(np.sum((FEATURES - TOP) ** 2, axis=1).argmax())
    trials = trainings(HILL, 3, noise=0.003)
    trials.loc[trials.arch_id == GRID[lucky].arch.arch_id, "val_top1"] += 0.02 + HILL.max() - HILL[lucky]
    evidence = evidence_of(trials)
    assert evidence.best_measured == GRID[lucky]
    assert evidence.chosen != GRID[lucky]
    assert evidence_of(trials, choose="mean").chosen == GRID[lucky]


@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 0.1))
@QUICK
def test_the_choice_is_never_one_that_the_surface_tells_from_its_maximum(number: int, seeds: int, noise: float) -> None:
    evidence = evidence_of(trainings(HILL, seeds, noise, number))
    assert evidence.chosen_by == "surface"
    assert evidence.row(evidence.chosen).in_region
    assert 1 <= evidence.num_in_region <= len(GRID)
    assert evidence.row(evidence.best_measured).untold
    assert 1 <= evidence.num_untold <= len(GRID)


@given(st.integers(0, 10_000), st.floats(0, 0.1), st.sets(st.integers(0, len(GRID) - 1), max_size=len(GRID) - 1))
@QUICK
def test_what_lacks_seeds_is_not_chosen_while_the_surface_allows_another(
    number: int, noise: float, dropped: set[int]
) -> None:
    trials = trainings(HILL, 3, noise, number)
    is_dropped = trials.arch_id.isin([GRID[one].arch.arch_id for one in dropped]) & (trials.seed == 2)
    evidence = evidence_of(trials[~is_dropped])
    others = evidence.table[evidence.table.in_region & (evidence.table.num_seeds == 3)]
    assert evidence.row(evidence.chosen).in_region
    assert evidence.row(evidence.chosen).num_seeds == 3 or others.empty


@given(st.integers(0, 10_000), st.lists(st.floats(-5, 5), min_size=3, max_size=3))
@QUICK
def test_what_a_seed_adds_to_all_changes_no_choice(number: int, constants: list[float]) -> None:
    trials = trainings(HILL, 3, 0.01, number)
    before = evidence_of(trials)
    after = evidence_of(trials.assign(val_top1=trials.val_top1 + trials.seed.map(dict(enumerate(constants)))))
    assert (after.chosen, after.best_measured) == (before.chosen, before.best_measured)
    assert (after.num_untold, after.num_in_region) == (before.num_untold, before.num_in_region)
    assert after.table.arch_id.tolist() == before.table.arch_id.tolist()


@given(st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_the_trials_changes_no_choice(random: Any) -> None:
    trials = trainings(HILL, 3, 0.01)
    order = list(range(len(trials)))
    random.shuffle(order)
    before, after = evidence_of(trials), evidence_of(trials.iloc[order].reset_index(drop=True))
    assert (after.chosen, after.best_measured) == (before.chosen, before.best_measured)
    assert after.table.arch_id.tolist() == before.table.arch_id.tolist()


def test_the_best_measured_one_has_its_mean_and_interval_over_its_seeds() -> None:
    trials = trainings(HILL, 4, 0.01)
    evidence = evidence_of(trials)
    row = evidence.row(evidence.best_measured)
    scores = trials[trials.arch_id == evidence.best_measured.arch.arch_id].val_top1
    assert row.val_top1 == scores.mean() == evidence.table.val_top1.max()
    assert row.val_top1_se == pytest.approx(scores.std() / 2)
    assert row.num_seeds == 4


def test_those_that_cannot_be_told_apart_are_those_of_the_test() -> None:
    trials = trainings(HILL, 3, 0.01)
    evidence, scores = evidence_of(trials), score_table(trials, [each.arch.arch_id for each in GRID])
    untold = evidence.table[evidence.table.untold]
    assert set(untold.arch_id) == set(indistinguishable(scores))
    assert evidence.num_untold == len(untold)
    assert 1 < evidence.num_untold < len(GRID)
    assert evidence.seeds_to_tell == seeds_to_tell(scores)
    assert 3 < evidence.seeds_to_tell < math.inf


def test_less_noise_leaves_fewer_that_cannot_be_told_apart() -> None:
    loud, quiet = (evidence_of(trainings(HILL, 3, noise)) for noise in (0.03, 0.0003))
    assert quiet.num_untold < loud.num_untold
    assert quiet.num_in_region < loud.num_in_region


def test_of_one_seed_nothing_is_told_apart_by_means_and_no_error_is_known() -> None:
    evidence = evidence_of(trainings(HILL, 1, 0.001))
    assert evidence.table.val_top1_se.isna().all()
    assert evidence.num_untold == len(GRID)
    assert math.isnan(evidence.seeds_to_tell)
    assert evidence.surface is not None  # its noise is what the candidates scatter about it
    assert 0 < evidence.num_in_region < len(GRID)


@pytest.mark.parametrize("num", [1, 2])
def test_with_too_few_candidates_for_a_surface_the_best_mean_is_chosen(num: int) -> None:
    few = GRID[:: len(GRID) // num][:num]
    evidence = evidence_of(trainings(HILL, 1, 0.01), few)
    assert evidence.surface is None
    assert (evidence.chosen, evidence.chosen_by) == (evidence.best_measured, "mean")
    assert evidence.num_in_region == 0
    assert evidence.table[["surface_top1", "surface_se"]].isna().all(axis=None)
    assert len(evidence.table) == num


def test_by_mean_the_surface_is_said_but_not_followed() -> None:
    evidence = evidence_of(trainings(HILL, 3, 0.03, number=1), choose="mean")
    assert (evidence.chosen, evidence.chosen_by) == (evidence.best_measured, "mean")
    assert evidence.surface is not None
    assert evidence.table.surface_top1.notna().all()
    assert evidence.num_in_region > 0


def test_the_surface_is_read_at_the_targets_cost() -> None:
    """More compute pays here and nothing else does: no candidate may win by overshooting the target."""
    ratios = np.array([each.realised_ratio for each in GRID])
    table = evidence_of(trainings(0.5 + 0.2 * np.log2(ratios), 2)).table
    assert np.ptp(table.surface_top1) < np.ptp(table.val_top1) / 8  # not 0: doublings do not quite add up


def test_a_candidate_without_a_training_comes_last_and_has_the_surfaces_word_alone() -> None:
    trials = trainings(HILL, 2, 0.003)
    evidence = evidence_of(trials[trials.arch_id != GRID[3].arch.arch_id])
    last = evidence.table.iloc[-1]
    assert last.arch_id == GRID[3].arch.arch_id
    assert last.num_seeds == 0
    assert math.isnan(last.val_top1)
    assert not last.untold
    assert last.surface_top1 == pytest.approx(
        HILL[3] + trials.groupby("seed").val_top1.mean().mean() - HILL.mean(), abs=0.01
    )


def test_one_that_lost_a_seed_is_not_the_best_measured_one_on_the_luck_of_the_rest() -> None:
    best = int(HILL.argmax())
    trials = trainings(HILL, 2)
    evidence = evidence_of(failing(trials, (best, int(trials.groupby("seed").val_top1.mean().idxmin()))))
    assert evidence.best_measured != GRID[best]
    assert evidence.table.val_top1.idxmax() == len(GRID) - 1  # the best mean of all, over the easier seed


def test_where_all_lost_a_seed_the_best_measured_one_is_not_that_with_the_easy_seeds() -> None:
    trials = trainings(HILL, 3)
    easy, hard = (int(getattr(trials.groupby("seed").val_top1.mean(), which)()) for which in ("idxmax", "idxmin"))
    by_worth = [int(index) for index in np.argsort(-HILL)]
    losses = [(one, easy if one == by_worth[0] else hard) for one in by_worth]
    evidence = evidence_of(failing(trials, *losses))
    assert (evidence.table.num_seeds == 2).all()
    assert evidence.table.arch_id.iloc[0] != GRID[by_worth[0]].arch.arch_id
    assert evidence.best_measured == GRID[by_worth[0]]
    assert evidence.row(evidence.best_measured).untold


def test_of_equal_means_the_cheapest_candidate_is_the_best_measured_one() -> None:
    evidence = evidence_of(trainings([0.5] * len(GRID), 1))
    assert evidence.best_measured.cost.macs == min(each.cost.macs for each in GRID)


def test_trainings_of_networks_that_are_no_candidates_count_for_nothing() -> None:
    """As those of a wider subset, that the record holds from an earlier run."""
    trials = trainings(HILL, 2, 0.01)
    few = GRID[::2]
    own = trials[trials.arch_id.isin([each.arch.arch_id for each in few])]
    pd.testing.assert_frame_equal(evidence_of(trials, few).table, evidence_of(own, few).table)


def test_when_every_training_failed_there_is_no_evidence() -> None:
    trials = trainings(HILL, 2)
    with pytest.raises(StudyError, match=r"^every training of the scaling grid failed; the record has each one's"):
        evidence_of(trials.assign(state="FAILED", val_top1=math.nan))


def test_scores_stand_by_candidate_and_seed_with_nothing_where_nothing_was_measured() -> None:
    trials = failing(trainings(HILL, 3), (1, 2))
    ids = [each.arch.arch_id for each in GRID]
    scores = score_table(trials.iloc[::-1], [*ids, "never trained"])
    assert (scores.index.tolist(), scores.columns.tolist()) == ([*ids, "never trained"], [0, 1, 2])
    missing = set(itertools.product(range(len(ids)), range(3))) - set(
        zip(*np.nonzero(scores.notna().to_numpy()), strict=True)
    )
    assert missing == {(1, 2)}
    assert scores.loc["never trained"].isna().all()
    assert scores.loc[ids[4], 1] == trials[(trials.arch_id == ids[4]) & (trials.seed == 1)].val_top1.item()
