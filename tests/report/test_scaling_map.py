"""The map of scaling rules: where candidates lie, where the surface is shown, and what its region holds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from scalesearch.arch import published_arch
from scalesearch.errors import StudyError
from scalesearch.report.scaling_map import MapInfo, scaling_map_info
from scalesearch.scaling.candidates import scaling_grid
from scalesearch.scaling.doublings import at_equal_cost, cost_doublings
from scalesearch.scaling.surface import ResponseSurface, fit_surface

BASE = published_arch("efficientnet-b0")
TOP = (0.4, 0.3, 0.3)  # doublings by depth, width and resolution where the made-up accuracy is highest


class Grid(NamedTuple):
    """A grid that was never trained: its table, its surface, and the candidate it would take."""

    table: pd.DataFrame
    surface: ResponseSurface
    chosen: str


def make_grid(target: float = 2.0, noise: float = 0.001) -> Grid:
    """Return B0's candidates with three seeds each, every third one with one, and a hill with its top at ``TOP``."""
    candidates = scaling_grid(BASE, target=target).candidates
    features = cost_doublings(BASE, [each.factors for each in candidates])
    rng, rows, trainings = np.random.default_rng(0), [], []
    for index, (each, point) in enumerate(zip(candidates, features, strict=True)):
        seeds = range(1 if index % 3 == 0 else 3)
        hill = 0.6 - 0.05 * float(np.sum((point - np.array(TOP) * math.log2(target)) ** 2))
        scores = pd.Series(hill + rng.normal(0, noise, len(seeds)))
        trainings += [(index, score, seed) for score, seed in zip(scores, seeds, strict=True)]
        factors = {"alpha": each.factors.alpha, "beta": each.factors.beta, "gamma": each.factors.gamma}
        means = {"val_top1": scores.mean(), "val_top1_se": scores.sem(), "num_seeds": len(seeds)}
        rows.append({**factors, "realised_ratio": each.realised_ratio, **means, "arch_id": each.arch.arch_id})
    owners, accuracies, seeds = zip(*trainings, strict=True)
    surface = fit_surface(features[list(owners)], accuracies, seeds)
    best = surface.maximum(at_equal_cost(features, target))
    return Grid(pd.DataFrame(rows), surface, candidates[best].arch.arch_id)


def draw_up(grid: Grid, surface: ResponseSurface | None, target: float = 2.0) -> MapInfo:
    return scaling_map_info(grid.table, surface, BASE, target=target, rounding="ceil", chosen_arch_id=grid.chosen)


@pytest.fixture(scope="module")
def grid() -> Grid:
    return make_grid()


@pytest.fixture(scope="module")
def info(grid: Grid) -> MapInfo:
    return draw_up(grid, grid.surface)


