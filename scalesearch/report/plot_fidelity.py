"""The picture of how cheap scores rank networks, a panel a score; what it draws are fields of a ``FidelityInfo``."""

from __future__ import annotations

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, MaxNLocator

from scalesearch.report import canvas
from scalesearch.report.fidelity import FidelityInfo, FidelityRow
from scalesearch.report.plot import SCORE_LABELS

_PANEL_WIDTH, _PANEL_HEIGHT = 2.5, 1.9
_BETWEEN_COLUMNS, _BETWEEN_ROWS = 0.25, 0.95
_LEFT, _RIGHT = 0.75, 0.2


def plot_fidelity(info: FidelityInfo) -> Figure:
    """Draw the rank by each cheap score, best to the right, against the reference accuracy; all panels share its axis.

    A score that ranks well rises from left to right.
    """
    num_columns = 2 if len(info.rows) in (1, 2, 4) else 3  # never one: title and footnote need the width
    num_rows = math.ceil(len(info.rows) / num_columns)
    figure, box = canvas.new_sheet(
        width=_LEFT + num_columns * _PANEL_WIDTH + (num_columns - 1) * _BETWEEN_COLUMNS + _RIGHT,
        plot_height=num_rows * _PANEL_HEIGHT + (num_rows - 1) * _BETWEEN_ROWS,
        left=_LEFT,
        right=_RIGHT,
        title=info.title,
        legend_rows=1,  # the space is the first row of panels' titles
        footnote=_footnote(info),
    )
    panels = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False).flatten()
    figure.subplots_adjust(left=box.x0, right=box.x1, bottom=box.y0, top=box.y1)
    figure.subplots_adjust(wspace=_BETWEEN_COLUMNS / _PANEL_WIDTH, hspace=_BETWEEN_ROWS / _PANEL_HEIGHT)
    for index, (axes, row) in enumerate(zip(panels, info.rows, strict=False)):
        first, lowest = index % num_columns == 0, index + num_columns >= len(info.rows)
        y_label = SCORE_LABELS.get(info.reference_name, info.reference_name)
        _draw_panel(axes, row, "rank by the score (1 = best)" if lowest else "", y_label if first else "")
    for axes in panels[len(info.rows) :]:
        axes.set_visible(False)
    return figure


def _draw_panel(axes: Axes, row: FidelityRow, x_label: str, y_label: str) -> None:
    canvas.style_axes(axes, x_label, y_label)
    [dots] = axes.plot(row.ranks, row.references, "o", color=canvas.BLUE, gid=f"networks-{row.name}")
    dots.set(markersize=4.0, markeredgecolor="white", markeredgewidth=0.5, alpha=0.85)
    edge = 0.5 + 0.03 * row.num_networks
    axes.set_xlim(row.num_networks + edge, 1 - edge)
    axes.xaxis.set_major_locator(FixedLocator(_rank_ticks(row.num_networks)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(canvas.format_percent)
    _write_title(axes, row)


def _rank_ticks(num_networks: int) -> list[float]:
    """Return the first rank and a few round ones clear of it."""
    round_ranks = MaxNLocator(4, steps=[1, 2, 5, 10], integer=True).tick_values(1, num_networks)
    return [1.0, *(float(rank) for rank in round_ranks if 1 + num_networks / 8 < rank <= num_networks)]


def _write_title(axes: Axes, row: FidelityRow) -> None:
    """Write above the panel the score and its tau with the interval, below them its cost and its overlaps."""
    tau = f"τ {_signed(row.tau)} [{_signed(row.tau_low)}, {_signed(row.tau_high)}]"
    top = ", ".join(f"best {each.k}: {100 * each.overlap:.0f} %" for each in row.top)
    _write(axes, row.name, "left", 18).set(weight="bold")
    _write(axes, tau, "right", 18)
    _write(axes, _duration(row.mean_seconds), "left", 6).set(size=canvas.SMALL_SIZE, color=canvas.FAINT_INK)
    _write(axes, top, "right", 6).set(size=canvas.SMALL_SIZE, color=canvas.FAINT_INK)


def _write(axes: Axes, text: str, side: Literal["left", "right"], points: float) -> Annotation:
    """Write at the left or right edge of the axes, so many points above them."""
    place = (0 if side == "left" else 1, 1)
    label = axes.annotate(text, place, (0, points), xycoords="axes fraction", textcoords="offset points", ha=side)
    label.set(size=canvas.TEXT_SIZE, color=canvas.INK)
    return label


def _footnote(info: FidelityInfo) -> str:
    counts = sorted({row.num_networks for row in info.rows})
    networks = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"{networks} networks. τ: Kendall's tau-b with the 95 % interval over {info.num_draws:,} bootstrap samples of"
        f" them. Best k: share of the best k networks that are among the score's best k; by chance k of all networks."
        f" Times are a network's mean; the training drawn took {_duration(info.reference_seconds)}."
    )


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"
