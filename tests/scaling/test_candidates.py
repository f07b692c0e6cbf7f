"""Which networks a grid gives: the same as scaling and costing every point, only sooner."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch import ArchSpec, Cost, ScalingFactors, StageSpec, network_cost, published_arch, scale_arch
from scalesearch.arch.budget import Budget
from scalesearch.errors import ConfigError, StudyError
from scalesearch.scaling import ScalingCandidate, scaling_grid
from scalesearch.scaling.candidates import grid_points

B0 = published_arch("efficientnet-b0")
B0_MACS = network_cost(B0).macs
TINY = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_c16", "ir_r2_k3_s2_e2_c24"], stem_channels=16, head_channels=32, image_size=16, stem_stride=1
)


def stages() -> st.SearchStrategy[StageSpec]:
    """Stages of every block type; widths that are no multiples of 8 too."""
    shape = {
        "kernel_size": st.sampled_from([1, 3, 5]),
        "stride": st.sampled_from([1, 2]),
        "out_channels": st.integers(1, 70),
        "num_blocks": st.integers(1, 6),
    }
    squeezes, ratios = st.sampled_from([0.0, 0.05, 0.25]), st.sampled_from([1.0, 2.5, 6.0])
    plain = st.builds(StageSpec, st.just("cn"), expand_ratio=st.just(1.0), **shape)
    separable = st.builds(StageSpec, st.just("ds"), expand_ratio=st.just(1.0), se_ratio=squeezes, **shape)
    expanding = st.builds(StageSpec, st.sampled_from(["ir", "er"]), expand_ratio=ratios, se_ratio=squeezes, **shape)
    return plain | separable | expanding


bases = st.builds(
    ArchSpec,
    st.lists(stages(), min_size=1, max_size=4).map(tuple),
    stem_channels=st.integers(1, 50),
    head_channels=st.integers(1, 100),
    image_size=st.integers(1, 70),
    stem_stride=st.sampled_from([1, 2]),
)


def one_by_one(base: ArchSpec, step: float, constraint: str, rounding: Any, num_classes: int, **asked: float) -> list:
    """The truth: every point scaled and costed by itself."""
    base_macs = network_cost(base, num_classes=num_classes).macs
    merged: dict[ArchSpec, list[ScalingFactors]] = {}
    for point in grid_points(step):
        arch = scale_arch(base, point, rounding=rounding)
        ratio = network_cost(arch, num_classes=num_classes).macs / base_macs
        if (
            abs((point.product if constraint == "formula" else ratio) / asked["target"] - 1)
            <= asked["tolerance"] + 1e-9
        ):
            merged.setdefault(arch, []).append(point)
    found = []
    for arch, points in merged.items():
        cost = network_cost(arch, num_classes=num_classes)
        points.sort(key=lambda point: abs(point.product / asked["target"] - 1))
        found.append(ScalingCandidate(arch, cost, tuple(points), cost.macs / base_macs))
    return sorted(found, key=lambda candidate: (candidate.cost.macs, candidate.arch.arch_id))


@settings(max_examples=50)
@given(
    bases,
    st.sampled_from([0.13, 0.2, 0.25, 0.5]),
    st.sampled_from(["realised", "formula"]),
    st.sampled_from(["ceil", "round", "floor"]),
    st.integers(1, 20),
    st.floats(1.0, 8.0),
    st.sampled_from([0.0, 0.02, 0.1, 0.5]),
)
def test_the_candidates_are_those_of_scaling_and_costing_every_point(
    base: ArchSpec,
    step: float,
    constraint: str,
    rounding: Any,
    num_classes: int,
    target: float,
    tolerance: float,
) -> None:
    keys = {"step": step, "constraint": constraint, "rounding": rounding, "num_classes": num_classes}
    truth = one_by_one(base, **keys, target=target, tolerance=tolerance)
    if truth:
        assert scaling_grid(base, **keys, target=target, tolerance=tolerance).candidates == truth
    else:
        with pytest.raises(StudyError, match=r"^no point of the grid"):
            scaling_grid(base, **keys, target=target, tolerance=tolerance)


def test_the_grid_has_every_step_from_one_to_two() -> None:
    points = list(grid_points(0.05))
    assert len(points) == len(set(points)) == 21**3
    assert (points[0], points[-1]) == (ScalingFactors(1, 1, 1), ScalingFactors(2, 2, 2))
    assert {point.alpha for point in grid_points(0.3)} == {1.0, 1.3, 1.6, 1.9}


def test_by_the_papers_formula_109_points_of_b0s_grid_are_65_networks_of_1_93_to_3_33_times_its_macs() -> None:
    grid = scaling_grid(B0, constraint="formula")
    assert sum(len(candidate.points) for candidate in grid.candidates) == 109
    assert len(grid.candidates) == len({candidate.arch.arch_id for candidate in grid.candidates}) == 65
    misses = [abs(point.product - 2) for candidate in grid.candidates for point in candidate.points]
    assert max(misses) <= 0.1 + 1e-9
    assert sum(miss == pytest.approx(0.1, abs=1e-9) for miss in misses) == 1  # on the edge, and inside
    info = grid.info
    assert (info.points, info.points_on_target, info.networks_on_target) == (21**3, 109, 65)
    assert (info.points_merged, info.points_on_edge, info.networks_over_budget) == (44, 1, 0)
    assert (round(info.lowest_ratio, 2), round(info.highest_ratio, 2)) == (1.93, 3.33)
    assert str(info) == (
        "109 of 9,261 grid points meet the target (1 exactly on the tolerance's edge) and give 65 distinct networks,"
        " with 1.93 to 3.33 times the base's macs"
    )


def test_no_point_is_on_the_edge_of_a_tolerance_that_none_misses_by() -> None:
    assert "edge" not in str(scaling_grid(B0, constraint="formula", tolerance=0.049).info)
    assert "edge" not in str(scaling_grid(B0, constraint="formula", tolerance=0.0).info)  # exact, and said without it


@pytest.mark.parametrize("rounding", ["ceil", "round", "floor"])
def test_every_realised_candidate_costs_the_target_within_the_tolerance(rounding: Any) -> None:
    candidates = scaling_grid(B0, rounding=rounding, step=0.1).candidates
    assert len(candidates) > 1
    for candidate in candidates:
        assert candidate.cost == network_cost(candidate.arch)
        assert candidate.realised_ratio == candidate.cost.macs / B0_MACS
        assert abs(candidate.realised_ratio / 2 - 1) <= 0.05


def test_every_point_of_a_candidate_gives_its_network_and_the_nearest_product_names_it() -> None:
    candidates = scaling_grid(B0).candidates
    assert any(len(candidate.points) > 1 for candidate in candidates)
    for candidate in candidates:
        assert {scale_arch(B0, point) for point in candidate.points} == {candidate.arch}
        misses = [abs(point.product - 2) for point in candidate.points]
        assert misses == sorted(misses)
        assert candidate.factors == candidate.points[0]


def test_candidates_come_in_rising_macs() -> None:
    costs = [candidate.cost.macs for candidate in scaling_grid(B0, step=0.1, tolerance=0.2).candidates]
    assert all(one <= other for one, other in pairwise(costs))


@pytest.mark.parametrize("name", Cost._fields)
def test_candidates_over_the_budget_are_left_out_and_counted(name: str) -> None:
    free = scaling_grid(B0, step=0.1)
    costs = sorted(getattr(candidate.cost, name) for candidate in free.candidates)
    limit = costs[len(costs) // 2]
    grid = scaling_grid(B0, step=0.1, budget=Budget(**{name: limit}))
    assert grid.candidates == [candidate for candidate in free.candidates if getattr(candidate.cost, name) <= limit]
    assert 0 < len(grid.candidates) < len(free.candidates)
    assert grid.info.networks_over_budget == len(free.candidates) - len(grid.candidates)
    assert grid.info.networks_on_target == free.info.networks_on_target
    assert grid.info.highest_ratio == grid.candidates[-1].realised_ratio
    assert f"{grid.info.networks_over_budget} of them over the budget" in str(grid.info)


def test_a_budget_that_no_candidate_meets_is_refused_with_the_nearest() -> None:
    cheapest = min(candidate.cost.macs for candidate in scaling_grid(B0, step=0.1).candidates)
    sentence = (
        rf"^all \d+ networks of the grid that meet target 2 are over the budget; the nearest, alpha [\d.]+, beta"
        rf" [\d.]+, gamma [\d.]+, has {cheapest:,} macs where budget\.macs is {cheapest - 1:,}$"
    )
    with pytest.raises(StudyError, match=sentence):
        scaling_grid(B0, step=0.1, budget=Budget(macs=cheapest - 1))


@pytest.mark.parametrize("name", Cost._fields)
def test_a_base_over_the_budget_is_refused_before_the_grid(name: str) -> None:
    own = getattr(network_cost(B0), name)
    sentence = rf"^budget\.{name} must be at least {own:,}, what the base itself has .*; got {own - 1:,}$"
    with pytest.raises(ConfigError, match=sentence):
        scaling_grid(B0, budget=Budget(**{name: own - 1}))


@pytest.mark.parametrize(("constraint", "column"), [("realised", 0), ("formula", 1)])
def test_a_grid_without_a_feasible_point_is_refused_with_the_three_nearest_networks(
    constraint: str, column: int
) -> None:
    with pytest.raises(StudyError) as error:
        scaling_grid(B0, target=2.9, step=0.25, tolerance=1e-5, constraint=constraint)
    sentence = str(error.value)
    assert sentence.startswith("no point of the grid (step 0.25) is within tolerance 1e-05 of target 2.9; tolerance ")
    named = re.findall(
        r"alpha ([\d.]+), beta ([\d.]+), gamma ([\d.]+) \(([\d.]+) times .*?, product ([\d.]+)\)", sentence
    )
    every: dict[ArchSpec, list[tuple[float, float]]] = {}
    for point in grid_points(0.25):
        arch = scale_arch(B0, point)
        every.setdefault(arch, []).append((network_cost(arch).macs / B0_MACS, point.product))
    misses = sorted(min(abs(pair[column] / 2.9 - 1) for pair in pairs) for pairs in every.values())
    archs = [scale_arch(B0, ScalingFactors(*map(float, each[:3]))) for each in named]
    assert len(set(archs)) == 3
    for arch, miss, each in zip(archs, misses, named, strict=False):
        assert network_cost(arch).macs / B0_MACS == pytest.approx(float(each[3]), rel=1e-3)
        assert abs(float(each[3 + column]) / 2.9 - 1) == pytest.approx(miss, abs=1e-3)


@pytest.mark.parametrize("constraint", ["realised", "formula"])
def test_the_tolerance_that_the_refusal_names_suffices_and_is_not_generous(constraint: str) -> None:
    keys = {"target": 2.9, "step": 0.25, "constraint": constraint}
    with pytest.raises(StudyError) as error:
        scaling_grid(B0, tolerance=0.0, **keys)
    enough = float(re.search(r"; tolerance ([\d.e-]+) would take", str(error.value))[1])
    assert scaling_grid(B0, tolerance=enough, **keys).candidates
    with pytest.raises(StudyError):
        scaling_grid(B0, tolerance=0.9 * enough, **keys)


def test_an_unknown_constraint_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^constraint must be one of realised, formula, got 'free'$"):
        scaling_grid(B0, constraint="free")
