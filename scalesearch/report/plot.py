"""Pictures of the frontier and of the scaling candidates: every number drawn is a field of an ``*Info`` value.

Nothing is computed here but where ink goes. Artists that a reader or a test may look for carry a ``gid``, which becomes
the id in the SVG: ``front-search``, ``errors-family``, ``budget``.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, FormatStrFormatter, MaxNLocator

from scalesearch.atomic import replacing
from scalesearch.report import canvas
from scalesearch.report.info import FrontierInfo, FrontierPoint, ScalingCandidate, ScalingInfo, SeriesInfo

COST_LABELS = {
    "macs": "multiply-adds (macs)",
    "latency_ms": "latency, ms (batch 1, p50)",
    "params": "parameters",
    "acts": "activations (acts)",
    "peak_memory_mib": "peak memory of a pass, MiB",
}
SCORE_LABELS = {"val_top1": "top-1 on search-val", "test_top1": "top-1 on test", "val_ap": "AP on val"}
FORMATS = ("png", "svg", "pdf")
"""Of pictures."""

_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
_RULE = ("α", "β", "γ")  # noqa: RUF001


@dataclass(frozen=True)
class _Style:
    colour: str
    marker: str
    size: float
    layer: int


_STYLES = {
    "random": _Style(canvas.GREY, "v", 5.0, 3),
    "search": _Style(canvas.BLUE, "o", 5.0, 4),
    "scale": _Style(canvas.GREEN, "D", 4.0, 5),
    "family": _Style(canvas.VERMILLION, "s", 6.5, 6),
    "detect-scale": _Style(canvas.BLUE, "o", 5.0, 4),
    "detect": _Style(canvas.VERMILLION, "s", 6.0, 6),
}
_OTHERS = (
    _Style(canvas.PURPLE, "^", 5.0, 3),
    _Style(canvas.ORANGE, "P", 5.5, 3),
    _Style(canvas.SKY, "X", 5.5, 3),
)


def plot_frontier(info: FrontierInfo) -> Figure:
    """Draw every network over one cost: the front of each series as a step, the family joined, the budget as a line."""
    return _draw_frontiers([info], width=6.4, num_columns=2)


def plot_frontiers(macs_info: FrontierInfo, latency_info: FrontierInfo) -> Figure:
    """Draw macs and latency side by side over one score axis, under the title of ``macs_info``."""
    assert macs_info.score_name == latency_info.score_name, "two panels share one score axis"
    return _draw_frontiers([macs_info, latency_info], width=10.4, num_columns=4)


def plot_scaling(info: ScalingInfo) -> Figure:
    """Draw the candidates' means and standard errors, best on top, those within noise of the best in colour."""
    figure, box = canvas.new_sheet(
        width=6.4,
        plot_height=0.25 * len(info.candidates) + 0.3,
        left=1.75,
        right=1.25,
        title=info.title,
        legend_rows=1,
        footnote=_scaling_footnote(info),
    )
    axes = figure.add_axes(box.bounds)
    canvas.style_axes(axes, f"{SCORE_LABELS[info.score_name]}, mean over seeds", "")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(canvas.format_percent)
    axes.axvline(info.candidates[0].score, color=canvas.GREY, linewidth=0.8, linestyle=(0, (4, 3)), gid="best")
    sides = sorted({candidate.within_noise for candidate in info.candidates}, reverse=True)
    canvas.add_legend(figure, [_draw_candidates(axes, info, within) for within in sides], num_columns=2)
    _write_rows(axes, info.candidates)
    return figure


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "svg")) -> tuple[Path, ...]:
    """Write ``stem.png`` (150 dpi), ``stem.svg`` and the like, each whole or not at all, and return their paths.

    The same figure gives the same bytes: no date, and ids from a fixed salt. A PDF embeds its fonts as TrueType, as
    publishers ask. Missing folders are made; files of these names are replaced.

    Args:
        figure: The picture.
        stem: Path without an ending.
        formats: Some of ``FORMATS``.
    """
    written = []
    with matplotlib.rc_context({"svg.hashsalt": "scalesearch", "pdf.fonttype": 42}):
        for name in formats:
            path = stem.with_name(f"{stem.name}.{name}")
            with replacing(path) as temporary:
                figure.savefig(temporary, format=name, dpi=150, metadata=_METADATA[name])
            written.append(path)
    return tuple(written)