def lattice(info: MapInfo) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return beta, gamma and alpha at each point of the field."""
    assert info.field is not None
    betas, gammas = np.array(info.field.betas), np.array(info.field.gammas)
    return betas, gammas, info.target / (betas * gammas) ** 2


@pytest.mark.parametrize("target", [1.5, 2.0, 3.0, 6.0, 20.0])
def test_the_field_fills_the_constraint_within_the_grids_limits(grid: Grid, target: float) -> None:
    betas, gammas, alphas = lattice(draw_up(grid, grid.surface, target))
    assert (alphas.min(), alphas.max()) == pytest.approx((max(1, target / 16), min(2, target)))
    for values in (betas, gammas):
        least, most = math.sqrt(target / 8), math.sqrt(target)  # with the two others at their most and least
        assert (values.min(), values.max()) == pytest.approx((max(1, least), min(2, most)))
    assert np.ptp(alphas, axis=1) == pytest.approx(0, abs=1e-9)
    assert (np.diff(alphas[:, 0]) > 0).all()


def test_the_field_ends_at_every_corner_of_the_constraint(grid: Grid) -> None:
    betas, gammas, _ = lattice(draw_up(grid, grid.surface, 6.0))
    most = math.sqrt(1.5)  # of beta, or of gamma, where the other is 2 and alpha 1
    for beta, gamma in ((most, 2), (2, most), (2, 1), (math.sqrt(3), 1), (1, math.sqrt(3)), (1, 2)):
        assert np.hypot(betas - beta, gammas - gamma).min() == pytest.approx(0, abs=1e-9)


def test_the_field_is_the_surface_on_the_constraint(grid: Grid, info: MapInfo) -> None:
    assert info.field is not None
    betas, gammas, alphas = lattice(info)
    row, column = 7, 15
    point = [math.log2(alphas[row, column]), 2 * math.log2(betas[row, column]), 2 * math.log2(gammas[row, column])]
    assert sum(point) == pytest.approx(1)
    assert info.field.predicted[row][column] == pytest.approx(float(grid.surface.predict([point])[0][0]))


def test_a_candidate_lies_at_its_realised_factors_at_the_targets_macs(grid: Grid, info: MapInfo) -> None:
    for each in info.candidates:
        row = grid.table[grid.table.arch_id == each.arch_id].iloc[0]
        assert (each.alpha, each.beta, each.gamma) == (row.alpha, row.beta, row.gamma)
        assert 0.95 < each.width / each.beta < 1.05  # rounded to eights of channels
        assert 0.95 < each.resolution / each.gamma < 1.10
    [deepest] = [each for each in info.candidates if each.alpha == 2]
    assert (deepest.width, deepest.resolution) == pytest.approx((1, 1), abs=0.01)


def test_candidates_with_fewer_seeds_are_the_dropped_ones(grid: Grid, info: MapInfo) -> None:
    fewer = set(grid.table[grid.table.num_seeds == 1].arch_id)
    assert {each.arch_id for each in info.dropped} == fewer
    assert {each.arch_id for each in info.complete} == set(grid.table.arch_id) - fewer
    assert info.most_seeds == 3


def test_the_region_holds_the_maximum_and_not_the_corners(info: MapInfo) -> None:
    assert info.field is not None
    betas, gammas, _ = lattice(info)
    margins = np.array(info.field.margins)
    at_top = np.hypot(betas - 2 ** (TOP[1] / 2), gammas - 2 ** (TOP[2] / 2)).argmin()
    assert margins.ravel()[at_top] > 0
    assert margins.ravel()[np.argmax(info.field.predicted)] > 0
    assert max(margins[0, 0], margins[0, -1], margins[-1, 0]) < 0


def test_more_noise_makes_the_region_larger(info: MapInfo) -> None:
    noisy = make_grid(noise=0.05)
    drawn = draw_up(noisy, noisy.surface)
    assert drawn.field is not None
    assert info.field is not None
    shares = [np.mean(np.array(field.margins) >= 0) for field in (info.field, drawn.field)]
    assert 0 < shares[0] < 0.3 < shares[1]


def test_lines_of_alpha_end_on_the_constraint(info: MapInfo) -> None:
    assert [line.alpha for line in info.alpha_lines] == [1.0, 1.2, 1.4, 1.6, 1.8]  # 2 is a corner
    for line in info.alpha_lines:
        for beta, gamma in (line.start, line.end):
            assert line.alpha * beta**2 * gamma**2 == pytest.approx(2)
            assert min(beta, gamma) == pytest.approx(1)


def test_the_landmark_is_the_published_rule(info: MapInfo) -> None:
    assert (info.landmark.alpha, info.landmark.beta, info.landmark.gamma) == (1.2, 1.1, 1.15)


def test_without_a_surface_there_is_no_field_and_the_scores_are_the_candidates(grid: Grid) -> None:
    bare = draw_up(grid, None)
    assert bare.field is None
    complete = grid.table[grid.table.num_seeds == 3].val_top1
    assert bare.score_limits == (complete.min(), complete.max())


def test_a_candidate_without_a_score_is_counted_and_may_be_the_chosen_one(grid: Grid) -> None:
    table = grid.table.copy()
    table.loc[table.arch_id == grid.chosen, ["val_top1", "val_top1_se", "num_seeds"]] = math.nan, math.nan, 0
    drawn = draw_up(grid._replace(table=table), None)
    assert drawn.num_untrained == 1
    assert drawn.chosen.arch_id == grid.chosen
    assert grid.chosen not in {each.arch_id for each in drawn.candidates}


def test_the_same_grid_gives_the_same_map(grid: Grid, info: MapInfo) -> None:
    again = draw_up(grid, grid.surface)
    assert again.field == info.field
    # a candidate with one seed has a standard error of NaN, which equals nothing
    assert repr(replace(again, field=None)) == repr(replace(info, field=None))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"drop": "num_seeds"}, "lacks the columns num_seeds"),
        ({"scores": math.nan}, "none of 20 candidates has a score"),
        ({"chosen": "nobody"}, "must be one of the table's, got arch_id nobody"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_refused(grid: Grid, change: dict[str, object], match: str) -> None:
    table = grid.table.drop(columns=change["drop"]) if "drop" in change else grid.table
    table = table.assign(val_top1=change["scores"]) if "scores" in change else table
    with pytest.raises(StudyError, match=match):
        draw_up(Grid(table, grid.surface, str(change.get("chosen", grid.chosen))), None)
