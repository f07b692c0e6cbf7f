"""Killing everything at random moments: what a study loses, trains twice, or ends with otherwise.

A search of tiny candidates is run once in peace, then again while the driver, its workers, Ray's raylet and the
PostgreSQL server are SIGKILLed in turn at random moments; the disk under the study's folder is filled now and then, and
snapshots are damaged. After each blow the study must be readable. The driver is begun again with the same command until
it ends by itself, every other time on Ray where Ray is installed. In the end the two records must be one: the same
networks with the same accuracies, bit for bit.

    python benchmarks/chaos.py --kills 50
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import optuna
import pandas as pd

from scalesearch.study.store import load_records
from tests.services.postgres import PostgresServer, find_binaries
from tests.services.processes import descendants, names_of

KEYS = [
    "search",
    "study=chaos",
    "space=mbconv_small",
    "data.patches_per_class=30",
    "data.eval_patches_per_class=10",
    "image_size=16",
    "train.batch_size=16",
    "workers=2",
    "threads=1",
    "seed=0",
    "sampler=random",
    "retries=1000",
    "snapshot_seconds=0.3",
    "driver_timeout=2",
]


@dataclass
class Blows:
    """What was done, and what was found after it."""

    dealt: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    sentences: Counter[str] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        """Processes that were SIGKILLed on purpose."""
        return sum(count for name, count in self.dealt.items() if name.startswith("SIGKILL"))


class Chaos:
    """One study under attack.

    Args:
        folder: For everything; ``results`` below it may be a small disk of its own.
        server: Of the storage.
        arguments: Of the benchmark.
    """

    def __init__(self, folder: Path, server: PostgresServer, arguments: argparse.Namespace) -> None:
        self._folder, self._server, self._arguments = folder, server, arguments
        self._random = random.Random(arguments.seed)
        self._url = server.create_database("chaos")
        self._results = folder / "results"
        self._is_small_disk = make_small_disk(self._results)
        self._driver: subprocess.Popen[bytes] | None = None
        self._num_starts = 0
        self._has_begun = False  # before its first trial there is no study to read
        self.blows = Blows()

    def run(self) -> pd.DataFrame:
        """Attack until there were kills enough, then let the study end; return its trials."""
        while True:
            driver = self._driver = self._start()
            while driver.poll() is None:
                time.sleep(self._random.uniform(0.5, self._arguments.pause))
                if driver.poll() is None and self.blows.kills < self._arguments.kills:
                    self._strike(driver)
                    self._check()
            self._take_note(driver.returncode)
            if driver.returncode == 0:
                break
        if self._is_small_disk:
            subprocess.run(["umount", str(self._results)], check=True)
        return read_trials(self._url)

    def _start(self) -> subprocess.Popen[bytes]:
        on_ray = self._arguments.ray and self._num_starts % 2 == 1
        self._num_starts += 1
        keys = [*KEYS, f"trials={self._arguments.trials}", f"train.steps={self._arguments.steps}"]
        keys += [f"results={self._results}", f"storage={self._url}", f"executor={'ray' if on_ray else 'local'}"]
        log = (self._folder / "driver.log").open("ab")
        return subprocess.Popen([sys.executable, "-m", "scalesearch.cli", *keys], stdout=log, stderr=log)

    def _strike(self, driver: subprocess.Popen[bytes]) -> None:
        blow = self._random.choices(
            [self._kill_worker, self._kill_driver, self._kill_server, self._kill_raylet, self._fill_disk],
            [8, 2, 2, 2, 1],
        )[0]
        blow(driver)

    def _kill_worker(self, driver: subprocess.Popen[bytes]) -> None:
        self._kill_one(driver, "worker", ("from multiprocessing.forkserver", "ray::run_job"), among_leaves=True)

    def _kill_raylet(self, driver: subprocess.Popen[bytes]) -> None:
        self._kill_one(driver, "raylet", ("raylet/raylet",))

    def _kill_one(
        self, driver: subprocess.Popen[bytes], what: str, marks: tuple[str, ...], among_leaves: bool = False
    ) -> None:
        names = names_of(descendants(driver.pid))
        found = [pid for pid, name in names.items() if any(mark in name for mark in marks)]
        if among_leaves:  # the first of them is the server that the others are forked from
            found = [pid for pid in found if not descendants(pid)]
        if found:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(found), signal.SIGKILL)
                self.blows.dealt[f"SIGKILL of a {what}"] += 1

    def _kill_driver(self, driver: subprocess.Popen[bytes]) -> None:
        children = descendants(driver.pid)
        driver.kill()
        driver.wait()
        self.blows.dealt["SIGKILL of the driver"] += 1
        if self._random.random() < 0.5:
            self._damage_snapshot()
        for pid in children:  # what a dead driver leaves ends by itself, Ray's a little later: not waited for
            if "ray" in names_of([pid]).get(pid, ""):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _kill_server(self, driver: subprocess.Popen[bytes]) -> None:
        self._server.kill()
        self.blows.dealt["SIGKILL of PostgreSQL"] += 1
        time.sleep(self._random.uniform(0.2, 2.0))
        self._server.start()

    def _fill_disk(self, driver: subprocess.Popen[bytes]) -> None:
        if not self._is_small_disk:
            return
        ballast = self._results / "ballast"
        with suppress(OSError), ballast.open("wb") as handle:
            while True:
                handle.write(b"x" * 65536)
                handle.flush()
        self.blows.dealt["full disk"] += 1
        time.sleep(self._random.uniform(1.0, 3.0))
        ballast.unlink(missing_ok=True)

    def _damage_snapshot(self) -> None:
        snapshots = list((self._results / "chaos" / "checkpoints").glob("*.snapshot"))
        if snapshots:
            path = self._random.choice(snapshots)
            content = bytearray(path.read_bytes())
            content[self._random.randrange(len(content))] ^= 0xFF
            path.write_bytes(content[: self._random.choice([len(content), len(content) // 2])])
            self.blows.dealt["damaged snapshot"] += 1

    def _check(self) -> None:
        try:
            read_trials(self._url)
            self._has_begun = True
        except Exception as error:  # whatever it is, that is the finding
            if self._has_begun:
                self.blows.unreadable.append(f"{type(error).__name__}: {error}")

    def _take_note(self, exit_code: int) -> None:
        if exit_code not in (0, -signal.SIGKILL):
            lines = (self._folder / "driver.log").read_text(encoding="utf-8", errors="replace").splitlines()
            said = [line for line in lines if line.startswith("scalesearch: ")]
            self.blows.sentences[said[-1][:160] if said else f"exit code {exit_code}: {lines[-1][:160]}"] += 1


def run_in_peace(folder: Path, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the trials of the same search, left alone."""
    keys = [*KEYS, f"trials={arguments.trials}", f"train.steps={arguments.steps}", f"results={folder}/peace"]
    with (folder / "peace.log").open("wb") as log:
        subprocess.run([sys.executable, "-m", "scalesearch.cli", *keys], check=True, stdout=log, stderr=log)
    return read_trials(f"sqlite:///{folder}/peace/chaos/study.db")


