"""Searches of one space, by several samplers or pruners: hypervolume over seeds, and the fronts in one picture.

    python benchmarks/compare_searches.py results/cifar10-samplers
    python benchmarks/compare_searches.py results/cifar10-early-stopping

Reads ``FOLDER/NAME-seedN/trials.csv`` and draws ``FOLDER/fronts.png``. The reference corner is the same for all: the
budget's macs and the lowest accuracy among all complete networks; a hypervolume is given as a share of the budget, so
it is the mean gain in accuracy over the range of macs. Stopped networks count in the steps spent, not in a front.
A good network is a complete one within the upper fifth of all complete ones of the folder by accuracy.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from rich.console import Console
from rich.table import Table

from scalesearch.report.canvas import (
    BLUE,
    GREEN,
    ORANGE,
    VERMILLION,
    add_legend,
    format_percent,
    new_sheet,
    style_axes,
)
from scalesearch.report.pareto import hypervolume, mean_and_se, pareto_front

COLOURS = (BLUE, VERMILLION, GREEN, ORANGE)
_GOOD = 0.8  # quantile of accuracy
_NAME = re.compile(r"(.+)-seed\d+")


def read_runs(folder: Path) -> dict[str, list[pd.DataFrame]]:
    """Return the trained trials of every run by search, in the order of their seeds."""
    runs: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for path in sorted(folder.glob("*-seed*/trials.csv")):
        named = _NAME.fullmatch(path.parent.name)
        if named is not None:
            trials = pd.read_csv(path)
            runs[named[1]].append(trials[trials.state.isin(("COMPLETE", "PRUNED"))])
    return dict(runs)


def read_budget(folder: Path) -> float:
    """Return the budget's macs, which all runs must share."""
    configs = [yaml.safe_load(path.read_text()) for path in folder.glob("*-seed*/config.yaml")]
    (budget,) = {config["search"]["budget"]["macs"] for config in configs}
    return float(budget)


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the networks that were trained to the end."""
    return trials[trials.state == "COMPLETE"]


def make_table(runs: dict[str, list[pd.DataFrame]], budget: float, lowest: float) -> Table:
    """Return a row a search."""
    table = Table(title=f"Reference: {budget:,.0f} macs, accuracy {lowest:.4f}; mean ± standard error over seeds")
    for column in ("search", "seeds", "networks", "steps a seed", "good", "hypervolume", "best val top-1"):
        table.add_column(column, justify="left" if column == "search" else "right")
    everything = pd.concat([complete(trials) for seeds in runs.values() for trials in seeds])
    bar = everything.val_top1.quantile(_GOOD)
    for sampler, seeds in runs.items():
        good = [float((complete(trials).val_top1 >= bar).sum()) for trials in seeds]
        volumes = [hypervolume(c.macs, c.val_top1, budget, lowest) / budget for c in map(complete, seeds)]
        bests = [complete(trials).val_top1.max() for trials in seeds]
        steps = sum(trials.steps.sum() for trials in seeds) / len(seeds)
        figures = ("{:.4f} ± {:.4f}".format(*mean_and_se(values)) for values in (volumes, bests))
        networks = sum(map(len, seeds)) / len(seeds)
        good_ones = "{:.1f} ± {:.1f}".format(*mean_and_se(good))
        table.add_row(sampler, str(len(seeds)), f"{networks:.0f}", f"{steps:,.0f}", good_ones, *figures)
    return table


def draw(runs: dict[str, list[pd.DataFrame]], path: Path) -> None:
    """Draw every seed's front, a colour a search."""
    figure, box = new_sheet(
        width=7.0,
        plot_height=3.6,
        left=0.75,
        right=0.2,
        title="Fronts of one space by several searches",
        legend_rows=1,
        footnote="A line is the front of one seed's networks after brief training, by search-val accuracy.",
    )
    axes: Axes = figure.add_axes(box.bounds)
    style_axes(axes, "macs, millions", "search-val top-1")
    handles = []
    for colour, (sampler, seeds) in zip(COLOURS, runs.items(), strict=False):
        handles.append(Line2D([], [], color=colour, marker="o", markersize=4, label=sampler))
        for trials in map(complete, seeds):
            front = trials.iloc[pareto_front(trials.macs, trials.val_top1)]
            axes.scatter(trials.macs / 1e6, trials.val_top1, s=6, color=colour, alpha=0.25, linewidths=0)
            axes.step(front.macs / 1e6, front.val_top1, where="post", color=colour, linewidth=1.4, alpha=0.9)
    axes.yaxis.set_major_formatter(format_percent)
    add_legend(figure, handles, len(handles))
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print the table and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    runs, budget = read_runs(folder), read_budget(folder)
    lowest = min(complete(trials).val_top1.min() for seeds in runs.values() for trials in seeds)
    Console(width=110, highlight=False).print(make_table(runs, budget, lowest))
    draw(runs, folder / "fronts.png")
    print(f"Wrote {folder / 'fronts.png'}")


if __name__ == "__main__":
    main()
