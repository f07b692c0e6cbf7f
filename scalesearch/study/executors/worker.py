"""What happens in a worker's process, whoever began it: run a job, tell of it, and stay within its memory."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from scalesearch.atomic import tells_of_no_room
from scalesearch.study.executors.events import Began, End, Event, Failed, Halted, Reached, Run, Scored, Stepped
from scalesearch.study.jobs import CandidateJob

_REPORT_SECONDS = 0.3
_GUARD_SECONDS = 0.1
_EXIT_OVER_LIMIT = 70


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker's process may use.

    Attributes:
        num_threads: Of the processor.
        memory_gib: Resident memory at which it ends itself; ``inf`` leaves that to the kernel.
    """

    num_threads: int = 1
    memory_gib: float = math.inf


class Channel(Protocol):
    """A worker's way to its driver. Both methods raise ``DriverGoneError`` where there is nobody left to hear."""

    def send(self, event: Event) -> None:
        """Tell the driver; called by two threads, one at a time."""
        ...

    def receive(self) -> bool:
        """Wait for the answer to ``Reached``."""
        ...


class DriverGoneError(Exception):
    """The driver has ended."""


def work(run: Run, key: int, job: CandidateJob, settings: WorkerSettings, channel: Channel, data: object = None) -> End:
    """Run a job in this process and return how it ended; what happens on the way goes through the channel.

    Raises:
        DriverGoneError: Nobody wants the score any more.
    """
    keep_freed_memory()
    torch.set_num_threads(settings.num_threads)
    reporter = _Reporter(key, channel)
    reporter.send(Began(key, platform.node()))
    arguments: dict[str, Any] = {} if data is None else {"data": data}
    try:
        with _memory_guarded(settings.memory_gib, reporter):
            return Scored(key, run(job, reporter, **arguments))
    except DriverGoneError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        said = f" ({str(error).splitlines()[0]})" if str(error) else ""
        reason = f"out of memory{said}{last_seen(reporter.memory_mib)}"
        return Failed(key, reason, traceback.format_exc(), out_of_memory=True)
    except Exception as error:
        if tells_of_no_room(error):
            return Halted(key, str(error))
        return Failed(key, f"{type(error).__name__}: {error}", traceback.format_exc())


def last_seen(memory_mib: float) -> str:
    """Return what the memory of a process last read, as the end of a sentence; nothing where it never was."""
    return "" if math.isnan(memory_mib) else f", last seen at {memory_mib:,.0f} MiB"


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


def resident_mib() -> float:
    """Return the memory that this process holds, NaN where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class _Reporter:
    """Tells the driver of the steps, a few times a second at most, and asks it at rungs; a ``Watcher``."""

    def __init__(self, key: int, channel: Channel) -> None:
        self._key, self._channel, self._lock = key, channel, threading.Lock()
        self._next = 0.0
        self.memory_mib = math.nan
        """What the process held when last looked at."""

    def __call__(self, steps: int, num_steps: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self.memory_mib = resident_mib()
            self.send(Stepped(self._key, steps, num_steps, self.memory_mib))
            self._next = now + _REPORT_SECONDS

    def reached(self, rung: int, steps: int, worth: float) -> bool:
        self.send(Reached(self._key, rung, steps, worth))
        return self._channel.receive()

    def send(self, event: Event) -> None:
        with self._lock:
            self._channel.send(event)

    def end_over(self, limit_gib: float, memory_mib: float) -> None:
        """Tell the driver that the process is too large, and end it."""
        reason = f"out of memory: the worker held {memory_mib:,.0f} MiB, over worker_memory_gib={limit_gib:g}"
        self.send(Failed(self._key, reason, out_of_memory=True))
        os._exit(_EXIT_OVER_LIMIT)


@contextmanager
def _memory_guarded(limit_gib: float, reporter: _Reporter) -> Iterator[None]:
    """Look at this process's memory from a thread, for an allocation that runs away takes no step that could."""
    if math.isinf(limit_gib):
        yield
        return
    done = threading.Event()

    def guard() -> None:
        while not done.wait(_GUARD_SECONDS):
            memory_mib = resident_mib()
            if memory_mib > limit_gib * 1024:
                reporter.end_over(limit_gib, memory_mib)

    thread = threading.Thread(target=guard, name="memory guard", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