def read_trials(url: str) -> pd.DataFrame:
    """Return every trial of the search; none before it has begun."""
    (record,) = load_records(url, "chaos")
    return record.frame()


def make_small_disk(folder: Path) -> bool:
    """Mount a disk of a few MiB where that is allowed, so that it can be filled; else a plain folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    return (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def compare(peace: pd.DataFrame, war: pd.DataFrame) -> dict[str, int]:
    """Return the completed, lost, repeated and differing trainings of the attacked study beside the one in peace."""
    expected = peace[peace.state == "COMPLETE"].set_index("arch_id").val_top1
    complete = war[war.state == "COMPLETE"]
    found = complete.drop_duplicates("arch_id").set_index("arch_id").val_top1
    both = expected.index.intersection(found.index)
    return {
        "completed": len(found),
        "lost": len(expected.index.difference(found.index)),
        "completed twice": int(complete.arch_id.duplicated().sum()),
        "not in the record of peace": len(found.index.difference(expected.index)),
        "failed": int((war.state == "FAILED").sum()),
        "left running": int((war.state == "RUNNING").sum()),
        "with another accuracy": int((expected[both] != found[both]).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between two blows, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-ray", dest="ray", action="store_false")
    arguments = parser.parse_args()
    if find_binaries() is None:
        raise SystemExit("the PostgreSQL server is not installed (Debian: apt-get install postgresql)")
    arguments.ray &= find_spec("ray") is not None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "server").start()
    started = time.monotonic()
    try:
        peace = run_in_peace(folder, arguments)
        chaos = Chaos(folder, server, arguments)
        outcome = compare(peace, chaos.run())
    finally:
        server.stop()
    report(chaos.blows, outcome, time.monotonic() - started)
    shutil.rmtree(folder, ignore_errors=True)
    wrong = sum(value for name, value in outcome.items() if name != "completed") + len(chaos.blows.unreadable)
    raise SystemExit(1 if wrong else 0)


def report(blows: Blows, outcome: dict[str, int], seconds: float) -> None:
    """Print what was done and what came of it."""
    print("| blow | times |\n|---|---|")
    for name, count in sorted(blows.dealt.items()):
        print(f"| {name} | {count} |")
    print(f"| SIGKILLs in all | {blows.kills} |\n")
    print("| trials | number |\n|---|---|")
    for name, count in outcome.items():
        print(f"| {name} | {count} |")
    print(f"| readings of the study after a blow that failed | {len(blows.unreadable)} |\n")
    for sentence, count in blows.sentences.items():
        print(f"- a driver ended {count} times with: {sentence}")
    for what in blows.unreadable:
        print(f"- unreadable: {what}")
    print(f"\n{seconds:.0f} s in all.")


if __name__ == "__main__":
    main()
