"""The picture of the map: what is marked where, what is left out, and the same bytes each time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from scalesearch.arch import ScalingFactors
from scalesearch.report import canvas
from scalesearch.report.plot import save_figure
from scalesearch.report.plot_map import plot_map
from scalesearch.report.scaling_map import AlphaLine, MapCandidate, MapField, MapInfo
from scalesearch.scaling.verdict import PeakFactors, Range


def candidate(name: str, width: float, resolution: float, score: float, num_seeds: int) -> MapCandidate:
    error = 0.002 if num_seeds > 1 else math.nan
    return MapCandidate(1.3, 1.1, 1.15, width, resolution, name, score, error, num_seeds)


@pytest.fixture
def info() -> MapInfo:
    """Two candidates with three seeds, one with one; a field of three by two points, of which one is in the region."""
    best, other = candidate("best", 1.09, 1.12, 0.60, 3), candidate("other", 1.3, 1.02, 0.58, 3)
    return MapInfo(
        candidates=(candidate("dropped", 1.01, 1.35, 0.55, 1), other, best),
        chosen=best,
        field=MapField(
            betas=((1.0, 2**0.5), (1.0, 1.2), (1.0, 1.0)),
            gammas=((2**0.5, 1.0), (1.2, 1.0), (1.0, 1.0)),
            predicted=((0.57, 0.60), (0.58, 0.59), (0.58, 0.58)),
            margins=((-1.0, 1.0), (-1.0, -1.0), (-2.0, -2.0)),
            chosen_error=0.0012,
            peak=None,
        ),
        alpha_lines=(AlphaLine(1.0, (1.0, 2**0.5), (2**0.5, 1.0)), AlphaLine(1.6, (1.0, 1.118), (1.118, 1.0))),
        landmark=ScalingFactors(1.2, 1.1, 1.15),
        target=2.0,
        most_seeds=3,
        num_untrained=0,
        score_limits=(0.57, 0.60),
        title="A map",
    )


def by_gid(figure: Figure, gid: str) -> list:
    axes: Axes = figure.axes[0]
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def test_the_star_is_at_the_chosen_candidate_and_has_the_colour_of_its_mean(info: MapInfo) -> None:
    [star] = by_gid(plot_map(info), "chosen")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (1.09, 1.12)
    assert star.get_marker() == "*"
    assert star.get_markerfacecolor() == colormaps["cividis"](1.0)
    assert "chosen: α 1.3, β 1.1, γ 1.15" in texts(plot_map(info))  # noqa: RUF001


def test_a_chosen_candidate_without_a_score_is_a_white_star(info: MapInfo) -> None:
    [star] = by_gid(plot_map(replace(info, chosen=candidate("new", 1.2, 1.1, math.nan, 0))), "chosen")
    assert star.get_markerfacecolor() == "white"


def test_a_candidate_with_fewer_seeds_is_marked_otherwise_and_smaller(info: MapInfo) -> None:
    figure = plot_map(info)
    [complete], [dropped] = by_gid(figure, "candidates"), by_gid(figure, "dropped")
    assert complete.get_offsets().tolist() == [[1.3, 1.02], [1.09, 1.12]]
    assert dropped.get_offsets().tolist() == [[1.01, 1.35]]
    assert len(dropped.get_paths()[0].vertices) < len(complete.get_paths()[0].vertices)  # a triangle, not a circle
    assert dropped.get_sizes()[0] == pytest.approx(complete.get_sizes()[0] / 3)
    assert complete.get_array().tolist() == [0.58, 0.60]


def test_dropped_candidates_are_in_the_legend_only_where_there_are_some(info: MapInfo) -> None:
    assert "fewer seeds" in texts(plot_map(info))
    assert "fewer seeds" not in texts(plot_map(replace(info, candidates=info.complete)))


def test_the_field_is_drawn_at_its_points(info: MapInfo) -> None:
    [field] = by_gid(plot_map(info), "field")
    assert info.field is not None
    assert field.get_array().tolist() == [list(row) for row in info.field.predicted]
    assert field.get_coordinates()[1].tolist() == [[1.0, 1.2], [1.2, 1.0]]
    assert field.get_clim() == (0.57, 0.60)


def test_the_region_is_a_closed_line_where_the_margin_ends(info: MapInfo) -> None:
    """The corner alone is within: half the way to its neighbours, and along the field's own edge."""
    [region] = by_gid(plot_map(info), "region")
    [path] = region.get_paths()
    assert path.vertices[0].tolist() == path.vertices[-1].tolist()
    half, between = (1 + 2**0.5) / 2, (1.2 + 2**0.5) / 2
    assert {tuple(corner) for corner in path.vertices.tolist()} == {(half, half), (2**0.5, 1.0), (between, 1.0)}
    assert region.get_facecolor().tolist() == [[0, 0, 0, 0]]
    assert region.get_edgecolor().tolist() == [list(to_rgba(canvas.INK))]


def test_without_a_surface_only_measurements_are_drawn(info: MapInfo) -> None:
    figure = plot_map(replace(info, field=None))
    assert not by_gid(figure, "field")
    assert not by_gid(figure, "region")
    assert by_gid(figure, "candidates")
    assert "region" not in texts(figure)
    assert "too few trainings for a response surface" in texts(figure)


def test_the_landmark_is_a_cross_at_the_published_factors(info: MapInfo) -> None:
    [cross] = by_gid(plot_map(info), "landmark")
    assert (cross.get_marker(), cross.get_xdata()[0], cross.get_ydata()[0]) == ("x", 1.1, 1.15)


def test_lines_of_alpha_are_straight_and_labelled_below_the_field(info: MapInfo) -> None:
    figure = plot_map(info)
    assert len(by_gid(figure, "alpha")) == 2
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    labels = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(labels) == {"α 1", "1.6"}  # noqa: RUF001
    for box in labels.values():
        assert axes.bbox.y0 < box.y0 < box.y1 < axes.transData.transform((1, 1))[1]


def test_every_mark_is_inside_the_axes(info: MapInfo) -> None:
    axes = plot_map(info).axes[0]
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for each in info.candidates:
        assert left < each.width < right
        assert low < each.resolution < high


def test_one_candidate_alone_can_be_drawn(info: MapInfo) -> None:
    alone = replace(info, candidates=(info.chosen,), field=None, score_limits=(0.6, 0.6), num_untrained=2)
    figure = plot_map(alone)
    figure.draw_without_rendering()
    assert "Not drawn: 2 without a score." in texts(figure)


def test_the_same_figure_gives_the_same_bytes(info: MapInfo, tmp_path: Path) -> None:
    first, second = (save_figure(plot_map(info), tmp_path / name / "map") for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_surfaces_maximum_is_marked_with_its_region_where_there_is_one(info: MapInfo) -> None:
    assert info.field is not None
    assert not by_gid(plot_map(info), "peak")
    peak = PeakFactors(Range(1.5, 1.2, 1.9), Range(1.1, 1.02, 1.2), Range(1.15, 1.1, 1.25))
    figure = plot_map(replace(info, field=replace(info.field, peak=peak)))
    [mark] = by_gid(figure, "peak")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (1.1, 1.15)
    ends = [line.get_segments()[0].tolist() for line in figure.axes[0].collections if isinstance(line, LineCollection)]
    assert [[1.02, 1.15], [1.2, 1.15]] in ends
    assert [[1.1, 1.1], [1.1, 1.25]] in ends
    assert "the surface's maximum" in texts(figure)