def svg_text(figure: Figure, salt: str) -> str:
    """Return a figure as an ``<svg>`` element, to stand inside a page; ids that differ by the salt do not clash."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata=_METADATA["svg"])
    return text.getvalue()[text.getvalue().index("<svg") :]


def _draw_frontiers(infos: Sequence[FrontierInfo], *, width: float, num_columns: int) -> Figure:
    handles = {s.name: _legend_handle(info, s) for info in reversed(infos) for s in info.series if s.num_networks}
    figure, box = canvas.new_sheet(
        width=width,
        plot_height=3.3,
        left=0.75,
        right=0.2,
        title=infos[0].title,
        legend_rows=math.ceil(len(handles) / num_columns),
        footnote=_frontier_footnote(infos),
    )
    canvas.add_legend(figure, list(handles.values()), num_columns)
    panels = canvas.add_panels(figure, box, len(infos))
    for axes, info in zip(panels, infos, strict=True):
        _draw_panel(axes, info, SCORE_LABELS[info.score_name] if axes is panels[0] else "")
    figure.draw_without_rendering()  # settles the score axis, which matplotlib scales late and the panels share
    for axes, info in zip(panels, infos, strict=True):
        _label_points(axes, info)
    return figure


def _draw_panel(axes: Axes, info: FrontierInfo, y_label: str) -> None:
    canvas.style_axes(axes, COST_LABELS[info.cost_name], y_label)
    for series in info.series:
        if series.num_networks:
            _draw_series(axes, info, series.name)
    budgets = [info.budget] if math.isfinite(info.budget) else []
    canvas.set_log_cost(axes, [point.cost for point in info.points] + budgets)
    axes.margins(y=0.11)  # room for the labels of the best
    axes.xaxis.set_major_formatter(EngFormatter() if info.cost_name == "macs" else FormatStrFormatter("%g"))
    axes.yaxis.set_major_formatter(canvas.format_percent)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    for budget in budgets:
        axes.axvline(budget, color=canvas.FAINT_INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, gid="budget")
        text = f"budget {EngFormatter()(budget)}" if info.cost_name == "macs" else f"budget {budget:g} ms"
        label = axes.text(budget, 1.012, text, transform=axes.get_xaxis_transform(), ha="center")
        label.set(size=canvas.SMALL_SIZE + 0.5, color=canvas.FAINT_INK)


def _draw_series(axes: Axes, info: FrontierInfo, name: str) -> None:
    style, members, front = _style(info, name), info.members(name), info.front(name)
    dominated = _plot(axes, style, [point for point in members if not point.on_front], gid=f"dominated-{name}")
    best = _plot(axes, style, front, gid=f"front-{name}")
    _draw_errors(axes, style, members, gid=f"errors-{name}")
    if name == "family":
        _plot(axes, style, members, gid="joined-family").set(linestyle="-", linewidth=1.6, marker="none")
    else:
        best.set(linestyle="-", linewidth=1.3, drawstyle="steps-post")
        dominated.set(alpha=0.35, zorder=1.5)


def _plot(axes: Axes, style: _Style, points: Sequence[FrontierPoint], gid: str) -> Line2D:
    [line] = axes.plot([p.cost for p in points], [p.score for p in points], color=style.colour, gid=gid)
    line.set(marker=style.marker, markersize=style.size, markeredgecolor="white", markeredgewidth=0.6)
    line.set(linestyle="none", zorder=style.layer)
    return line


def _draw_errors(axes: Axes, style: _Style, points: Sequence[FrontierPoint], gid: str) -> None:
    known = [point for point in points if math.isfinite(point.standard_error)]
    if known:
        low, high = [p.score - p.standard_error for p in known], [p.score + p.standard_error for p in known]
        bars = axes.vlines([p.cost for p in known], low, high, colors=style.colour, linewidth=1.1)
        bars.set(alpha=[0.9 if p.on_front or p.series == "family" else 0.35 for p in known])
        bars.set(zorder=style.layer - 0.5, gid=gid)


def _style(info: FrontierInfo, name: str) -> _Style:
    others = [series.name for series in info.series if series.name not in _STYLES]
    return _STYLES[name] if name in _STYLES else _OTHERS[others.index(name) % len(_OTHERS)]


def _legend_handle(info: FrontierInfo, series: SeriesInfo) -> Line2D:
    style = _style(info, series.name)
    few, many = series.min_seeds, series.max_seeds
    seeds = ("1 seed" if few == 1 else f"{few} seeds") if few == many else f"{few} to {many} seeds"
    networks = "1 network" if series.num_networks == 1 else f"{series.num_networks} networks"
    label = f"{series.name}: {networks}, {seeds} each"
    line = Line2D([], [], color=style.colour, marker=style.marker, markersize=style.size, linewidth=1.4, label=label)
    line.set(markeredgecolor="white", markeredgewidth=0.6)
    return line


def _label_points(axes: Axes, info: FrontierInfo) -> None:
    """Name the members of the family and detectors that were compared; a grid's candidates have their own picture."""
    named = [point for series in ("family", "detect") for point in info.members(series) if point.label]
    labels = [(p.cost, p.score, p.label, _style(info, p.series).colour) for p in named]
    canvas.place_labels(axes, labels, _inked(info))


