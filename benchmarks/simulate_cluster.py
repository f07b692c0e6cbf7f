"""How a search uses 1, 8, 64 or 512 workers: a real driver over workers that exist in a clock alone.

    OMP_NUM_THREADS=1 python benchmarks/simulate_cluster.py --workers 1 8 64 --trials 256 --out scale.png
    OMP_NUM_THREADS=1 python benchmarks/simulate_cluster.py --workers 512 --trials 1024 --speed-up 1 10 100
    python benchmarks/simulate_cluster.py --driver-seconds 0.5 --trials 4096

Loop, sampler, early stopping and database are the real ones and take the time they take. Only the trainings are
simulated: what they take and read is Accel-NASBench's (``--table``, a file that is not part of this project: without it
there is nothing to simulate, and the program says so). ``benchmarks/cluster/trainings.py`` says what of it is measured
and what assumed.

- steady: seconds of training over those of all workers, from as many proposals as workers up to the last proposal.
- overall: the same from first to last, with the filling at the start and the tail in which fewer jobs are left than
  workers, which no driver avoids.
- driver: seconds of the driver a scored network, in the steady part; then those of the whole study by part.
- load: workers * driver / training. From 1 on the driver is the limit. 1 / (1 + load) is the law of a queue in which
  every worker waits behind all others, min(1, 1 / load) what a driver without pause keeps busy.
- regret: points of accuracy between the best network known within the budget and the one that read best.

The driver's seconds are those of the wall's clock, or with ``--clock processor`` those of the driver's processor: on a
machine that does other work beside it, the wall's tell of that work. They leave out waiting for a database server.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import optuna
from cluster.paper import Lengths, simulate_on_paper
from cluster.picture import plot_simulations
from cluster.regret import regret_of
from cluster.storages import STORAGES, storages_opened_as
from cluster.study import Outcome, Plan, simulate
from cluster.tables import HEADS, PAPER_HEAD, paper_row, rows
from cluster.trainings import BEST_KNOWN, MACS_BUDGET, SPACE, MeasuredTrainings

from scalesearch.arch import network_cost
from scalesearch.search.rungs import METHODS
from scalesearch.search.samplers import SAMPLERS
from tests.services.postgres import PostgresServer

DEFAULT_TABLE = Path(__file__).resolve().parents[2] / "shared" / "benchmarks" / "accel_nasbench.csv.gz"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main() -> None:
    """Print the tables, and draw the picture where asked."""
    options = parse()
    if not options.table.is_file():
        print(f"skipped: Accel-NASBench's table is not at {options.table}")
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    trainings = MeasuredTrainings.load(options.table)
    if options.driver_seconds is not None:
        print(PAPER_HEAD, *paper_rows(options, trainings), sep="\n")
        return
    outcomes = list(run_all(options, trainings))
    regrets = [regret_of(each.ledger, trainings.true_top1, BEST_KNOWN) for each in outcomes]
    for head, lines in zip(HEADS, zip(*map(rows, outcomes, regrets), strict=True), strict=True):
        print(head, *lines, "", sep="\n")
    if options.out is not None:
        footnote = f"{options.trials} networks scored, sampler {options.sampler}, pruner {options.pruner}"
        plot_simulations(outcomes, regrets, "Simulated workers, a real driver", footnote).savefig(options.out, dpi=150)


def run_all(options: argparse.Namespace, trainings: MeasuredTrainings) -> Iterator[Outcome]:
    """Run every simulation, and say on the way how far it is."""
    with ExitStack() as stack:
        stack.enter_context(storages_opened_as(options.rereads))
        if options.postgres:
            server_folder = Path(tempfile.mkdtemp(prefix="postgres-"))
            server_folder.chmod(0o755)
            server = PostgresServer(server_folder / "server").start()
            stack.callback(server.stop)
            options.storage = server.create_database("simulation")
        for plan in plans(options):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            faster = replace(trainings, speed_up=plan.speed_up)
            outcome = simulate(plan, SPACE, faster, folder, options.storage, CLOCKS[options.clock])
            print(f"{plan.workers} workers: {outcome.ledger.driver_seconds:.0f} s of the driver's", flush=True)
            yield outcome


def paper_rows(options: argparse.Namespace, trainings: MeasuredTrainings) -> Iterator[str]:
    """Return a line a simulation with a driver on paper, of networks within the budget that have a row."""
    archs = [arch for arch in trainings.measured if network_cost(arch, num_classes=1000).macs <= MACS_BUDGET]
    for plan in plans(options):
        lengths = Lengths(trainings.measured, plan.speed_up)
        yield paper_row(simulate_on_paper(plan, lengths, archs, options.driver_seconds))


def plans(options: argparse.Namespace) -> Iterator[Plan]:
    """Return what is simulated, the longest trainings first."""
    for speed_up in options.speed_up:
        for workers in options.workers:
            yield Plan(
                workers=workers,
                trials=options.trials,
                sampler=options.sampler,
                pruner=options.pruner,
                speed_up=speed_up,
                seed=options.seed,
                macs=MACS_BUDGET,
            )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=DEFAULT_TABLE, help="accel_nasbench.csv.gz")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--trials", type=int, default=1024, help="networks to score")
    parser.add_argument("--sampler", choices=SAMPLERS, default="predictor")
    parser.add_argument("--pruner", choices=METHODS, default="off")
    parser.add_argument("--speed-up", type=float, nargs="+", default=[1.0], help="by which trainings are shorter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--driver-seconds", type=float, help="a trial, of a driver on paper in place of the real one")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="of the driver's seconds")
    parser.add_argument("--storage", help="URL of another database than a SQLite file in a temporary folder")
    parser.add_argument("--rereads", choices=STORAGES, default="changed", help="what the driver reads again")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL server of its own, on loopback")
    parser.add_argument("--out", type=Path, help="PNG or SVG to draw")
    return parser.parse_args()


if __name__ == "__main__":
    main()
