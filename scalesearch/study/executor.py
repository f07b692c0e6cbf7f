"""Where candidates run: one process each on this machine.

A candidate that runs out of memory, crashes or is killed takes its own process with it and nothing else; the driver
learns how it ended. Processes are forked from a server that has imported torch but run nothing, so that a candidate
starts in milliseconds, not seconds.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Protocol

import torch

from scalesearch.measure.scores.brief import Watcher
from scalesearch.study.jobs import CandidateJob, CandidateScore
from scalesearch.study.sessions import num_cores

Run = Callable[[Any, Watcher], CandidateScore]
"""Scores a job of the kind it is for."""

_REPORT_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Stepped:
    """A running job has done ``steps`` of ``num_steps``."""

    key: int
    steps: int
    num_steps: int


@dataclass(frozen=True, slots=True)
class Reached:
    """A running job has read what it is worth at a rung, counted from 0, and waits for ``Executor.answer``."""

    key: int
    rung: int
    steps: int
    worth: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A job has ended with a score."""

    key: int
    score: CandidateScore


@dataclass(frozen=True, slots=True)
class Failed:
    """A job has ended without a score."""

    key: int
    reason: str
    traceback: str = ""


Event = Stepped | Reached | Scored | Failed


class Executor(Protocol):
    """Runs jobs, ``num_workers`` at once."""

    num_workers: int

    def submit(self, key: int, job: CandidateJob) -> None:
        """Begin a job; ``key`` names it in the events."""
        ...

    def wait(self) -> list[Event]:
        """Return what has happened, at least one event."""
        ...

    def answer(self, key: int, goes_on: bool) -> None:
        """Tell a job that waits at a rung whether it goes on; one that has died meanwhile is told nothing."""
        ...

    def close(self) -> None:
        """End every job that still runs."""
        ...


class LocalExecutor:
    """One process a job on this machine, the processor's threads divided among them.

    Args:
        num_workers: Jobs at once.
        run: What a job does.
        num_threads: Threads of each; the cores divided by the workers where it is not given.
    """

    def __init__(self, num_workers: int, run: Run, num_threads: int | None = None) -> None:
        self.num_workers = num_workers
        self._num_threads = num_threads or max(1, num_cores() // num_workers)
        self._run = run
        self._context = _context(run.__module__)
        self._running: dict[int, tuple[BaseProcess, Connection]] = {}

    def submit(self, key: int, job: CandidateJob) -> None:
        """Begin a job in a process of its own."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_work, args=(self._run, job, self._num_threads, theirs)
        )  # not a daemon: those may not have children, which a DataLoader's workers are
        with _blank_main():
            process.start()
        theirs.close()  # so that the end of the process ends the pipe
        self._running[key] = (process, ours)

    def wait(self) -> list[Event]:
        """Return what has happened, at least one event."""
        assert self._running, "nothing runs: there is nothing to wait for"
        events: list[Event] = []
        while not events:
            ready = wait([connection for _, connection in self._running.values()])
            events = [self._read(key) for key, (_, connection) in list(self._running.items()) if connection in ready]
        return events

    def answer(self, key: int, goes_on: bool) -> None:
        """Tell a job that waits at a rung whether it goes on; one that has died meanwhile is told nothing."""
        with suppress(ConnectionError):  # how it died is the next thing ``wait`` reads
            self._running[key][1].send(goes_on)

    def close(self) -> None:
        """End every job that still runs."""
        for process, connection in self._running.values():
            process.terminate()
            process.join()
            connection.close()
        self._running.clear()

    def _read(self, key: int) -> Event:
        process, connection = self._running[key]
        try:
            kind, content = connection.recv()
        except (EOFError, OSError):
            process.join()
            kind, content = "failed", (_cause_of_death(process.exitcode), "")
        if kind == "stepped":
            return Stepped(key, *content)
        if kind == "reached":
            return Reached(key, *content)
        process.join()
        connection.close()
        del self._running[key]
        return Scored(key, content) if kind == "scored" else Failed(key, *content)


class InlineExecutor:
    """Runs each job in the driver's own process, for scores that cost less than a process.

    Args:
        run: What a job does.
    """

    def __init__(self, run: Callable[[Any], CandidateScore]) -> None:
        self.num_workers = 1
        self._run = run
        self._waiting: list[tuple[int, CandidateJob]] = []

    def submit(self, key: int, job: CandidateJob) -> None:
        """Take a job, to be run by the next ``wait``."""
        self._waiting.append((key, job))

    def wait(self) -> list[Event]:
        """Run what was submitted."""
        waiting, self._waiting = self._waiting, []
        return [Scored(key, self._run(job)) for key, job in waiting]

    def answer(self, key: int, goes_on: bool) -> None:
        """Refuse: such a job has no rungs."""
        raise AssertionError(f"job {key} asked at a rung, and has none")

    def close(self) -> None:
        """Forget what has not run."""
        self._waiting.clear()


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory instead of handing it back to the kernel after every step.

    Feature maps are large enough that malloc maps and unmaps each one, at the price of page faults in every step.
    Without glibc nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3  # from malloc.h
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, 1 << 30)


def _work(run: Run, job: CandidateJob, num_threads: int, driver: Connection) -> None:
    """Run a job in this process and send what happens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C ends
    keep_freed_memory()
    torch.set_num_threads(num_threads)
    reporter = _Reporter(driver)
    try:
        reporter.send(*_outcome(run, job, reporter))
    except _DriverGoneError:
        return  # nobody else wants the score


def _outcome(run: Run, job: CandidateJob, watcher: Watcher) -> tuple[str, Any]:
    try:
        return "scored", run(job, watcher)
    except _DriverGoneError:
        raise
    except MemoryError:
        return "failed", ("out of memory", traceback.format_exc())
    except Exception as error:
        return "failed", (f"{type(error).__name__}: {error}", traceback.format_exc())


class _DriverGoneError(Exception):
    """The process at the other end of the pipe has ended."""


class _Reporter:
    """Tells the driver of the steps, a few times a second at most, and asks it at rungs; a ``Watcher``."""

    def __init__(self, driver: Connection) -> None:
        self._driver = driver
        self._next = 0.0

    def __call__(self, steps: int, num_steps: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self.send("stepped", (steps, num_steps))
            self._next = now + _REPORT_SECONDS

    def reached(self, rung: int, steps: int, worth: float) -> bool:
        self.send("reached", (rung, steps, worth))
        try:
            return bool(self._driver.recv())
        except (EOFError, ConnectionError):  # a worker must not wait for ever for an answer that nobody gives
            raise _DriverGoneError from None

    def send(self, kind: str, content: object) -> None:
        try:
            self._driver.send((kind, content))
        except ConnectionError:
            raise _DriverGoneError from None


@contextmanager
def _blank_main() -> Iterator[None]:
    """Keep a new process from importing the caller's script again.

    Nothing of it is needed there; it would cost every candidate the script's imports, and a script without a
    ``__name__ == "__main__"`` guard would begin its search anew in each worker.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _context(module: str) -> BaseContext:
    """Return how processes are begun; the server has imported what a job needs."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # 0.3 s a candidate for pyarrow, where the data are parquet
    context.set_forkserver_preload([__name__, module, "pyarrow.parquet"])
    return context


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = ", which the kernel sends when memory runs out" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"
    return f"the worker process ended with exit code {exit_code} before it gave a score"
