from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

from scalesearch.errors import StudyError
from scalesearch.report.analysis import choice_table, frontier_info, scaling_info

NewTrial = Callable[..., dict[str, object]]


def test_seeds_of_a_network_become_one_point(trials: pd.DataFrame) -> None:
    b0, *rest = frontier_info(trials).members("family")
    assert len(rest) == 2
    assert (b0.label, b0.num_seeds, b0.cost) == ("b0", 2, 4e6)
    assert b0.score == pytest.approx(0.705)
    assert b0.standard_error == pytest.approx(0.005)


def test_one_seed_has_no_standard_error(trials: pd.DataFrame) -> None:
    assert all(math.isnan(point.standard_error) for point in frontier_info(trials).members("search"))


def test_a_repeated_seed_counts_once(new_trial: NewTrial) -> None:
    rows = [new_trial("search", "a", 0.5, 1000, number=n, seed=0) for n in range(3)]
    assert frontier_info(pd.DataFrame(rows)).points[0].num_seeds == 1


def test_another_image_size_is_another_network(new_trial: NewTrial) -> None:
    rows = [new_trial("scale", "a", 0.5, size * 10, image_size=size) for size in (64, 72)]
    assert len(frontier_info(pd.DataFrame(rows)).points) == 2


def test_each_series_has_its_own_front(trials: pd.DataFrame) -> None:
    info = frontier_info(trials)
    assert [series.name for series in info.series] == ["search", "family", "random"]
    assert [point.arch_id for point in info.front("search")] == ["s0", "s1", "s3"]
    assert [point.arch_id for point in info.front("random")] == ["r0", "r1"]


def test_front_is_in_rising_cost_and_the_family_in_rising_macs(new_trial: NewTrial) -> None:
    # the larger network is the faster one
    rows = [new_trial("family", "a", 0.6, 2000, latency_ms=1.0), new_trial("family", "b", 0.7, 1000, latency_ms=2.0)]
    info = frontier_info(pd.DataFrame(rows), cost="latency_ms")
    assert [point.arch_id for point in info.members("family")] == ["b", "a"]
    assert [point.arch_id for point in info.front("family")] == ["a", "b"]


def test_hypervolume_is_measured_from_one_corner(trials: pd.DataFrame) -> None:
    info = frontier_info(trials)
    assert info.reference == (16e6, 0.4)
    assert info.hypervolume >= max(series.hypervolume for series in info.series)
    other = frontier_info(trials, reference=(4e6, 0.5))
    # s1 alone lies inside: 2 M macs wide, 0.1 high
    assert other.series[0].hypervolume == pytest.approx(2e6 * 0.1)


def test_unfinished_trials_are_counted_and_not_drawn(trials: pd.DataFrame) -> None:
    info = frontier_info(trials, budget=5e6)
    assert (info.num_infeasible, info.num_failed, info.num_pruned, info.budget) == (1, 1, 0, 5e6)
    assert not {"big", "nan"} & {point.arch_id for point in info.points}


def test_networks_without_latency_are_left_out_and_counted(trials: pd.DataFrame) -> None:
    info = frontier_info(trials, cost="latency_ms")
    random = next(series for series in info.series if series.name == "random")
    assert (random.num_networks, random.num_left_out, random.hypervolume) == (0, 2, 0.0)
    assert info.members("random") == ()


def test_a_table_with_nothing_to_show_is_refused(trials: pd.DataFrame) -> None:
    with pytest.raises(StudyError, match="at least one COMPLETE trial, got 1 INFEASIBLE, 1 FAILED"):
        frontier_info(trials[trials["state"] != "COMPLETE"])
    with pytest.raises(StudyError, match="at least one COMPLETE trial, got no trials"):
        frontier_info(trials.head(0))
    with pytest.raises(StudyError, match="no complete trial has both macs and test_top1"):
        frontier_info(trials, score="test_top1")
    with pytest.raises(StudyError, match="lacks the columns latency_ms; it has part"):
        frontier_info(trials.drop(columns="latency_ms"), cost="latency_ms")


def test_candidates_within_noise_are_those_the_seeds_cannot_part(scale_trials: pd.DataFrame) -> None:
    info = scaling_info(scale_trials)
    assert [candidate.arch_id for candidate in info.candidates] == ["deep", "wide", "large"]
    # every pair of seeds is 0.01 apart: the pooled sd is 0.01 / sqrt(2)
    assert info.seed_sd == pytest.approx(0.01 / math.sqrt(2))
    assert [candidate.arch_id for candidate in info.within_noise] == ["deep", "wide"]


def test_a_candidate_with_fewer_seeds_is_not_put_first_by_luck(scale_trials: pd.DataFrame) -> None:
    dropped = (scale_trials["arch_id"] == "deep") & (scale_trials["seed"] == 1)
    info = scaling_info(scale_trials[~dropped])
    assert [candidate.arch_id for candidate in info.candidates] == ["wide", "large", "deep"]


def test_with_one_seed_each_nothing_can_be_told_apart(scale_trials: pd.DataFrame) -> None:
    info = scaling_info(scale_trials[scale_trials["seed"] == 0])
    assert math.isnan(info.seed_sd)
    assert len(info.within_noise) == 3


def test_choice_table_has_a_row_a_candidate(scale_trials: pd.DataFrame) -> None:
    table = choice_table(scaling_info(scale_trials))
    assert table["score"].is_monotonic_decreasing
    assert {"alpha", "beta", "gamma", "product", "realised_ratio", "standard_error", "num_seeds"} <= set(table.columns)


def test_a_grid_without_scores_or_rules_is_refused(scale_trials: pd.DataFrame) -> None:
    with pytest.raises(StudyError, match="no complete trial has test_top1"):
        scaling_info(scale_trials, score="test_top1")
    with pytest.raises(StudyError, match="lacks the columns alpha, gamma"):
        scaling_info(scale_trials.drop(columns=["alpha", "gamma"]))
