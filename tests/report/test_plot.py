from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scalesearch.report.analysis import frontier_info, scaling_info
from scalesearch.report.plot import plot_frontier, plot_frontiers, plot_scaling, save_figure


def by_gid(axes: Axes, gid: str) -> list[Line2D | LineCollection]:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_front_line_has_the_points_of_the_front(trials: pd.DataFrame) -> None:
    info = frontier_info(trials)
    [axes] = plot_frontier(info).axes
    for name in ("search", "random", "family"):
        [line] = by_gid(axes, f"front-{name}")
        assert list(line.get_xdata()) == [point.cost for point in info.front(name)]
        assert list(line.get_ydata()) == [point.score for point in info.front(name)]
    assert len(by_gid(axes, "dominated-search")[0].get_xdata()) == 1
    assert len(by_gid(axes, "joined-family")[0].get_xdata()) == 3


def test_error_bars_are_drawn_where_there_are_seeds(trials: pd.DataFrame) -> None:
    [axes] = plot_frontier(frontier_info(trials)).axes
    [bars] = by_gid(axes, "errors-family")
    assert len(bars.get_segments()) == 3
    assert not by_gid(axes, "errors-search")


def test_budget_is_a_line_with_its_value_and_inside_the_axes(trials: pd.DataFrame) -> None:
    figure = plot_frontier(frontier_info(trials, budget=500_000))
    [axes] = figure.axes
    assert len(by_gid(axes, "budget")) == 1
    assert axes.get_xlim()[0] < 500_000
    assert "budget 500 k" in texts(figure)
    assert not by_gid(plot_frontier(frontier_info(trials)).axes[0], "budget")


def test_ticks_of_macs_are_readable(trials: pd.DataFrame) -> None:
    figure = plot_frontier(frontier_info(trials))
    figure.draw_without_rendering()
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1 M", "2 M", "5 M", "10 M"]


@pytest.mark.parametrize("cost", ["macs", "latency_ms"])
def test_labels_of_a_long_family_neither_collide_nor_leave_the_axes(trials: pd.DataFrame, cost: str) -> None:
    family = pd.concat([trials[trials["part"] == "family"].head(1)] * 8, ignore_index=True)
    steps = pd.Series(range(8))
    family = family.assign(
        arch_id=steps.astype(str),
        label="phi=" + steps.astype(str),
        val_top1=0.7 + 0.01 * steps,
        macs=(4e6 * 1.4**steps).astype(int),
        latency_ms=1.3**steps,
    )
    [axes] = plot_frontier(frontier_info(family, cost=cost)).axes
    boxes = [label.get_window_extent() for label in by_gid(axes, "label")]
    assert len(boxes) == 8
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    assert all(axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max) for box in boxes)


def test_series_without_latency_is_named_in_the_footnote(trials: pd.DataFrame) -> None:
    macs, latency = frontier_info(trials), frontier_info(trials, cost="latency_ms")
    assert "left out" not in texts(plot_frontier(macs))
    figure = plot_frontier(latency)
    assert "left out for want of latency or score: random (2 of 2)" in texts(figure).replace("\n", " ")
    assert not by_gid(figure.axes[0], "front-random")


def test_two_panels_share_the_score_axis_and_the_legend(trials: pd.DataFrame) -> None:
    figure = plot_frontiers(frontier_info(trials), frontier_info(trials, cost="latency_ms"))
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim()
    [legend] = figure.legends
    assert [text.get_text().split(":")[0] for text in legend.get_texts()] == ["search", "family", "random"]


def test_one_network_alone_can_be_drawn(trials: pd.DataFrame) -> None:
    figure = plot_frontier(frontier_info(trials.head(1)))
    figure.draw_without_rendering()
    assert len(figure.axes[0].get_xticks()) >= 3
    assert "search: 1 network, 1 seed" in texts(figure)


def test_series_of_any_name_is_drawn_in_a_colour_of_its_own(trials: pd.DataFrame) -> None:
    renamed = trials.replace({"part": {"random": "local"}})
    more = pd.concat([renamed, renamed[renamed["part"] == "local"].assign(part="zero-cost")])
    [axes] = plot_frontier(frontier_info(more)).axes
    names = ("search", "family", "local", "zero-cost")
    assert len({by_gid(axes, f"front-{name}")[0].get_color() for name in names}) == 4


def test_candidates_within_noise_stand_out(scale_trials: pd.DataFrame) -> None:
    [axes] = plot_scaling(scaling_info(scale_trials)).axes
    [within], [outside] = by_gid(axes, "candidates-within"), by_gid(axes, "candidates-outside")
    assert (len(within.get_xdata()), len(outside.get_xdata())) == (2, 1)
    assert within.get_color() != outside.get_color()
    assert len(by_gid(axes, "errors-within")[0].get_segments()) == 2


def test_candidates_with_one_seed_have_no_error_bars_and_the_footnote_says_so(scale_trials: pd.DataFrame) -> None:
    figure = plot_scaling(scaling_info(scale_trials[scale_trials["seed"] == 0]))
    assert not by_gid(figure.axes[0], "errors-within")
    assert not by_gid(figure.axes[0], "candidates-outside")
    assert "no two candidates can be told apart" in texts(figure).replace("\n", " ")


def test_files_are_the_same_bytes_on_every_run(trials: pd.DataFrame, tmp_path: Path) -> None:
    info = frontier_info(trials, budget=5e6)
    first = save_figure(plot_frontier(info), tmp_path / "one" / "frontier.v1")
    second = save_figure(plot_frontier(info), tmp_path / "two" / "frontier.v1")
    assert [path.name for path in first] == ["frontier.v1.png", "frontier.v1.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["frontier.v1.png", "frontier.v1.svg"]


def test_a_failed_write_leaves_the_old_file(
    trials: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = plot_frontier(frontier_info(trials))
    png, _ = save_figure(figure, tmp_path / "frontier")
    before = png.read_bytes()

    def write_half(path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", write_half)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path / "frontier")
    assert png.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pdf_is_reproducible_and_embeds_its_fonts_as_truetype(trials: pd.DataFrame, tmp_path: Path) -> None:
    figure = plot_frontier(frontier_info(trials))
    (one,), (other,) = (save_figure(figure, tmp_path / name, formats=("pdf",)) for name in ("one", "other"))
    content = one.read_bytes()
    assert content == other.read_bytes()
    assert b"/CreationDate" not in content
    assert b"/FontFile2" in content  # TrueType
    assert b"/Type3" not in content
