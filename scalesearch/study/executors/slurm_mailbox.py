"""Letters between a driver and a job that see the same folder, and may see nothing else of each other.

A submission has a mailbox, and each start of its job a box of letters in it: a job that was requeued begins a new one,
and those before it are read no more. A letter is a JSON file under a number, written whole. A mailbox lives until its
driver closes it, by removing one file: a job that finds it closed ends itself, whatever became of it meanwhile, so
that no job trains on for a driver that has given it up.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from scalesearch.atomic import write_atomically
from scalesearch.study.executors.events import Began, Event, Reached, Requeued, Stepped
from scalesearch.study.executors.worker import DriverGoneError

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Began, Stepped, Reached, Requeued)}
_OPEN = "open"


class Letters:
    """What one start of a job tells, and what it is answered.

    Args:
        folder: Of these letters alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0

    def post(self, event: Event) -> None:
        """Tell the driver."""
        letter = {"kind": type(event).__name__, **asdict(event)}
        write_atomically(self.folder / f"{self._number:08d}.json", json.dumps(letter))
        self._number += 1

    def collect(self) -> list[Event]:
        """Return what was told since the last time, in order."""
        return [_open(path) for path in sorted(self.folder.glob("[0-9]*.json"))]

    def post_answer(self, rung: int, goes_on: bool) -> None:
        """Answer the job that waits at a rung."""
        write_atomically(self.folder / f"answer-{rung}.json", json.dumps(goes_on))

    def read_answer(self, rung: int) -> bool | None:
        """Return the answer, None as long as there is none."""
        _look_again(self.folder)
        with suppress(FileNotFoundError):
            return bool(json.loads((self.folder / f"answer-{rung}.json").read_text(encoding="utf-8")))
        return None


class Mailbox:
    """All letters of one submission.

    Args:
        folder: Of this submission alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Make the folder; for the driver, before the job can begin."""
        self.folder.mkdir(parents=True)
        (self.folder / _OPEN).touch()

    def close(self) -> None:
        """Tell the job, wherever it is, that nobody wants it any more, and remove its letters."""
        (self.folder / _OPEN).unlink(missing_ok=True)  # first: a letter under way makes its folder anew
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_open(self) -> bool:
        """Whether the job is wanted."""
        _look_again(self.folder)
        return (self.folder / _OPEN).exists()

    def begin_letters(self) -> Letters:
        """Return the box of a job that starts, for the first time or again.

        Raises:
            DriverGoneError: The mailbox is closed.
        """
        if not self.is_open:
            raise DriverGoneError
        for start in count():
            folder = self.folder / f"start-{start:04d}"
            with suppress(FileExistsError):
                folder.mkdir()
                return Letters(folder)
        raise AssertionError("count ends")

    @property
    def latest(self) -> Letters | None:
        """Where the job's last start tells, None before the first."""
        _look_again(self.folder)
        folders = sorted(self.folder.glob("start-*"))
        return Letters(folders[-1]) if folders else None


class DriverWatch:
    """Tells a job when its driver is gone.

    The driver touches a file. What counts is that its time changes, by this machine's clock, for clocks differ.

    Args:
        beat: The file.
        limit_seconds: Without a change, after which the driver counts as gone.
    """

    def __init__(self, beat: Path, limit_seconds: float) -> None:
        self._beat, self._limit = beat, limit_seconds
        self._last, self._seen = 0, time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds without a sign of the driver."""
        with suppress(OSError):
            beat = self._beat.stat().st_mtime_ns
            if beat != self._last:
                self._last, self._seen = beat, time.monotonic()
        return time.monotonic() - self._seen

    @property
    def is_over(self) -> bool:
        """Whether that is too long."""
        return self.silence > self._limit


def _open(path: Path) -> Event:
    letter = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    event: Event = _KINDS[letter.pop("kind")](**letter)
    return event


def _look_again(folder: Path) -> None:
    """Have a network file system read a folder whose listing it may have kept, by the call that submitit uses."""
    with suppress(OSError):
        folder.chmod(folder.stat().st_mode)
