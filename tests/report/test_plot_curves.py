"""Scaling curves: the points of each strategy, its law within and beyond what was measured, and the picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from scalesearch.errors import StudyError
from scalesearch.report.curves import REACH, CurvesInfo, curves_info
from scalesearch.report.plot import save_figure
from scalesearch.report.plot_curves import plot_curves

EXPONENTS = {"compound": 0.2, "depth": 0.1, "width": 0.15, "resolution": 0.12, "dWr": 0.18}


def networks(*, highest_phi: int = 3, num_seeds: int = 3) -> pd.DataFrame:
    """Return a table whose errors are exact power laws of the macs from a common base on; latency goes with macs."""
    rows = []
    for strategy, exponent in EXPONENTS.items():
        for phi in range(0 if strategy == "compound" else 1, highest_phi + 1):
            macs = 4_000_000 * 2**phi
            rows.append(
                {
                    "member": f"phi={phi}" if strategy == "compound" else f"phi={phi} {strategy}",
                    "strategy": strategy,
                    "phi": float(phi),
                    "macs": macs,
                    "latency_ms": 2.0 * 1.5**phi,
                    "val_top1": 1 - 0.5 * (macs / 4e6) ** -exponent,
                    "val_top1_se": 0.004 if num_seeds > 1 else math.nan,
                    "num_seeds": num_seeds,
                    "image_size": 32,
                    "arch_id": f"{strategy}-{phi}",
                }
            )
    return pd.DataFrame(rows)


def both(table: pd.DataFrame) -> tuple[CurvesInfo, CurvesInfo]:
    return curves_info(table), curves_info(table, cost="latency_ms")


def by_gid(axes: Axes, gid: str) -> list:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_every_curve_begins_at_the_common_base_in_rising_macs() -> None:
    info = curves_info(networks())
    assert info.curves[0].strategy == "compound"
    assert {curve.strategy for curve in info.curves} == set(EXPONENTS)
    assert info.base is not None
    assert info.base.cost == 4_000_000
    for curve in info.curves:
        assert curve.points[0] == info.base
        assert [point.cost for point in curve.points] == [4e6, 8e6, 16e6, 32e6]
        assert [point.arch_id for point in info.own_points(curve)] == [f"{curve.strategy}-{phi}" for phi in (1, 2, 3)]


def test_exponents_are_those_the_errors_were_made_with() -> None:
    by_macs, by_latency = both(networks())
    for curve, other in zip(by_macs.curves, by_latency.curves, strict=True):
        assert curve.fit is not None
        assert other.fit is not None
        assert curve.fit.exponent == pytest.approx(EXPONENTS[curve.strategy])
        assert other.fit.exponent == pytest.approx(EXPONENTS[curve.strategy] * math.log(2) / math.log(1.5))


def test_extrapolation_begins_at_the_highest_measured_cost_and_goes_on_with_the_same_law() -> None:
    for info in both(networks()):
        for curve in info.curves:
            assert curve.fit is not None
            highest = max(point.cost for point in curve.points)
            assert curve.fit.measured[0][0] == pytest.approx(min(point.cost for point in curve.points))
            assert curve.fit.measured[-1] == pytest.approx(curve.fit.extrapolated[0])
            assert curve.fit.extrapolated[0][0] == pytest.approx(highest)
            lowest = min(point.cost for point in curve.points)
            assert curve.fit.extrapolated[-1][0] == pytest.approx(min(REACH, highest / lowest) * highest)


def test_two_networks_make_no_law() -> None:
    info = curves_info(networks(highest_phi=1))
    assert [curve.fit for curve in info.curves] == [None] * 5
    assert all(len(curve.points) == 2 for curve in info.curves)


def test_a_network_without_a_score_is_left_out_and_counted() -> None:
    table = networks()
    table.loc[table.arch_id == "depth-2", "val_top1"] = math.nan
    info = curves_info(table)
    [depth] = [curve for curve in info.curves if curve.strategy == "depth"]
    assert info.num_left_out == 1
    assert len(depth.points) == 3
    assert "left out for want of macs or score: 1" in texts(plot_curves(*both(table))).replace("\n", " ")


def test_a_table_without_a_base_has_curves_of_their_own() -> None:
    info = curves_info(networks().query("phi > 0"))
    assert info.base is None
    assert all(len(curve.points) == 3 for curve in info.curves)
    assert not by_gid(plot_curves(info, info).axes[0], "base")


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (networks().drop(columns="latency_ms"), "lacks the columns latency_ms"),
        (networks().assign(latency_ms=math.nan), "no network of the curves has both latency_ms and val_top1, of 16"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_refused(table: pd.DataFrame, match: str) -> None:
    with pytest.raises(StudyError, match=match):
        curves_info(table, cost="latency_ms")


def test_marks_and_bars_are_where_the_networks_are() -> None:
    infos = both(networks())
    figure = plot_curves(*infos)
    for axes, info in zip(figure.axes, infos, strict=True):
        for curve in info.curves:
            [dots] = by_gid(axes, f"curve-{curve.strategy}")
            own = info.own_points(curve)
            assert list(dots.get_xdata()) == [point.cost for point in own]
            assert list(dots.get_ydata()) == [point.score for point in own]
            [bars] = by_gid(axes, f"errors-{curve.strategy}")
            lows, highs = np.array(bars.get_segments())[:, :, 1].T
            assert list(lows) == pytest.approx([point.score - 0.004 for point in own])
            assert list(highs) == pytest.approx([point.score + 0.004 for point in own])
        assert len(by_gid(axes, "base")) == 1
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim()


def test_the_law_is_dashed_where_measured_and_dotted_and_paler_beyond() -> None:
    info = curves_info(networks())
    axes = plot_curves(info, info).axes[0]
    for strategy in EXPONENTS:
        [fit], [beyond] = by_gid(axes, f"fit-{strategy}"), by_gid(axes, f"beyond-{strategy}")
        assert max(fit.get_xdata()) == pytest.approx(32e6) == pytest.approx(min(beyond.get_xdata()))
        assert axes.get_xlim()[1] > max(beyond.get_xdata()) == pytest.approx(128e6)
        assert fit.get_linestyle() != "-" != beyond.get_linestyle()
        assert beyond.get_alpha() < fit.get_alpha()


def test_strategies_are_told_apart_by_colour_and_by_marker() -> None:
    info = curves_info(networks())
    axes = plot_curves(info, info).axes[0]
    dots = [by_gid(axes, f"curve-{strategy}")[0] for strategy in EXPONENTS]
    assert len({to_rgba(each.get_color()) for each in dots}) == len({each.get_marker() for each in dots}) == 5


def test_legend_has_the_exponents_by_both_costs_with_their_errors() -> None:
    figure = plot_curves(*both(networks()))
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "compound: exponent 0.200 ± 0.000 by macs, 0.342 ± 0.000 by latency" in said
    assert "its extrapolation" in said
    assert "nothing was measured" in texts(figure).replace("\n", " ")


def test_a_strategy_of_two_networks_is_a_line_without_a_law() -> None:
    table = networks()
    figure = plot_curves(*both(table[(table.strategy != "depth") | (table.phi == 1)]))
    axes = figure.axes[0]
    assert len(by_gid(axes, "joined-depth")[0].get_xdata()) == 2
    assert not by_gid(axes, "fit-depth")
    assert by_gid(axes, "fit-width")
    assert "depth: 2 networks, too few for a law" in texts(figure)


def test_one_seed_has_no_bars_no_laws_are_promised_and_the_base_is_named_once() -> None:
    figure = plot_curves(*both(networks(highest_phi=1, num_seeds=1)))
    assert not [artist for artist in figure.axes[0].get_children() if str(artist.get_gid()).startswith("errors")]
    assert "power law" not in texts(figure)
    assert "no measure of noise" in texts(figure)
    assert [label.get_text() for label in by_gid(figure.axes[0], "label")] == ["phi=1", "base"]


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    infos = both(networks())
    first, second = (save_figure(plot_curves(*infos), tmp_path / name / "curves") for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
