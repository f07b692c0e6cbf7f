"""How many good networks a budget of compute trains to the end, with early stopping at a rung and without.

Run: ``python benchmarks/early_stopping.py [--shuffled]``. Data: ``../shared/benchmarks/accel_nasbench_seeds.csv.gz``.

- The data: 117 networks of Accel-NASBench (Ahmad et al. 2024), trained on ImageNet with 3 seeds and 2 schedules.
- A candidate's reading at the one rung is its accuracy after the short schedule, its end that after the long one, each
  with a seed drawn at random. Who goes on is decided by ``scalesearch.search.rungs.Rungs``, the class of a search.
- The order of the candidates is random: no sampler learns, so this is random search with and without stopping. Both
  see the same order and the same seeds; the difference is paired.
- Compute is the sum of the measured training seconds. With stopping every candidate pays the short schedule, and one
  that goes on pays the whole long one in addition: nothing is saved by training on from the rung, as a search does.
  A training that would pass the budget is not begun.
- Good: with two objectives the best fronts, by mean accuracy over the seeds and by macs, which together hold at least a
  fifth of all networks; with one the best fifth by accuracy. Precision: of those trained to the end, the share of good
  ones.

With two objectives the macs are known exactly at the rung and help by themselves: ``--shuffled`` hands the readings to
the wrong networks, and what is left over running without is what the macs alone give.

What it does not show: the short schedule's learning rate has come down to 0 when it is read, whereas at a rung inside
a longer schedule it has not, and such a reading may rank worse.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from scalesearch.search.dominance import nondominated_ranks
from scalesearch.search.rungs import PrunerConfig, Rungs

DATA = Path(__file__).resolve().parents[2] / "shared" / "benchmarks" / "accel_nasbench_seeds.csv.gz"
NUM_ORDERS = 300
ETAS = (2, 3, 4)
BUDGETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # of the seconds that all networks take with the long schedule
GOOD_SHARE = 0.2
DIRECTIONS = {"accuracy, macs": ("maximize", "minimize"), "accuracy": ("maximize",)}

Floats = NDArray[np.float64]


class Trainings(NamedTuple):
    """Accuracies in per cent and training seconds, (networks, seeds) a schedule; macs in millions, (networks,)."""

    short_top1: Floats
    short_seconds: Floats
    long_top1: Floats
    long_seconds: Floats
    macs: Floats


class Run(NamedTuple):
    """One search in the order it went: seconds spent, trainings to the end and good ones among them, all cumulated."""

    seconds: Floats
    trained: Floats
    good: Floats

    def at(self, budget: float) -> tuple[float, float]:
        """Return the trainings to the end and the good ones among them when ``budget`` seconds are spent."""
        last = int(np.searchsorted(self.seconds, budget, side="right")) - 1
        return (0.0, 0.0) if last < 0 else (float(self.trained[last]), float(self.good[last]))


def main() -> None:
    if not DATA.exists():
        print(f"skipped: {DATA} is not here")
        return
    trainings = load(DATA)
    if "--shuffled" in sys.argv[1:]:
        wrong = np.random.default_rng(1).permutation(len(trainings.macs))
        trainings = trainings._replace(short_top1=trainings.short_top1[wrong])
    console = Console(width=130)
    for name, directions in DIRECTIONS.items():
        good = find_good(trainings, directions)
        title = f"{name}: {good.sum()} good of {good.size} networks, {NUM_ORDERS} orders, mean ± standard error"
        table = Table(title=title, title_justify="left")
        for column in ("eta", "budget", "good without", "good with", "difference", "precision without", "with"):
            table.add_column(column, justify="right")
        for eta in ETAS:
            for row in compare(trainings, good, directions, eta):
                table.add_row(*row)
            table.add_section()
        console.print(table)


def load(path: Path) -> Trainings:
    rows = pd.read_csv(path)
    blocks = [column for column in rows.columns if column.startswith("block")]
    rows["network"] = rows.groupby(blocks).ngroup()
    tables = {
        (schedule, column): rows[rows.schedule == schedule].pivot_table(column, "network", "seed").to_numpy()
        for schedule in ("proxified", "fewproxy")
        for column in ("top1", "train_seconds")
    }
    macs = rows.groupby("network").macs_m.first().to_numpy()
    trainings = Trainings(*tables.values(), macs)
    assert not any(np.isnan(each).any() for each in trainings), "a network without one of its trainings"
    return trainings


def find_good(trainings: Trainings, directions: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which networks are worth training to the end, by all the seeds of the long schedule."""
    losses = np.column_stack([-trainings.long_top1.mean(axis=1), trainings.macs])[:, : len(directions)]
    ranks = nondominated_ranks(losses)
    last = np.sort(ranks)[math.ceil(GOOD_SHARE * len(ranks)) - 1]
    return ranks <= last


def compare(trainings: Trainings, good: NDArray[np.bool_], directions: tuple[str, ...], eta: int) -> list[list[str]]:
    """Return a row a budget: good trainings without and with stopping, their difference, precisions."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(NUM_ORDERS):
        order, seeds = rng.permutation(len(good)), rng.integers(trainings.long_top1.shape[1], size=(2, len(good)))
        going = np.array(list(who_goes_on(trainings, directions, eta, order, seeds[0])))
        pairs.append(
            (run(trainings, good, order, seeds, None), run(trainings, good, order, seeds, going)),
        )
    return [_row(eta, share, pairs, share * trainings.long_seconds.mean(axis=1).sum()) for share in BUDGETS]


def who_goes_on(
    trainings: Trainings, directions: tuple[str, ...], eta: int, order: NDArray[np.intp], seeds: NDArray[np.intp]
) -> list[bool]:
    """Return who passes the rung, in the order in which the candidates come."""
    rungs = Rungs(PrunerConfig(method="asha", eta=eta, min_share=0.5), 2, directions)
    (rung,) = rungs.steps(0)
    going = []
    for number, network in enumerate(order):
        reading = [trainings.short_top1[network, seeds[network]], trainings.macs[network]][: len(directions)]
        rungs.record(number, rung, reading)
        going.append(rungs.keeps_on(number, rung))
    return going


def run(
    trainings: Trainings,
    good: NDArray[np.bool_],
    order: NDArray[np.intp],
    seeds: NDArray[np.intp],
    going: NDArray[np.bool_] | None,
) -> Run:
    """Return a search through ``order``; where ``going`` is None no candidate is read at a rung."""
    long_seconds = trainings.long_seconds[order, seeds[1][order]]
    if going is None:
        return Run(np.cumsum(long_seconds), np.arange(1.0, len(order) + 1), np.cumsum(good[order], dtype=float))
    seconds = trainings.short_seconds[order, seeds[0][order]] + going * long_seconds
    return Run(np.cumsum(seconds), np.cumsum(going, dtype=float), np.cumsum(going & good[order], dtype=float))


def _row(eta: int, share: float, pairs: list[tuple[Run, Run]], budget: float) -> list[str]:
    without = np.array([plain.at(budget) for plain, _ in pairs])
    stopping = np.array([stopped.at(budget) for _, stopped in pairs])
    columns = [without[:, 1], stopping[:, 1], stopping[:, 1] - without[:, 1]]
    precisions = [each[:, 1].sum() / each[:, 0].sum() for each in (without, stopping)]
    return [str(eta), f"{share:.0%}", *map(_mean_and_se, columns), *(f"{each:.2f}" for each in precisions)]


def _mean_and_se(values: Floats) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1) / math.sqrt(values.size):.2f}"


if __name__ == "__main__":
    main()
