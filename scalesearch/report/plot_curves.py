"""The picture of scaling curves, a panel a cost; what it draws are fields of ``CurvesInfo`` values.

Artists that a reader or a test may look for carry a ``gid``: ``curve-depth``, ``errors-depth``, ``fit-depth``,
``beyond-depth``, ``base``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FormatStrFormatter, MaxNLocator

from scalesearch.report import canvas
from scalesearch.report.curves import REACH, CurveInfo, CurvePoint, CurvesInfo
from scalesearch.report.plot import COST_LABELS, SCORE_LABELS
from scalesearch.scaling.members import COMPOUND

_WIDTH, _HEIGHT, _NUM_COLUMNS = 10.4, 3.9, 2
_LAWS = (  # dashes, opacity and name
    ((0, (4, 2)), 0.9, "power law of the error"),
    ((0, (1, 1.6)), 0.65, "its extrapolation"),
)
_BY = {"macs": "macs", "latency_ms": "latency"}


class _Style(NamedTuple):
    colour: str
    marker: str
    size: float


_STYLES = {
    COMPOUND: _Style(canvas.VERMILLION, "s", 6.5),
    "depth": _Style(canvas.BLUE, "v", 6.0),
    "width": _Style(canvas.GREEN, "D", 5.0),
    "resolution": _Style(canvas.PURPLE, "^", 6.0),
    "dWr": _Style(canvas.ORANGE, "p", 6.5),
}
_OTHER = _Style(canvas.SKY, "X", 6.0)


def plot_curves(macs_info: CurvesInfo, latency_info: CurvesInfo) -> Figure:
    """Draw macs and latency side by side over one score axis, under the title of ``macs_info``."""
    assert macs_info.score_name == latency_info.score_name, "two panels share one score axis"
    infos = (macs_info, latency_info)
    handles = _legend_handles(infos)
    figure, box = canvas.new_sheet(
        width=_WIDTH,
        plot_height=_HEIGHT,
        left=0.75,
        right=0.2,
        title=macs_info.title,
        legend_rows=math.ceil(len(handles) / _NUM_COLUMNS),
        footnote=_footnote(infos),
    )
    canvas.add_legend(figure, handles, _NUM_COLUMNS)
    panels = canvas.add_panels(figure, box, len(infos))
    for axes, info in zip(panels, infos, strict=True):
        _draw_panel(axes, info, SCORE_LABELS[info.score_name] if axes is panels[0] else "")
    figure.draw_without_rendering()  # settles the score axis, which matplotlib scales late and the panels share
    for axes, info in zip(panels, infos, strict=True):
        _label_points(axes, info)
    return figure


def _draw_panel(axes: Axes, info: CurvesInfo, y_label: str) -> None:
    canvas.style_axes(axes, COST_LABELS[info.cost_name], y_label)
    for layer, curve in enumerate(reversed(info.curves)):  # compound, the first, on top
        _draw_curve(axes, info, curve, 3 + layer)
    if info.base is not None:
        _draw_points(axes, [info.base], _Style(canvas.INK, "o", 7.5), 20, "base")
    canvas.set_log_cost(axes, [cost for cost, _ in _inked(info)])
    axes.margins(y=0.08)
    axes.xaxis.set_major_formatter(EngFormatter() if info.cost_name == "macs" else FormatStrFormatter("%g"))
    axes.yaxis.set_major_formatter(canvas.format_percent)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def _draw_curve(axes: Axes, info: CurvesInfo, curve: CurveInfo, layer: int) -> None:
    """Draw a strategy's networks, joined with the base, and its law: dashed where measured, dotted and pale beyond."""
    style = _style(curve)
    costs, scores = [point.cost for point in curve.points], [point.score for point in curve.points]
    axes.plot(costs, scores, color=style.colour, linewidth=1.4, zorder=layer, gid=f"joined-{curve.strategy}")
    _draw_points(axes, info.own_points(curve), style, layer, curve.strategy)
    if curve.fit is not None:
        lines = (("fit", curve.fit.measured), ("beyond", curve.fit.extrapolated))
        for (name, line), (dashes, alpha, _) in zip(lines, _LAWS, strict=True):
            [drawn] = axes.plot(*zip(*line, strict=True), color=style.colour, gid=f"{name}-{curve.strategy}")
            drawn.set(linestyle=dashes, linewidth=1.0, alpha=alpha, zorder=2)