def _inked(info: FrontierInfo) -> list[tuple[float, float]]:
    """Return what a label should not cover: the points, their error bars, and the line that joins the family."""
    inked = [(point.cost, point.score) for point in info.points]
    for point in info.points:
        if math.isfinite(point.standard_error):
            inked += [(point.cost, point.score + part * point.standard_error) for part in (-1, -0.5, 0.5, 1)]
    for one, two in itertools.pairwise(info.members("family")):
        for part in (step / 20 for step in range(1, 20)):
            cost = one.cost ** (1 - part) * two.cost**part  # straight on a logarithmic axis
            inked.append((cost, one.score + part * (two.score - one.score)))
    return inked


def _frontier_footnote(infos: Sequence[FrontierInfo]) -> str:
    notes = []
    if any(series.name != "family" for series in infos[0].series):
        notes.append("Steps: the front of each series, picked by the score drawn, hence optimistic. Faint: dominated.")
    if any(math.isfinite(point.standard_error) for point in infos[0].points):
        notes.append("Bars: ±1 standard error over seeds.")
    if any(info.cost_name == "latency_ms" for info in infos):
        notes.append("Latency: one thread, read while another network may have been training.")
    hidden = {"infeasible": infos[0].num_infeasible, "pruned": infos[0].num_pruned, "failed": infos[0].num_failed}
    if any(hidden.values()):
        notes.append(
            f"Trials not drawn: {', '.join(f'{number} {state}' for state, number in hidden.items() if number)}."
        )
    for info in infos:
        left = [
            f"{s.name} ({s.num_left_out} of {s.num_left_out + s.num_networks})" for s in info.series if s.num_left_out
        ]
        if left:
            cost = "macs" if info.cost_name == "macs" else "latency"
            notes.append(f"Networks left out for want of {cost} or score: {', '.join(left)}.")
    return " ".join(notes)


def _draw_candidates(axes: Axes, info: ScalingInfo, within: bool) -> Line2D:
    """Draw the candidates within noise of the best, or the others, and return their dots for the legend."""
    rows = [(row, c) for row, c in enumerate(info.candidates) if c.within_noise is within]
    colour, name = (canvas.BLUE, "within") if within else (canvas.GREY, "outside")
    known = [(row, c) for row, c in rows if math.isfinite(c.standard_error)]
    if known:
        low, high = [c.score - c.standard_error for _, c in known], [c.score + c.standard_error for _, c in known]
        axes.hlines([row for row, _ in known], low, high, colors=colour, linewidth=1.6).set_gid(f"errors-{name}")
    text = "cannot be told from the best" if within else "below the best by more than the noise"
    [dots] = axes.plot([c.score for _, c in rows], [row for row, _ in rows], "o", color=colour, label=text)
    dots.set(markersize=6.5, markeredgecolor="white", markeredgewidth=0.6, zorder=3, gid=f"candidates-{name}")
    return dots


def _write_rows(axes: Axes, candidates: Sequence[ScalingCandidate]) -> None:
    """Write each candidate's rule to the left of its row, its realised macs and number of seeds to the right."""
    axes.set_yticks(range(len(candidates)), [""] * len(candidates))
    axes.set_ylim(len(candidates) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    places = (-0.33, -0.19, -0.05, 1.16, 1.30)  # the right edge of each column, in widths of the axes
    for place, heading in zip(places, (*_RULE, "macs", "seeds"), strict=True):
        _write_cell(axes, place, -1.05, heading).set_color(canvas.FAINT_INK)
    for row, c in enumerate(candidates):
        cells = (f"{c.alpha:.2f}", f"{c.beta:.2f}", f"{c.gamma:.2f}", f"{c.realised_ratio:.2f}x", f"{c.num_seeds}")
        for place, cell in zip(places, cells, strict=True):
            bold = c.within_noise and place < 0
            _write_cell(axes, place, row, cell).set(color=canvas.INK, weight="bold" if bold else "normal")


def _write_cell(axes: Axes, x: float, row: float, text: str) -> Text:
    place = axes.get_yaxis_transform()
    return axes.text(x, row, text, transform=place, ha="right", va="center", size=canvas.TEXT_SIZE - 0.5)


def _scaling_footnote(info: ScalingInfo) -> str:
    legend = "{} scales depth, {} width, {} resolution; macs are realised, over the base's.".format(*_RULE)
    if math.isnan(info.seed_sd):
        return f"{legend} One seed each: there is no measure of noise, so no two candidates can be told apart."
    return (
        f"{legend} Bars: ±1 standard error over seeds. What can be told: paired over seeds at 95 %, noise pooled"
        f" over all candidates; a repeat varies by {100 * info.seed_sd:.2f} points (sd)."
    )
