"""Ten thousand trials through one driver, and through four on PostgreSQL: its memory, its time a trial, and opening it.

The score is a table of known results (`--table`, that of Accel-NASBench; networks it lacks are filled by a regressor),
so nothing but the driver, the sampler and the storage is at work. Each driver is a process; a watcher reads its
resident memory, and the number of trials, twice a second.

    OMP_NUM_THREADS=1 python benchmarks/load.py --trials 10000 --drivers 1 4
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
import psycopg

from scalesearch.study.store import load_records
from tests.services.postgres import PostgresServer, find_binaries

TABLE = Path(__file__).resolve().parents[2] / "shared" / "benchmarks" / "accel_nasbench.csv.gz"
_FIRST = 1000  # trials after which memory and time are compared with the end


@dataclass(frozen=True)
class Reading:
    """What a watcher saw at one moment."""

    seconds: float
    trials: int
    memory_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--drivers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--sqlite", action="store_true", help="one driver on SQLite, in place of PostgreSQL")
    arguments = parser.parse_args()
    if not arguments.table.exists():
        raise SystemExit(f"{arguments.table} with the known results is not here; give --table")
    if find_binaries() is None and not arguments.sqlite:
        raise SystemExit("the PostgreSQL server is not installed (Debian: apt-get install postgresql)")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="load-"))
    folder.chmod(0o755)
    print("| drivers | storage | trials | ms a trial, trials 1,000 to 2,000 | ms a trial, last 1,000 | their ratio |"
          " largest driver at 1,000, MiB | at the end | growth | opening the study, s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    try:
        if arguments.sqlite:
            run_drivers(folder, f"sqlite:///{folder}/load.db", 1, arguments)
            return
        server = PostgresServer(folder / "server").start()
        try:
            for num_drivers in arguments.drivers:
                run_drivers(folder, server.create_database(f"load-{num_drivers}"), num_drivers, arguments)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_drivers(folder: Path, url: str, num_drivers: int, arguments: argparse.Namespace) -> None:
    """Run a search to its end with so many drivers, and print a row of what was seen."""
    keys = [
        "search", "study=load", "space=accel_nasbench", "score=table", f"score.path={arguments.table}",
        "score.missing=fill", f"sampler={arguments.sampler}", f"trials={arguments.trials}", f"storage={url}",
    ]  # fmt: skip
    drivers = []
    for index in range(num_drivers):
        log = (folder / f"driver-{num_drivers}-{index}.log").open("wb")
        command = [sys.executable, "-m", "scalesearch.cli", *keys, f"results={folder}/{num_drivers}-{index}"]
        drivers.append(subprocess.Popen(command, stdout=log, stderr=log))
    readings = watch(drivers, url)
    failed = [driver.returncode for driver in drivers if driver.returncode]
    if failed:
        raise SystemExit(f"a driver ended with {failed}; see {folder}")
    started = time.perf_counter()
    (record,) = load_records(url, "load")
    num_trials = len(record.trials)
    opening = time.perf_counter() - started
    early, late = pace(readings, _FIRST, 2 * _FIRST), pace(readings, num_trials - _FIRST, num_trials)
    first = next(reading for reading in readings if reading.trials >= _FIRST)
    last = readings[-1]
    print(
        f"| {num_drivers} | {url.split(':')[0]} | {num_trials:,} | {early:.1f} | {late:.1f} | {late / early:.2f} |"
        f" {first.memory_mib:.0f} | {last.memory_mib:.0f} | {last.memory_mib - first.memory_mib:+.0f} |"
        f" {opening:.1f} |",
        flush=True,
    )


def watch(drivers: list[subprocess.Popen[bytes]], url: str) -> list[Reading]:
    """Return readings from the first trial on until every driver has ended."""
    readings, started = list[Reading](), time.perf_counter()
    while any(driver.poll() is None for driver in drivers):
        time.sleep(0.5)
        memory = [resident_mib(driver.pid) for driver in drivers if driver.poll() is None]
        trials = count_trials(url)
        if memory and trials:
            readings.append(Reading(time.perf_counter() - started, trials, max(memory)))
    return readings


def pace(readings: list[Reading], begin: int, end: int) -> float:
    """Return the milliseconds between two trials, all drivers together, in a stretch of the study."""
    inside = [reading for reading in readings if begin <= reading.trials <= end]
    return 1000 * (inside[-1].seconds - inside[0].seconds) / max(1, inside[-1].trials - inside[0].trials)


def resident_mib(pid: int) -> float:
    """Return the memory a process holds, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096 / 2**20
    except (OSError, IndexError):
        return 0.0


def count_trials(url: str) -> int:
    """Return the trials in a database, 0 before it has any."""
    try:
        if url.startswith("sqlite"):
            import sqlite3

            path = url.removeprefix("sqlite:///")
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
                return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
        with psycopg.connect(url) as server:
            row = server.execute("SELECT count(*) FROM trials").fetchone()
            return 0 if row is None else int(row[0])
    except Exception:  # it has no tables yet
        return 0


if __name__ == "__main__":
    main()
