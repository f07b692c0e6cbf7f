"""Progress for people: a live display in a terminal, a line a settled trial elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_ORDER = ("PRUNED", "FAILED", "INFEASIBLE", "DUPLICATE")


class ProgressDisplay:
    """Shows how far a part of a study is: trials by state, the best so far, the time left.

    Args:
        part: What runs.
        total: Trainings it will take.
        done: Trainings that earlier runs of the same command have done.
        console: Where to; standard error where it is not given, so that standard output stays for results.
    """

    def __init__(self, part: str, total: int, done: int = 0, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._part, self._total, self._done, self._first = part, total, done, done
        self._states: Counter[str] = Counter()
        self._best = ""
        self._started = time.monotonic()
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
        )
        self._main = self._bars.add_task(part, total=total, completed=done, note="")
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._console.print(f"{self._part}: {self._summary()}", soft_wrap=True)

    def begin(self, number: int, description: str) -> None:
        """Show a trial as running."""
        self._tasks[number] = self._bars.add_task(f"  trial {number}", total=None, note=description)

    def step(self, number: int, steps: int, num_steps: int) -> None:
        """Show how far a running trial is."""
        self._bars.update(self._tasks[number], completed=steps, total=num_steps)
        self._bars.update(self._main, note=self._summary())

    def settle(self, number: int, state: str, line: str = "") -> None:
        """Count a trial that has ended; one that ran moves the bar and, off a terminal, has a line."""
        self._states[state] += 1
        if number in self._tasks:
            self._bars.remove_task(self._tasks.pop(number))
            self._done += 1
            if not self._console.is_terminal:
                self._console.print(
                    f"{self._part} {self._done}/{self._total}: trial {number} {line} | {self._summary()}",
                    soft_wrap=True,
                )
        self._bars.update(self._main, completed=self._done, note=self._summary())

    def count(self, others: int) -> None:
        """Count trainings that other drivers have done meanwhile."""
        if others:
            self._done += others
            self._first += others  # they say nothing of how fast this driver is
            self._bars.update(self._main, completed=self._done, note=self._summary())

    def best(self, description: str) -> None:
        """Show the best so far."""
        self._best = description

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(f"{self._part}: {text}", soft_wrap=True)

    def _summary(self) -> str:
        parts = [f"{self._done} done"]
        parts += [f"{self._states[state]} {state.lower()}" for state in _ORDER if self._states[state]]
        if self._best:
            parts.append(f"best {self._best}")
        left = self._seconds_left()
        if left is not None:
            parts.append(f"about {_duration(left)} left")
        return ", ".join(parts)

    def _seconds_left(self) -> float | None:
        here = self._done - self._first
        if not here or self._done >= self._total:
            return None
        return (time.monotonic() - self._started) / here * (self._total - self._done)


class StepsDisplay:
    """Shows how far something in few long pieces is, each named; off a terminal a line a tenth.

    Args:
        console: Where to; standard error where it is not given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        self._bars = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> StepsDisplay:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:  # elsewhere it would print an empty line
            self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a piece are done."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done)
        if not self._console.is_terminal and done * 10 // total > (done - 1) * 10 // total:
            self._console.print(f"{what} {done}/{total}", soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes >= 2 else f"{round(seconds)} s"
