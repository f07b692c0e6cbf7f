"""Candidates on this machine: one process each.

A candidate that runs out of memory, crashes or is killed takes its own process with it and nothing else; the driver
learns how it ended. Processes are forked from a server that has imported torch but run nothing, so that a candidate
starts in milliseconds, not seconds.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from scalesearch.study.executors.events import End, Event, Failed, Lost, Run, Stepped
from scalesearch.study.executors.worker import DriverGoneError, WorkerSettings, last_seen, work
from scalesearch.study.jobs import CandidateJob
from scalesearch.study.sessions import num_cores

_TERMINATE_SECONDS = 5
# Signals by which a person, a scheduler or the kernel ends a process; others are the job's own crash.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(slots=True)
class _Running:
    process: BaseProcess
    connection: Connection
    memory_mib: float = math.nan
    kills: int = field(default_factory=lambda: _kills_for_memory())


class LocalExecutor:
    """One process a job on this machine, the processor's threads divided among them.

    Args:
        num_workers: Jobs at once.
        run: What a job does.
        num_threads: Threads of each; the cores divided by the workers where it is not given.
        memory_gib: Resident memory at which a worker ends itself.
        context: How processes begin; where it is not given, from a server that has imported what a job needs.
    """

    def __init__(
        self,
        num_workers: int,
        run: Run,
        num_threads: int | None = None,
        memory_gib: float = math.inf,
        context: BaseContext | None = None,
    ) -> None:
        self.num_workers = num_workers
        self._settings = WorkerSettings(num_threads or max(1, num_cores() // num_workers), memory_gib)
        self._run = run
        self._context = context or _context(run.__module__)
        self._running: dict[int, _Running] = {}

    def submit(self, key: int, job: CandidateJob) -> None:
        """Begin a job in a process of its own."""
        ours, theirs = self._context.Pipe()
        inherited = ours if self._context.get_start_method() == "fork" else None
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_work, args=(self._run, key, job, self._settings, theirs, inherited)
        )  # not a daemon: those may not have children, which a DataLoader's workers are
        with _blank_main():
            process.start()
        theirs.close()  # so that the end of the process ends the pipe
        self._running[key] = _Running(process, ours)

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Return what has happened: at least one event, or none after so many seconds without."""
        assert self._running, "nothing runs: there is nothing to wait for"
        connections = [running.connection for running in self._running.values()]
        ready = wait(connections, None if math.isinf(seconds) else seconds)
        return [self._read(key) for key, running in list(self._running.items()) if running.connection in ready]

    def answer(self, key: int, goes_on: bool) -> None:
        """Tell a job that waits at a rung whether it goes on; one that has died meanwhile is told nothing."""
        with suppress(ConnectionError):  # how it died is the next thing ``wait`` reads
            self._running[key].connection.send(goes_on)

    def stop(self, key: int, patience_seconds: float = _TERMINATE_SECONDS) -> None:
        """End one job, by force where it does not listen in time."""
        running = self._running.pop(key)
        running.process.terminate()
        running.process.join(patience_seconds)
        if running.process.is_alive():
            running.process.kill()
            running.process.join()
        running.connection.close()

    def close(self) -> None:
        """End every job that still runs."""
        for running in self._running.values():
            running.process.terminate()  # all at once, so that none waits for another's end
        for key in list(self._running):
            self.stop(key)

    def _read(self, key: int) -> Event:
        running = self._running[key]
        try:
            event: Event = running.connection.recv()
        except (EOFError, OSError):
            running.process.join()
            event = _end_of(key, running)
        if isinstance(event, Stepped):
            running.memory_mib = event.memory_mib
        if isinstance(event, End | Lost):
            running.process.join()
            running.connection.close()
            del self._running[key]
        return event


class _Pipe:
    """A worker's end of the pipe to its driver; a ``Channel``."""

    def __init__(self, driver: Connection) -> None:
        self._driver = driver

    def send(self, event: Event) -> None:
        try:
            self._driver.send(event)
        except ConnectionError:
            raise DriverGoneError from None

    def receive(self) -> bool:
        try:
            return bool(self._driver.recv())
        except (EOFError, ConnectionError):  # a worker must not wait for ever for an answer that nobody gives
            raise DriverGoneError from None


def _work(
    run: Run, key: int, job: CandidateJob, settings: WorkerSettings, driver: Connection, inherited: Connection | None
) -> None:
    if inherited is not None:
        inherited.close()  # the driver's end: held here too, it would outlive the driver
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C ends
    channel = _Pipe(driver)
    with suppress(DriverGoneError):  # nobody else wants the score
        channel.send(work(run, key, job, settings, channel))


def _end_of(key: int, running: _Running) -> Failed | Lost:
    """Say how a process ended that told nothing."""
    exit_code = running.process.exitcode
    if exit_code == 128 + signal.SIGTERM:  # it wrote a snapshot first
        exit_code = -signal.SIGTERM
    if exit_code is None or exit_code >= 0:
        return Failed(key, f"the worker process ended with exit code {exit_code} before it gave a score")
    ended_by = signal.Signals(-exit_code)
    reason = f"the worker process was ended by {ended_by.name}"
    if ended_by == signal.SIGKILL and _kills_for_memory() > running.kills:
        reason = f"out of memory: {reason}, as the kernel does when memory runs out{last_seen(running.memory_mib)}"
        return Failed(key, reason, out_of_memory=True)
    return Lost(key, reason) if ended_by in _FROM_OUTSIDE else Failed(key, reason)


def _kills_for_memory() -> int:
    """Return how many processes of this machine the kernel has ended for want of memory; 0 where it does not tell."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


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
