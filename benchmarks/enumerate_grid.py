"""How fast the candidates of a grid are found: arrays beside scaling and costing every point.

Run: ``python benchmarks/enumerate_grid.py``

- Ours: ``scaling_grid`` on EfficientNet-B0 in steps of 0.02, which are 132,651 points: enumerated, costed, filtered at
  5 % and merged, whole.
- Point by point: ``scale_arch`` and ``network_cost`` on every 100th point, multiplied up; filtering and merging are NOT
  counted for it.

One thread; the table has the median over rounds.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from scalesearch.arch import network_cost, published_arch, scale_arch
from scalesearch.scaling.candidates import GridInfo, grid_points, scaling_grid

ROUNDS = 5
STEP = 0.02
SAMPLE_EVERY = 100
BASE = published_arch("efficientnet-b0")


def main() -> None:
    points = list(grid_points(STEP))
    sample = points[::SAMPLE_EVERY]
    infos: dict[str, GridInfo] = {}
    seconds: dict[str, list[float]] = {"realised": [], "formula": [], "point by point": []}

    def enumerate_all(constraint: str) -> None:
        infos[constraint] = scaling_grid(BASE, step=STEP, constraint=constraint).info

    def cost_sample() -> None:
        for point in sample:
            network_cost(scale_arch(BASE, point))

    for _ in range(ROUNDS):
        for constraint in ("realised", "formula"):
            seconds[constraint].append(seconds_of(functools.partial(enumerate_all, constraint)))
        seconds["point by point"].append(seconds_of(cost_sample) * len(points) / len(sample))
    print_table({name: statistics.median(values) for name, values in seconds.items()}, infos)


def seconds_of(task: Callable[[], None]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def print_table(seconds: dict[str, float], infos: dict[str, GridInfo]) -> None:
    points = infos["realised"].points
    table = Table(title=f"scaling_grid: {points:,} points of EfficientNet-B0, one thread, median of {ROUNDS}")
    for column in ("", "seconds", "points a second", "faster by", "candidates"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in seconds.items():
        ratio = f"{seconds['point by point'] / value:.0f} x" if name in infos else ""
        found = f"{infos[name].networks_on_target:,} of {infos[name].points_on_target:,}" if name in infos else ""
        table.add_row(name, f"{value:.2f}", f"{points / value:,.0f}", ratio, found)
    Console().print(table)


if __name__ == "__main__":
    main()
