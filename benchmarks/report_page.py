"""How long the page of a study takes: to put together, to write, to look at again, and to be drawn by a browser.

Run: ``python -m benchmarks.report_page``, with ``--trials 5000`` and ``--browser PATH`` where it is no ``chromium``.

The study is made up and kept in memory (tests/report/page/made.py): random networks with their own costs, states of
every kind. A change is one more trial that has ended, as ``watch`` meets it. Drawn is from the navigation to the
moment the page says that everything is on it, the last of several readings being of a warm browser; "empty page" is
the same document with a study of 20 trials, most of which is Plotly being read.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import optuna
from rich.console import Console
from rich.table import Table

from scalesearch.report.page.document import write_page
from scalesearch.report.page.payload import Payload
from scalesearch.report.page.reading import StudyReader
from scalesearch.report.page.writing import make_payload
from scalesearch.study.folder import StudyFolder
from tests.report.page.made import made_record, made_trial

T = TypeVar("T")

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    record = made_record(options.trials)
    with tempfile.TemporaryDirectory() as root:
        folder = StudyFolder(Path(root) / "made")
        folder.make()
        reader = StudyReader(folder, [record])
        payload, first = timed(lambda: make_payload([reader]))
        page, writing = timed(lambda: write_page(payload))
        rows = [("payload, first time", first), ("document of it", writing)]
        rows += [("payload after one more trial", median_change(reader, record.study))]
        rows += [("a look that finds nothing new", timed(reader.look)[1])]
        if options.browser:
            empty = write_page(make_payload([StudyReader(folder, [made_record(20)])]))
            rows += [("drawn", median_drawn(page, Path(root), options.browser))]
            rows += [("drawn, empty page", median_drawn(empty, Path(root), options.browser))]
        show(rows, options.trials, len(page), payload)


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return a result and the seconds it took."""
    began = time.perf_counter()
    result = call()
    return result, time.perf_counter() - began


def median_change(reader: StudyReader, study: optuna.Study) -> float:
    """Return the seconds from a trial's end to the payload that has it."""
    draw, seconds = random.Random(1), []
    for _ in range(ROUNDS):
        study.add_trial(made_trial(draw))
        seconds.append(timed(lambda: (reader.look(), make_payload([reader])))[1])
    return statistics.median(seconds)


def median_drawn(page: str, root: Path, browser: str) -> float:
    """Return the seconds a browser takes to have the page drawn."""
    from playwright.sync_api import sync_playwright

    path = root / "page.html"
    path.write_text(page, encoding="utf-8")
    with sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        seconds = []
        for _ in range(ROUNDS):
            tab = chromium.new_page()
            tab.goto(path.as_uri(), wait_until="commit")
            tab.wait_for_selector("body[data-drawn]")
            seconds.append(tab.evaluate("performance.now() / 1000"))
            tab.close()
        chromium.close()
    return statistics.median(seconds)


def show(rows: list[tuple[str, float]], num_trials: int, size: int, payload: Payload) -> None:
    """Print the readings."""
    networks = len(payload["studies"][0]["networks"])
    title = f"{num_trials:,} trials, {networks:,} networks on the page, {size / 1e6:.1f} MB; {os.cpu_count()} cores"
    table = Table("what", "seconds", title=title)
    for name, seconds in rows:
        table.add_row(name, f"{seconds:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
