"""Pictures of full trainings: their course over the steps, and their confusions; they draw ``*Info`` values.

Artists that a reader or a test may look for carry a ``gid``: ``loss-scratch``, ``top1-scratch``, ``shares``.
"""

from __future__ import annotations

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from scalesearch.report import canvas
from scalesearch.report.training import ConfusionInfo, CourseInfo, CoursesInfo

_COLOURS = (canvas.BLUE, canvas.VERMILLION, canvas.GREEN, canvas.PURPLE, canvas.ORANGE, canvas.SKY)
_NUM_COLUMNS = 3
_MOST_WITH_NUMBERS = 20
"""Classes up to which a cell has room for its percentage."""
_LONGEST_NAME = 24
_AXIS_LABELS = 0.5
"""Inches under a plot that a sheet leaves for labels."""
_WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white to blue", ["#FFFFFF", canvas.BLUE])
_DARK = 0.4
"""Share from which a cell's number is written in white."""


def plot_courses(info: CoursesInfo) -> Figure:
    """Draw the loss and the search-val accuracy over the steps: means over seeds, each seed thin behind them."""
    figure, box = canvas.new_sheet(
        width=9.6,
        plot_height=3.2,
        left=0.75,
        right=0.2,
        title=info.title,
        legend_rows=math.ceil(len(info.courses) / _NUM_COLUMNS),
        footnote=_course_footnote(info),
    )
    canvas.add_legend(figure, [_handle(info, course) for course in info.courses], _NUM_COLUMNS)
    losses, top1s = figure.subplots(1, 2)
    figure.subplots_adjust(left=box.x0, right=box.x1, bottom=box.y0, top=box.y1, wspace=0.2)
    canvas.style_axes(losses, "step", "training loss")
    canvas.style_axes(top1s, "step", "top-1 on search-val")
    top1s.yaxis.set_major_formatter(canvas.format_percent)
    for course in info.courses:
        colour = _colour(info, course)
        _draw(losses, course.loss_of_seeds, course.loss, colour, f"loss-{course.name}")
        _draw(top1s, course.val_top1_of_seeds, course.val_top1, colour, f"top1-{course.name}")
    return figure


def plot_confusion(info: ConfusionInfo) -> Figure:
    """Draw a row a true class and a column a prediction, coloured by the share of the row; from 2 to 100 classes."""
    names = [_short(name) for name in info.class_names]
    count, numbers = len(names), len(names) <= _MOST_WITH_NUMBERS
    cell = 0.40 if numbers else 0.14
    size = canvas.TEXT_SIZE - 0.5 if numbers else 6.0
    margin = 0.35 + max(map(len, names)) * size * 0.62 / 72
    side = max(count * cell, 2.4)
    below = max(0.0, margin - _AXIS_LABELS)  # the sheet has room for short ones
    footnote = _confusion_footnote(info)
    right = max(0.3, 6.0 - margin - side)  # title and footnote need the width
    figure, box = canvas.new_sheet(
        width=margin + side + right,
        plot_height=side + below,
        left=margin,
        right=right,
        title=info.title,
        legend_rows=0,
        footnote=footnote,
    )
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((box.x0, box.y0 + below / height, box.width, side / height))
    image = axes.imshow(info.shares, cmap=_WHITE_TO_BLUE, norm=PowerNorm(0.5, 0.0, 1.0), interpolation="nearest")
    image.set_gid("shares")
    axes.set_xticks(range(count), names, rotation=90, size=size)
    axes.set_yticks(range(count), names, size=size)
    axes.tick_params(length=0, labelcolor=canvas.INK)
    axes.spines[:].set_color(canvas.GRID)
    axes.set_xlabel("taken for", size=canvas.TEXT_SIZE, color=canvas.INK)
    axes.set_ylabel("is", size=canvas.TEXT_SIZE, color=canvas.INK)
    if numbers:
        _write_shares(axes, info)
    return figure


def _draw(axes: Axes, seeds: tuple[tuple[tuple[float, float], ...], ...], mean: tuple[tuple[float, float], ...],
          colour: str, gid: str) -> None:  # fmt: skip
    for line in seeds if len(seeds) > 1 else ():
        axes.plot(*zip(*line, strict=True), color=colour, linewidth=0.7, alpha=0.35)
    marker: Literal["o", "none"] = "o" if len(mean) == 1 else "none"
    axes.plot(*zip(*mean, strict=True), color=colour, linewidth=1.7, marker=marker, gid=gid)


def _colour(info: CoursesInfo, course: CourseInfo) -> str:
    return _COLOURS[info.courses.index(course) % len(_COLOURS)]


def _handle(info: CoursesInfo, course: CourseInfo) -> Line2D:
    count = len(course.loss_of_seeds)
    label = f"{course.name}: {count} seed{'s' if count > 1 else ''}"
    return Line2D([], [], color=_colour(info, course), linewidth=1.7, label=label)


def _course_footnote(info: CoursesInfo) -> str:
    several = any(len(course.loss_of_seeds) > 1 for course in info.courses)
    lines = "Thick: mean over seeds; thin: each seed. " if several else ""
    return (
        f"{lines}Loss: the training objective, label smoothing and augmentation included, mean over the steps since the"
        " reading before. Top-1: of the weights that would be kept, their running mean where there is one."
    )


def _write_shares(axes: Axes, info: ConfusionInfo) -> None:
    """Write whole percentages, none where it would be 0."""
    for row, shares in enumerate(info.shares):
        for column, share in enumerate(shares):
            if share >= 0.005:
                colour = "white" if share > _DARK else canvas.INK
                text: Text = axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour)
                text.set_fontsize(canvas.SMALL_SIZE + 0.5)


def _confusion_footnote(info: ConfusionInfo) -> str:
    said = [f"{a} for {b} ({100 * share:.0f} %)" for a, b, share in info.mistakes(3)]
    worst = f" Taken most often: {', '.join(said)}." if said else ""
    numbers = " Numbers: per cent of the row." if len(info.class_names) <= _MOST_WITH_NUMBERS else ""
    return (
        f"{sum(info.num_images):,} test images over all seeds, {100 * info.top1:.1f} % right.{worst}{numbers} Colour:"
        " share of the row from white, 0, to blue, all, on a square-root scale, so that few mistakes are seen too."
    )


def _short(name: str) -> str:
    """Return a class's name as an axis has room for it; a dollar sign begins no formula."""
    cut = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    return cut.replace("$", r"\$")
