"""Agreement of cheap scores with a longer training: known orders, ties, intervals that cover, and the picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from scalesearch.errors import StudyError
from scalesearch.report.fidelity import FidelityInfo, fidelity_info, kendall_tau, top_overlap
from scalesearch.report.plot import save_figure
from scalesearch.report.plot_fidelity import plot_fidelity


def table(reference: list[float], **scores: list[float]) -> pd.DataFrame:
    """Return a row a network; every cheap score takes 2 seconds, the reference 100."""
    columns: dict[str, object] = {"val_top1": reference, "val_top1_seconds": 100.0}
    for name, values in scores.items():
        columns |= {name: values, f"{name}_seconds": 2.0}
    return pd.DataFrame(columns)


def simulate(num_networks: int, correlation: float, seed: int) -> pd.DataFrame:
    """Draw normal scores of a known correlation; of these tau is ``2 / pi * asin(correlation)``."""
    rng = np.random.default_rng(seed)
    truth, noise = rng.standard_normal((2, num_networks))
    cheap = correlation * truth + math.sqrt(1 - correlation**2) * noise
    return table((0.6 + 0.05 * truth).tolist(), cheap=cheap.tolist())


@pytest.fixture
def info() -> FidelityInfo:
    accuracies = [0.50, 0.60, 0.55, 0.65, 0.62, 0.70, 0.68, 0.52]
    same, other = [10 * a for a in accuracies], [1.0, 3.0, 2.0, 2.0, 5.0, 4.0, 6.0, math.nan]
    networks = table(accuracies, same=same, opposite=[-a for a in same], other=other, more=other, last=same)
    return fidelity_info(networks, ["same", "opposite", "other", "last"], num_draws=500)


def test_the_same_order_has_tau_1_and_the_opposite_minus_1(info: FidelityInfo) -> None:
    same, opposite = info.rows[:2]
    assert (same.tau, same.tau_low, same.tau_high) == (1, 1, 1)
    assert (opposite.tau, opposite.tau_low, opposite.tau_high) == (-1, -1, -1)
    assert [(top.k, top.overlap, top.low, top.high) for top in same.top] == [(3, 1, 1, 1)] * 2
    assert [(top.k, top.overlap) for top in opposite.top] == [(3, 0), (3, 0)]


def test_a_network_without_a_score_is_left_out_and_ties_share_their_rank(info: FidelityInfo) -> None:
    other = info.rows[2]
    assert (other.num_networks, info.rows[0].num_networks) == (7, 8)
    assert other.ranks == (7, 4, 5.5, 5.5, 2, 3, 1)
    assert other.references == (0.50, 0.60, 0.55, 0.65, 0.62, 0.70, 0.68)
    assert other.tau == pytest.approx(kendalltau([1, 3, 2, 2, 5, 4, 6], other.references).statistic)


def test_the_seconds_are_a_networks_mean_of_those_measured() -> None:
    networks = table([0.1, 0.2, 0.3, 0.4], cheap=[1, 2, 3, math.nan])
    networks["cheap_seconds"] = [1.0, 2.0, 6.0, 1000.0]
    networks.loc[3, "val_top1_seconds"] = 500.0
    info = fidelity_info(networks, ["cheap"], num_draws=10)
    assert (info.rows[0].mean_seconds, info.reference_seconds) == (3.0, 200.0)


@pytest.mark.parametrize("num_levels", [3, 1000])
def test_tau_of_every_sample_is_scipys_tau_b_of_its_networks(num_levels: int) -> None:
    rng = np.random.default_rng(0)
    one, two = rng.integers(num_levels, size=(2, 15)).astype(float)
    counts = rng.multinomial(15, [1 / 15] * 15, 20).astype(float)
    for tau, count in zip(kendall_tau(one, two, counts), counts.astype(int), strict=True):
        expected = kendalltau(np.repeat(one, count), np.repeat(two, count)).statistic
        assert tau == pytest.approx(expected)


def test_overlap_of_every_sample_is_that_of_its_sorted_networks() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.permutation(15), rng.permutation(15)
    counts = rng.multinomial(15, [1 / 15] * 15, 20).astype(float)
    for overlap, count in zip(top_overlap(one, two, 4, counts), counts.astype(int), strict=True):
        networks = np.repeat(np.arange(15), count)
        best = [networks[np.argsort(-values[networks], kind="stable")][:4] for values in (one, two)]
        shared = sum(min((best[0] == network).sum(), (best[1] == network).sum()) for network in range(15))
        assert overlap == shared / 4


def test_a_score_that_ties_at_the_cut_has_the_overlap_of_chance() -> None:
    one, two = np.zeros(10), np.arange(10.0)
    assert top_overlap(one, two, 3, np.ones((1, 10))) == pytest.approx([0.3])
    one[7:] = 1  # the best three by both
    assert top_overlap(one, two, 3, np.ones((1, 10))) == pytest.approx([1.0])


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_the_interval_holds_the_true_tau_about_as_often_as_it_says(correlation: float) -> None:
    true = 2 / math.pi * math.asin(correlation)
    rows = [fidelity_info(simulate(40, correlation, seed), ["cheap"], num_draws=200).rows[0] for seed in range(120)]
    assert np.mean([row.tau for row in rows]) == pytest.approx(true, abs=0.03)
    covered = np.mean([row.tau_low <= true <= row.tau_high for row in rows])
    assert 0.87 <= covered <= 0.99  # 0.95, with a standard error of 0.02


def test_more_networks_make_the_interval_narrower() -> None:
    few, many = (fidelity_info(simulate(n, 0.5, 0), ["cheap"]).rows[0] for n in (20, 320))
    ratio = (few.tau_high - few.tau_low) / (many.tau_high - many.tau_low)
    assert 2.5 < ratio < 6.5  # the square root of 16 is 4
    assert [top.k for top in few.top] == [3, 5]
    assert [top.k for top in many.top] == [32, 80]


def test_the_same_seed_gives_the_same_intervals() -> None:
    networks = simulate(20, 0.5, 0)
    assert fidelity_info(networks, ["cheap"]) == fidelity_info(networks, ["cheap"])
    assert fidelity_info(networks, ["cheap"]) != fidelity_info(networks, ["cheap"], seed=1)


@pytest.mark.parametrize(
    ("networks", "scores", "sentence"),
    [
        (
            table([0.1, 0.2, 0.3], a=[1, 2, math.nan]),
            ["a"],
            "fidelity of a needs at least 3 networks with a and val_top1, got 2",
        ),
        (table([0.1, 0.2, 0.3], a=[5, 5, 5]), ["a"], "fidelity of a needs values that differ, got a = 5 everywhere"),
        (table([0.1, 0.1, 0.1], a=[1, 2, 3]), ["a"], "needs values that differ, got val_top1 = 0.1 everywhere"),
        (table([0.1, 0.2, 0.3], a=[1, 2, 3]), ["a", "b"], "lacks b, b_seconds; it has val_top1, val_top1_seconds, a"),
        (table([0.1, 0.2, 0.3]), [], "at least one cheap score, got none"),
    ],
)
def test_what_cannot_be_ranked_is_one_sentence(networks: pd.DataFrame, scores: list[str], sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        fidelity_info(networks, scores)


def texts(figure: Figure) -> str:
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return "\n".join(artist.get_text() for artist in found).replace("\n", " ")


def test_each_panel_has_its_networks_its_tau_and_its_cost(info: FidelityInfo) -> None:
    figure = plot_fidelity(info)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 4
    for axes, row in zip(panels, info.rows, strict=True):
        [dots] = [line for line in axes.get_lines() if line.get_gid() == f"networks-{row.name}"]
        assert (tuple(dots.get_xdata()), tuple(dots.get_ydata())) == (row.ranks, row.references)
        low, high = axes.get_xlim()
        assert low > max(row.ranks) > min(row.ranks) > high  # the best to the right
        assert axes.get_ylim() == panels[0].get_ylim()
    assert "τ 1.00 [1.00, 1.00]" in texts(figure)
    assert "τ \N{MINUS SIGN}1.00" in texts(figure)
    assert "best 3: 100 %" in texts(figure)
    assert "7 to 8 networks" in texts(figure)
    assert "the training drawn took 100 s" in texts(figure)
    assert "500 bootstrap samples" in texts(figure)


@pytest.mark.parametrize("num_scores", [1, 2, 3, 5])
def test_titles_of_panels_stay_within_the_figure_and_apart(num_scores: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((5, 40)).tolist()
    scores = {f"grad_norm{i}": values[i] for i in range(num_scores)}
    figure = plot_fidelity(fidelity_info(table(np.linspace(0.5, 0.9, 40).tolist(), **scores), list(scores)))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    assert len(boxes) == 4 * num_scores
    assert all(figure.bbox.contains(*box.min) and figure.bbox.contains(*box.max) for box in boxes)
    assert not any(one.overlaps(two) for index, one in enumerate(boxes) for two in boxes[:index])
    assert all(path.stat().st_size > 0 for path in save_figure(figure, tmp_path / "fidelity"))
