"""The sheet a figure is drawn on: its frame of title, legend and footnote, readable ticks, labels that do not collide.

Sizes are in inches and margins are fixed, so two figures of one kind line up on a page. Only matplotlib's ``Figure`` is
used, never ``pyplot``: nothing global changes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): told apart with every common colour blindness.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
INK, FAINT_INK, GREY, GRID = "#222222", "#666666", "#8C8C8C", "#E8E8E8"

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11.0, 9.0, 7.5
_EDGE, _TITLE, _LEGEND_ROW, _ABOVE_AXES = 0.14, 0.30, 0.20, 0.30
_AXIS_LABELS, _FOOTNOTE_LINE = 0.58, 0.145
_CHARACTERS_PER_INCH = 18.5  # of a footnote, measured on the default font

# Where a label may stand, in points from its marker, best first: a frontier is emptiest above and to the left.
_NEAR = ((-5, 5), (0, 8), (0, -9), (5, -5), (-5, -5), (5, 5))
_FAR = ((0, 19), (0, -20), (-8, 16), (8, -16), (0, 30), (0, -31), (-30, 12), (30, -12), (0, 41), (0, -42))
_PLACES = _NEAR + _FAR


def new_sheet(
    *, width: float, plot_height: float, left: float, right: float, title: str, legend_rows: int, footnote: str
) -> tuple[Figure, Bbox]:
    """Return an empty figure with title and footnote, and the box in figure fractions that is free for axes."""
    lines = textwrap.wrap(footnote, int((width - 2 * _EDGE) * _CHARACTERS_PER_INCH))
    bottom = _EDGE + len(lines) * _FOOTNOTE_LINE + _AXIS_LABELS
    top = _EDGE + _TITLE + legend_rows * _LEGEND_ROW + _ABOVE_AXES
    height = bottom + plot_height + top
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)  # a renderer, so that label sizes are known
    edge = _EDGE / width
    figure.text(edge, 1 - _EDGE / height, title, size=TITLE_SIZE, weight="bold", color=INK, va="top")
    figure.text(edge, _EDGE / height, "\n".join(lines), size=SMALL_SIZE, color=FAINT_INK, va="bottom", linespacing=1.3)
    return figure, Bbox([[left / width, bottom / height], [1 - right / width, 1 - top / height]])


def add_panels(figure: Figure, box: Bbox, count: int) -> list[Axes]:
    """Return axes side by side in the box, over one score axis."""
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=box.x0, right=box.x1, bottom=box.y0, top=box.y1, wspace=0.08)
    return list(panels)


def add_legend(figure: Figure, handles: Sequence[Artist], num_columns: int) -> None:
    """Put one legend under the title, outside the data."""
    width, height = figure.get_size_inches()
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(_EDGE / width, 1 - (_EDGE + _TITLE) / height),
        ncols=num_columns,
        frameon=False,
        fontsize=TEXT_SIZE - 0.5,
        labelcolor=INK,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.6,
    )


def style_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Leave of the frame what carries values: two spines, faint horizontal lines, labels in ink."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=TEXT_SIZE - 0.5, color=FAINT_INK, labelcolor=INK, length=3)
    axes.set_xlabel(x_label, size=TEXT_SIZE, color=INK)
    axes.set_ylabel(y_label, size=TEXT_SIZE, color=INK)


def set_log_cost(axes: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic around the values, with round ticks (1, 2, 5, 10) even within less than a decade."""
    low, high = min(values), max(values)
    pad = max((high / low) ** 0.05, 1.06, math.sqrt(1.6 * low / high))  # never less than a factor of 1.6 in all
    axes.set_xscale("log")
    axes.set_xlim(low / pad, high * pad)
    axes.xaxis.set_major_locator(FixedLocator(round_ticks(low / pad, high * pad)))
    axes.minorticks_off()


def round_ticks(low: float, high: float) -> list[float]:
    """Return at least three round values between two positive limits, as few as will do.

    Example:
        >>> round_ticks(0.8e6, 12e6)
        [1000000.0, 2000000.0, 5000000.0, 10000000.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for steps in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)):
        ticks = [step * 10.0**decade for decade in [*decades, decades.stop] for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 4:
            return inside
    return [float(tick) for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def format_percent(fraction: float, _: float = 0) -> str:
    """Return a fraction as a tick label, with no more digits than it needs; matplotlib also passes the position.

    Example:
        >>> format_percent(0.7), format_percent(0.675)
        ('70 %', '67.5 %')
    """
    return f"{round(100 * fraction, 6):g} %"


def place_labels(
    axes: Axes, labels: Sequence[tuple[float, float, str, str]], obstacles: Sequence[tuple[float, float]]
) -> None:
    """Write (x, y, text, colour) labels beside their points, each where it covers least.

    Limits and scales of the axes must be final: places are compared on the canvas.

    Args:
        axes: Where to write.
        labels: In order of precedence.
        obstacles: (x, y) in data coordinates that a label should not cover.
    """
    blocked = axes.transData.transform(np.asarray(obstacles))
    taken: list[Bbox] = []
    for x, y, text, colour in labels:
        label = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", color=colour, size=TEXT_SIZE - 1)
        label.set(weight="bold", path_effects=[withStroke(linewidth=2.5, foreground="white")], zorder=10, gid="label")
        taken.append(_best_place(axes, label, blocked, taken))


def _best_place(axes: Axes, label: Annotation, blocked: NDArray[np.float64], taken: Sequence[Bbox]) -> Bbox:
    boxes = []
    for place in _PLACES:
        _move(label, place)
        boxes.append(label.get_window_extent().padded(2.0))
    # Ten points further off is as bad as one covered: a label far from its marker seems to name another one.
    away = [math.hypot(*place) / 10 for place in _PLACES]
    costs = [_cover(box, axes.bbox, blocked, taken) + far for box, far in zip(boxes, away, strict=True)]
    best = costs.index(min(costs))
    _move(label, _PLACES[best])
    return boxes[best]


def _move(label: Annotation, place: tuple[float, float]) -> None:
    across, up = place
    label.set_position(place)
    label.set(ha="center" if across == 0 else "right" if across < 0 else "left", va="bottom" if up > 0 else "top")


def _cover(box: Bbox, frame: Bbox, blocked: NDArray[np.float64], taken: Sequence[Bbox]) -> float:
    """Return how much a label in ``box`` would hide: points, ten times another label, ten times itself off the axes."""
    points = np.all((blocked >= box.min) & (blocked <= box.max), axis=1).sum()
    outside = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
    return float(points + 10 * sum(box.overlaps(other) for other in taken) + 10 * outside)
