"""Processes and their children, as Linux lists them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return the processes that a process began, and those that they began."""
    children = [child for child, parent in _parents().items() if parent == pid]
    return [*children, *(below for child in children for below in descendants(child))]


def names_of(pids: Iterable[int]) -> dict[int, str]:
    """Return the command line of each process that still runs."""
    names = {}
    for pid in pids:
        with suppress(OSError):
            content = Path(f"/proc/{pid}/cmdline").read_bytes()
            names[pid] = content.replace(b"\0", b" ").decode(errors="replace")
    return names


def _parents() -> dict[int, int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    return parents
