"""What a driver takes for a trial while so many others run: proposing, recording and settling it, by part.

    OMP_NUM_THREADS=1 python benchmarks/driver_seconds.py --running 8 64 512 --done 512

A study in SQLite is filled with trials of ``accel_nasbench`` that are done and that run; then the loop of a search
proposes, records and settles a few more, as it does for each that its workers end. Printed are seconds of its
processor, the mean over ``--trials``. The simulation (``simulate_cluster.py``) meets the same seconds, but needs a
whole study to reach such a crowd.

With T seconds of a training and d of the driver's, ``T / d`` workers are as many as the driver can keep busy.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
import warnings
from pathlib import Path

import optuna
from cluster.executor import NUM_STEPS, SimulatedExecutor
from cluster.meter import PROPOSING, STORAGE, Meter
from cluster.storages import STORAGES, storages_opened_as
from cluster.study import Plan, build_loop, config_of

from scalesearch.arch import ArchSpec
from scalesearch.measure.scores import Score
from scalesearch.search.loop import SearchLoop
from scalesearch.search.samplers import SAMPLERS
from scalesearch.study.executors import Scored

SPACE, NUM_FIRST = "accel_nasbench", 2  # the first one is done, the second one runs: the others are their copies


class NoTrainings:
    """Nothing is trained here."""

    def seconds(self, arch: ArchSpec) -> float:
        """Refuse."""
        raise AssertionError(arch)

    def read(self, arch: ArchSpec, share: float) -> float:
        """Refuse."""
        raise AssertionError(arch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--running", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--done", type=int, default=512)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--sampler", choices=SAMPLERS, default="predictor")
    parser.add_argument("--rereads", choices=STORAGES, nargs="+", default=list(STORAGES))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    print("| running | done | reads again | driver s a trial | proposing s | storage s | rest s |")
    print("|---|---|---|---|---|---|---|")
    for running in options.running:
        for rereads in options.rereads:
            with tempfile.TemporaryDirectory() as folder, storages_opened_as(rereads):
                plan = Plan(workers=running, trials=10**6, sampler=options.sampler)
                total, meter = measure(plan, Path(folder), running, options.done, options.trials)
            parts = [meter.seconds[part] / options.trials for part in (PROPOSING, STORAGE)]
            cells = " | ".join(f"{each:.3f}" for each in (total, *parts, total - sum(parts)))
            print(f"| {running} | {options.done} | {rereads} | {cells} |", flush=True)


def measure(plan: Plan, folder: Path, running: int, done: int, trials: int) -> tuple[float, Meter]:
    """Return the driver's seconds a trial in such a crowd, and their parts."""
    config = config_of(plan, SPACE, folder, None)
    with config.held():
        loop = build_loop(config, SimulatedExecutor(running, NoTrainings(), time.process_time))
        loop._trials, loop._progress = plan.trials, Quiet()
        one(loop, settles=True)
        one(loop, settles=False)
        crowd(config.folder.database, running, done)
        loop = build_loop(config, SimulatedExecutor(running, NoTrainings(), time.process_time))
        loop._trials, loop._progress = plan.trials, Quiet()
        one(loop, settles=True)  # fits the predictor, and fills the caches: once a study, or once in many trials
        meter = Meter(time.process_time)
        with meter.attached():
            started = time.process_time()
            for _ in range(trials):
                one(loop, settles=True)
            return (time.process_time() - started) / trials, meter


class Quiet:
    """A display that shows nothing."""

    def settle(self, number: int, state: str, line: str = "") -> None:
        """Show nothing."""

    def best(self, description: str) -> None:
        """Show nothing."""


def one(loop: SearchLoop[ArchSpec], *, settles: bool) -> None:
    """Propose and record a trial, and settle it where asked."""
    jobs: list = []
    while not jobs:
        trial = loop._proposer.propose(loop._record)
        assert trial is not None, "a sampler always proposes"
        jobs = list(loop._gate(trial))
    if settles:
        worth = 0.6 + 0.01 * random.Random(trial.number).random()
        loop._settle(trial, jobs[0][1], Scored(trial.number, Score(val_top1=worth, steps=NUM_STEPS)))


def crowd(database: Path, running: int, done: int) -> None:
    """Copy the first two trials, with parameters and values of the copies' own."""
    rng = random.Random(0)
    with sqlite3.connect(database) as connection:
        (first, first_running) = (row[0] for row in connection.execute("SELECT trial_id FROM trials ORDER BY number"))
        # those that run come last, as in a study
        for number, origin in enumerate([first] * (done - 1) + [first_running] * (running - 2), NUM_FIRST):
            copy_trial(connection, origin, number, rng)


def copy_trial(connection: sqlite3.Connection, origin: int, number: int, rng: random.Random) -> None:
    columns = "study_id, state, datetime_start, datetime_complete"
    query = f"INSERT INTO trials (number, {columns}) SELECT ?, {columns} FROM trials WHERE trial_id = ?"
    copy = connection.execute(query, (number, origin)).lastrowid
    for table, columns in (
        ("trial_params", "param_name, param_value, distribution_json"),
        ("trial_values", "objective, value, value_type"),
        ("trial_user_attributes", "key, value_json"),
        ("trial_system_attributes", "key, value_json"),
    ):
        query = f"INSERT INTO {table} (trial_id, {columns}) SELECT ?, {columns} FROM {table} WHERE trial_id = ?"
        connection.execute(query, (copy, origin))
    query = "SELECT param_id, distribution_json FROM trial_params WHERE trial_id = ?"
    for key, distribution in connection.execute(query, (copy,)).fetchall():
        choice = rng.randrange(len(json.loads(distribution)["attributes"]["choices"]))
        connection.execute("UPDATE trial_params SET param_value = ? WHERE param_id = ?", (choice, key))
    connection.execute("UPDATE trial_values SET value = ? WHERE trial_id = ?", (0.6 + 0.05 * rng.random(), copy))
    name = json.dumps(f"copy-{number}")
    query = "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = ? AND key = 'arch_id'"
    connection.execute(query, (name, copy))


if __name__ == "__main__":
    main()
