"""Necks and fusions side by side: what a study of ``detect`` found, paired over seeds, beside the paper's tables.

    OMP_NUM_THREADS=1 python benchmarks/compare_necks.py results/bccd-necks

Reads ``config.yaml`` and ``trials.csv`` of a study that trained several necks and fusions of one detector, measures
each detector's latency anew (in turns, one thread, one image, the median), prints a table and draws ``necks.png``. The
last column is the difference to BiFPN with fast weights, seed by seed: mean and standard error. Below stand the
paper's Tables 5 and 6 (Tan, Pang & Le 2020, arXiv 1911.09070), read from ``../shared`` where it is there: another data
set, a backbone a hundred times larger, trained for 50 passes and longer, so only the order can be compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from scalesearch.detection import build_detector
from scalesearch.detection.data import load_box_data
from scalesearch.detection.studies import DetectConfig
from scalesearch.detection.studies.comparing import Planned
from scalesearch.measure.profiling import profile_latency
from scalesearch.report import canvas
from scalesearch.report.pareto import mean_and_se
from scalesearch.report.plot import save_figure

BEST = "bifpn fast"
PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "reference" / "published.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--repeats", type=int, default=5, help="rounds of latency readings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trials = pd.read_csv(options.study / "trials.csv")
    trials = trials[(trials.part == "detect") & (trials.state == "COMPLETE")]
    plan = read_plan(options.study)
    aps = trials.pivot_table(index="seed", columns="label", values="val_ap")
    latencies = measure_latencies(plan, options.repeats)
    console = Console(width=140, highlight=False)
    print_study(console, plan, trials, aps, latencies)
    print_paper(console)
    pictures = save_figure(draw(plan, aps), options.study / "necks")
    console.print("Wrote " + ", ".join(map(str, pictures)))


def read_plan(study: Path) -> list[Planned]:
    """Return the detectors that the study's configuration names."""
    section = OmegaConf.load(study / "config.yaml").detect
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DetectConfig), section))
    assert isinstance(config, DetectConfig)
    return config.plan(load_box_data(config.data, warns=False).num_classes)


def measure_latencies(plan: list[Planned], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each detector, all measured in turns so that a busy moment hits all alike."""
    detectors = {each.label: (build_detector(each.spec), each.spec.image_size) for each in plan}
    readings: dict[str, list[float]] = {label: [] for label in detectors}
    for _ in range(repeats):
        for label, (detector, image_size) in detectors.items():
            readings[label].append(profile_latency(detector, image_size, repeats=15).p50_ms)
    return {label: statistics.median(values) for label, values in readings.items()}


def print_study(
    console: Console, plan: list[Planned], trials: pd.DataFrame, aps: pd.DataFrame, latencies: dict[str, float]
) -> None:
    """Print a row a detector."""
    table = Table(title=f"{len(aps)} seeds each; mean ± standard error, in points", title_justify="left")
    for column in ("neck, fusion", "AP", "AP50", "params", "macs", "ms", f"less {BEST}, paired"):
        table.add_column(column, justify="left" if column == "neck, fusion" else "right")
    for each in plan:
        mine = trials[trials.label == each.label]
        difference = describe(aps[each.label] - aps[BEST], sign=True) if each.label != BEST else ""
        scores = (describe(mine[name]) for name in ("val_ap", "val_ap50"))
        costs = (f"{each.cost.params:,}", f"{each.cost.macs:,}", f"{latencies[each.label]:.1f}")
        table.add_row(each.label, *scores, *costs, difference)
    console.print(table)


def print_paper(console: Console) -> None:
    """Print the paper's Tables 5 and 6, where they are at hand."""
    if not PUBLISHED.exists():
        console.print("The paper's tables are not here: ../shared/reference/published.json is missing.")
        return
    papers = json.loads(PUBLISHED.read_text(encoding="utf-8"))["papers"]
    table = Table(title="The paper's Table 5: COCO, B3 backbone", title_justify="left")
    for column in ("neck", "AP", "params ratio", "FLOPs ratio"):
        table.add_column(column, justify="left" if column == "neck" else "right")
    for row in papers["det_table5_ap_paramratio_flopratio"]:
        table.add_row(*map(str, row))
    console.print(table)
    table = Table(title="The paper's Table 6: softmax and fast fusion", title_justify="left")
    for column in ("model", "AP, softmax", "AP, fast", "speed-up of fast"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in papers["det_table6_softmax_fast_speedup"]:
        table.add_row(*map(str, row))
    console.print(table)


def draw(plan: list[Planned], aps: pd.DataFrame) -> Figure:
    """Draw each detector's seeds as dots and its mean as a bar, grouped by neck."""
    figure, box = canvas.new_sheet(
        width=6.4,
        plot_height=2.8,
        left=0.75,
        right=0.2,
        title="Necks and fusions of one detector",
        legend_rows=0,
        footnote=f"Dots: {len(aps)} seeds. Bars: mean ±1 standard error.",
    )
    axes = figure.add_axes(box.bounds)
    canvas.style_axes(axes, "", "AP on val")
    colours = {"fpn": canvas.GREY, "panet": canvas.GREEN, "bifpn": canvas.BLUE}
    for place, each in enumerate(plan):
        values = aps[each.label].dropna()
        mean, error = mean_and_se(values)
        colour = colours[each.spec.neck]
        axes.plot([place] * len(values), values, "o", color=colour, markersize=4, alpha=0.45, markeredgewidth=0)
        axes.errorbar(place, mean, yerr=error, color=colour, marker="_", markersize=16, capsize=4, linewidth=1.6)
    axes.set_xticks(range(len(plan)), [each.label.replace(" ", "\n") for each in plan])
    axes.yaxis.set_major_formatter(canvas.format_percent)
    return figure


def describe(values: pd.Series[float], *, sign: bool = False) -> str:
    """Return mean and standard error in points."""
    mean, error = mean_and_se(values.dropna())
    return f"{100 * mean:{'+' if sign else ''}.1f} ± {100 * error:.1f}"


if __name__ == "__main__":
    main()