def _draw_points(axes: Axes, points: Sequence[CurvePoint], style: _Style, layer: int, name: str) -> None:
    known = [point for point in points if math.isfinite(point.standard_error)]
    if known:
        low = [point.score - point.standard_error for point in known]
        high = [point.score + point.standard_error for point in known]
        bars = axes.vlines([point.cost for point in known], low, high, colors=style.colour, linewidth=1.3)
        bars.set(gid=f"errors-{name}", zorder=layer)
    gid = name if name == "base" else f"curve-{name}"
    [dots] = axes.plot([p.cost for p in points], [p.score for p in points], linestyle="none", gid=gid)
    dots.set(color=style.colour, marker=style.marker, markersize=style.size, zorder=layer)
    dots.set(markeredgecolor="white", markeredgewidth=0.7)


def _label_points(axes: Axes, info: CurvesInfo) -> None:
    """Name the members of the compound family; their rivals stand near the same macs."""
    named = [point for curve in info.curves if curve.strategy == COMPOUND for point in info.own_points(curve)]
    labels = [(point.cost, point.score, point.label, canvas.VERMILLION) for point in named]
    if info.base is not None:
        labels.append((info.base.cost, info.base.score, "base", canvas.INK))
    canvas.place_labels(axes, labels, _inked(info))


def _inked(info: CurvesInfo) -> list[tuple[float, float]]:
    """Return (cost, score) that are drawn: what the axes must hold and a label should not cover."""
    inked = []
    for curve in info.curves:
        for point in curve.points:
            spread = point.standard_error if math.isfinite(point.standard_error) else 0.0
            inked += [(point.cost, point.score + part * spread) for part in (-1, 0, 1)]
        for one, two in itertools.pairwise(curve.points):
            for part in (step / 12 for step in range(1, 12)):  # straight on a logarithmic axis
                score = one.score + part * (two.score - one.score)
                inked.append((one.cost ** (1 - part) * two.cost**part, score))
        if curve.fit is not None:
            inked += [*curve.fit.measured, *curve.fit.extrapolated]
    return inked


def _style(curve: CurveInfo) -> _Style:
    return _STYLES.get(curve.strategy, _OTHER)


def _legend_handles(infos: Sequence[CurvesInfo]) -> list[Artist]:
    """Return a handle for each strategy, with its exponents, and one for each other kind of mark."""
    handles: list[Artist] = []
    for curve in infos[0].curves:
        style, label = _style(curve), f"{curve.strategy}: {_exponents(infos, curve.strategy)}"
        handle = Line2D([], [], color=style.colour, marker=style.marker, markersize=style.size, label=label)
        handle.set(linewidth=1.5, markeredgecolor="white", markeredgewidth=0.7)
        handles.append(handle)
    if any(info.base is not None for info in infos):
        handles.append(Line2D([], [], color=canvas.INK, marker="o", linestyle="none", label="the base, common to all"))
    if any(curve.fit is not None for info in infos for curve in info.curves):
        for dashes, alpha, text in _LAWS:
            handles.append(Line2D([], [], color=canvas.INK, linestyle=dashes, linewidth=1.0, alpha=alpha, label=text))
    return handles


def _exponents(infos: Sequence[CurvesInfo], strategy: str) -> str:
    said = []
    curves = [(info.cost_name, curve) for info in infos for curve in info.curves if curve.strategy == strategy]
    for cost_name, curve in curves:
        if curve.fit is not None:
            exponent = f"{curve.fit.exponent:.3f}".replace("-", "\N{MINUS SIGN}")
            said.append(f"{exponent} ± {curve.fit.exponent_se:.3f} by {_BY[cost_name]}")
    num = max(len(curve.points) for _, curve in curves)
    return f"exponent {', '.join(said)}" if said else f"{num} network{'s' if num > 1 else ''}, too few for a law"


def _footnote(infos: Sequence[CurvesInfo]) -> str:
    notes = []
    points = [point for info in infos for curve in info.curves for point in curve.points]
    if any(math.isfinite(point.standard_error) for point in points):
        notes.append("Bars: ±1 standard error over seeds.")
    else:
        notes.append("One seed each: there is no measure of noise.")
    if any(curve.fit is not None for info in infos for curve in info.curves):
        notes.append(
            "Dashed: error = coefficient · cost^-exponent, fitted to a strategy's networks with the base; ± is one"
            " standard error, from their scatter about it. Dotted and pale: the same line where nothing was measured,"
            f" as far as the networks reach apart and at most to {REACH:g} times the highest cost; a strategy that"
            " saturates falls below it."
        )
    notes.append("Latency: one image on one thread of the study's machine.")
    for info in infos:
        if info.num_left_out:
            notes.append(f"Networks left out for want of {_BY[info.cost_name]} or score: {info.num_left_out}.")
    return " ".join(notes)
