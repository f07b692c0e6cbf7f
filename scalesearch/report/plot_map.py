"""The picture of the map of scaling rules; what it draws are fields of a ``MapInfo``.

Artists that a reader or a test may look for carry a ``gid``: ``field``, ``region``, ``candidates``, ``dropped``,
``chosen``, ``landmark``, ``alpha``, ``peak``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator

from scalesearch.report import canvas
from scalesearch.report.plot import SCORE_LABELS
from scalesearch.report.scaling_map import ALPHA_LIMITS, LEVEL, MapCandidate, MapInfo

_COLOURS = "cividis"  # sequential, perceptually uniform, and the same with every common colour blindness
_WIDTH, _LEFT, _RIGHT, _HEIGHT = 6.4, 0.75, 1.15, 4.3
_BAR_GAP, _BAR_WIDTH = 0.15, 0.16
_AREA = 75.0  # of the dot of a candidate with all seeds, in square points
_ALPHA, _BETA, _GAMMA = "α", "β", "γ"  # noqa: RUF001
_HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.6, foreground="white")]


def plot_map(info: MapInfo) -> Figure:
    """Draw width against resolution: the surface as colour, the candidates as dots, the chosen one as a star."""
    handles = _legend_handles(info)
    figure, box = canvas.new_sheet(
        width=_WIDTH,
        plot_height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        title=info.title,
        legend_rows=math.ceil(len(handles) / 2),
        footnote=_footnote(info),
    )
    canvas.add_legend(figure, handles, num_columns=2)
    axes = figure.add_axes(box.bounds)
    norm = _norm(info)
    canvas.style_axes(axes, f"width factor {_BETA}, as realised", f"resolution factor {_GAMMA}, as realised")
    axes.grid(visible=False)
    _set_limits(axes, info)
    _draw_field(axes, info, norm)
    _draw_alpha_lines(axes, info)
    _draw_dots(axes, info.dropped, info, norm, "v").set_gid("dropped")
    _draw_dots(axes, info.complete, info, norm, "o").set_gid("candidates")
    _draw_landmark(axes, info)
    _draw_peak(axes, info)
    _draw_chosen(axes, info, norm)
    bar = figure.add_axes((box.x1 + _BAR_GAP / _WIDTH, box.y0, _BAR_WIDTH / _WIDTH, box.height))
    _draw_bar(figure, bar, norm)
    return figure


def _norm(info: MapInfo) -> Normalize:
    low, high = info.score_limits
    pad = 0 if high > low else 0.005  # one candidate alone has a colour too
    return Normalize(low - pad, high + pad)


def _set_limits(axes: Axes, info: MapInfo) -> None:
    """Make both axes logarithmic, around the map and all that lies on it; below stand the labels of the lines."""
    points = [(each.width, each.resolution) for each in (*info.candidates, info.chosen)]
    points += [end for line in info.alpha_lines for end in (line.start, line.end)]
    points.append((info.landmark.beta, info.landmark.gamma))
    widths, resolutions = zip(*points, strict=True)
    canvas.set_log_cost(axes, widths)
    low, high = min(resolutions), max(resolutions)
    pad = (high / low) ** 0.05
    axes.set_yscale("log")
    axes.set_ylim(low / pad**1.7, high * pad)
    axes.minorticks_off()
    axes.yaxis.set_major_locator(FixedLocator(canvas.round_ticks(low / pad, high * pad)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FormatStrFormatter("%g"))


def _draw_field(axes: Axes, info: MapInfo, norm: Normalize) -> None:
    """Draw the surface and the region, both as far as the constraint goes."""
    field = info.field
    if field is None:
        return
    mesh = axes.pcolormesh(
        field.betas, field.gammas, field.predicted, shading="gouraud", cmap=_COLOURS, norm=norm, zorder=1
    )
    mesh.set(rasterized=True, gid="field")  # thousands of triangles would make a slow SVG
    region = axes.contourf(
        field.betas, field.gammas, field.margins, levels=[0, math.inf], colors="none", antialiased=True, zorder=3
    )
    region.set(edgecolor=canvas.INK, linewidth=1.5, capstyle="round", path_effects=_HALO, gid="region", snap=False)


def _draw_alpha_lines(axes: Axes, info: MapInfo) -> None:
    for index, line in enumerate(info.alpha_lines):
        betas, gammas = zip(line.start, line.end, strict=True)
        axes.plot(betas, gammas, color=canvas.INK, alpha=0.5, linewidth=0.7, zorder=2, gid="alpha")
        below = line.end[1] <= min(other.end[1] for other in info.alpha_lines) * 1.001
        text = f"{_ALPHA} {line.alpha:g}" if index == 0 else f"{line.alpha:g}"
        label = axes.annotate(text, line.end, (0, -8) if below else (4, 0), textcoords="offset points")
        label.set(ha="center" if below else "left", va="top" if below else "center")
        label.set(size=canvas.SMALL_SIZE, color=canvas.FAINT_INK)


def _draw_dots(
    axes: Axes, candidates: Sequence[MapCandidate], info: MapInfo, norm: Normalize, marker: str
) -> PathCollection:
    """Draw candidates in the colour of their mean, the area by the number of seeds."""
    dots = axes.scatter(
        [each.width for each in candidates],
        [each.resolution for each in candidates],
        s=[_AREA * each.num_seeds / info.most_seeds for each in candidates],
        c=[each.score for each in candidates],
        cmap=_COLOURS,
        norm=norm,
        marker=marker,
        edgecolors=canvas.INK,
        linewidths=0.9,
        zorder=5,
    )
    dots.set_path_effects([*_HALO])  # seen on dark ground too
    return dots


def _draw_landmark(axes: Axes, info: MapInfo) -> None:
    [cross] = axes.plot([info.landmark.beta], [info.landmark.gamma], "x", color=canvas.INK, gid="landmark", zorder=6)
    cross.set(markersize=8, markeredgewidth=2.0, path_effects=[withStroke(linewidth=4, foreground="white")])


def _draw_peak(axes: Axes, info: MapInfo) -> None:
    """Draw the surface's maximum, with each factor's region by itself as a bar."""
    peak = None if info.field is None else info.field.peak
    if peak is None:
        return
    beta, gamma = peak.beta, peak.gamma
    bars = axes.errorbar(
        [beta.at],
        [gamma.at],
        xerr=[[beta.at - beta.lower], [beta.upper - beta.at]],
        yerr=[[gamma.at - gamma.lower], [gamma.upper - gamma.at]],
        fmt="P",
        color=canvas.VERMILLION,
        elinewidth=1.3,
        zorder=6,
    )
    bars[0].set(gid="peak", markersize=9, markeredgecolor="white", markeredgewidth=1.0)


def _draw_chosen(axes: Axes, info: MapInfo, norm: Normalize) -> None:
    chosen = info.chosen
    colour = colormaps[_COLOURS](norm(chosen.score)) if math.isfinite(chosen.score) else "white"
    [star] = axes.plot([chosen.width], [chosen.resolution], "*", gid="chosen", zorder=7)
    star.set(markersize=17, markerfacecolor=colour, markeredgecolor=canvas.VERMILLION, markeredgewidth=1.6)
    star.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _draw_bar(figure: Figure, axes: Axes, norm: Normalize) -> None:
    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), cax=axes)
    bar.outline.set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(canvas.format_percent)
    axes.tick_params(labelsize=canvas.TEXT_SIZE - 0.5, color=canvas.FAINT_INK, labelcolor=canvas.INK, length=3)
    axes.set_ylabel(SCORE_LABELS["val_top1"], size=canvas.TEXT_SIZE, color=canvas.INK)


def _legend_handles(info: MapInfo) -> list[Artist]:
    """Return a handle for each kind of mark that is drawn."""
    chosen, landmark = info.chosen, info.landmark
    rule = f"{_ALPHA} {chosen.alpha:g}, {_BETA} {chosen.beta:g}, {_GAMMA} {chosen.gamma:g}"
    star = _handle("*", f"chosen: {rule}", 12, markerfacecolor="white", markeredgecolor=canvas.VERMILLION)
    handles: list[Artist] = [star]
    if info.complete:
        seeds = "1 seed" if info.most_seeds == 1 else f"{info.most_seeds} seeds"
        handles.append(
            _handle("o", f"candidate, {seeds}", 7.5, markerfacecolor=canvas.GREY, markeredgecolor=canvas.INK)
        )
    if info.dropped:
        label = "candidate, fewer seeds: dropped early, or failed"
        handles.append(_handle("v", label, 6.5, markerfacecolor=canvas.GREY, markeredgecolor=canvas.INK))
    if info.field is not None and info.field.peak is not None:
        handles.append(
            _handle("P", "the surface's maximum; bars: 95 % of each factor", 8, markerfacecolor=canvas.VERMILLION)
        )
    published = f"EfficientNet's rule ({landmark.alpha:g}, {landmark.beta:g}, {landmark.gamma:g})"
    handles.append(_handle("x", published, 7, markeredgecolor=canvas.INK, markeredgewidth=2.0))
    if info.field is not None:
        handles.append(
            Line2D([], [], color=canvas.INK, linewidth=1.5, label=f"{100 * LEVEL:g} % region of the maximum")
        )
    handles.append(
        Line2D([], [], color=canvas.INK, alpha=0.5, linewidth=0.7, label=f"depth factor {_ALPHA} on the constraint")
    )
    return handles


def _handle(marker: str, label: str, size: float, **changes: object) -> Line2D:
    handle = Line2D([], [], linestyle="none", marker=marker, markersize=size, label=label)
    handle.set(**changes)
    return handle


def _footnote(info: MapInfo) -> str:
    low, high = ALPHA_LIMITS
    notes = [
        f"Factors are as realised: {_BETA}² is by what the width alone multiplies the base's macs after rounding,"
        f" {_GAMMA}² the resolution, {_ALPHA} the depth, all brought to {info.target:g} times in all.",
        "Marks: mean over seeds, their area by the number of seeds.",
    ]
    if info.field is None:
        notes.append("There are too few trainings for a response surface: between the marks nothing is known.")
    else:
        notes.append(
            f"Ground: the response surface through all trainings, blank where {_ALPHA} would leave [{low:g}, {high:g}];"
            f" its standard error is {100 * info.field.chosen_error:.2f} points at the choice and not drawn."
        )
    if info.num_untrained:
        notes.append(f"Not drawn: {info.num_untrained} without a score.")
    notes.append("EfficientNet's rule is drawn as published.")
    return " ".join(notes)
