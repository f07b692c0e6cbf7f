"""The picture of simulations: how busy their workers were, and how good the network that had read best, over time.

It draws values of ``Outcome`` and computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scalesearch.report import canvas

from .regret import Regret
from .study import Outcome

_WIDTH, _HEIGHT, _HOUR = 10.4, 3.6, 3600.0
_COLOURS = (canvas.BLUE, canvas.GREEN, canvas.ORANGE, canvas.VERMILLION, canvas.PURPLE, canvas.SKY)


def plot_simulations(outcomes: Sequence[Outcome], regrets: Sequence[Regret], title: str, footnote: str) -> Figure:
    """Draw utilisation over the share of a study, and regret over its hours, a line a simulation."""
    figure, box = canvas.new_sheet(
        width=_WIDTH, plot_height=_HEIGHT, left=0.75, right=0.2, title=title, legend_rows=1, footnote=footnote
    )
    busy, best = figure.subplots(1, 2)
    figure.subplots_adjust(left=box.x0, right=box.x1, bottom=box.y0, top=box.y1, wspace=0.2)
    for outcome, regret, colour in zip(outcomes, regrets, _COLOURS, strict=False):
        _draw_utilisation(busy, outcome, colour)
        best.step(regret.seconds / _HOUR, regret.points, where="post", color=colour, linewidth=1.6)
    _finish(busy, best, outcomes, regrets)
    handles = [Line2D([], [], color=colour, label=_label(o)) for o, colour in zip(outcomes, _COLOURS, strict=False)]
    canvas.add_legend(figure, handles, len(handles))
    return figure


def _draw_utilisation(axes: Axes, outcome: Outcome, colour: str) -> None:
    middles, utilisation = outcome.ledger.utilisation_curve()
    axes.plot(middles / outcome.ledger.makespan, utilisation, color=colour, linewidth=1.6)


def _finish(busy: Axes, best: Axes, outcomes: Sequence[Outcome], regrets: Sequence[Regret]) -> None:
    canvas.style_axes(busy, "share of the study's wall time", "workers that train")
    busy.set(xlim=(0, 1), ylim=(0, 1.02))
    busy.yaxis.set_major_formatter(canvas.format_percent)
    busy.xaxis.set_major_formatter(canvas.format_percent)
    busy.axhline(0.9, color=canvas.GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    canvas.style_axes(best, "virtual hours", "regret, points of accuracy")
    hours = [second / _HOUR for regret in regrets for second in regret.seconds if second > 0]
    canvas.set_log_cost(best, hours)
    best.xaxis.set_major_formatter("{x:g}")
    best.set_ylim(bottom=0)


def _label(outcome: Outcome) -> str:
    plan = outcome.plan
    faster = f", trainings {plan.speed_up:g} times shorter" if plan.speed_up != 1 else ""
    return f"{plan.workers} worker{'s' if plan.workers > 1 else ''}{faster}"
