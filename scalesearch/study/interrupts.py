"""Ctrl-C between two steps of the driver, never within a write.

Python raises ``KeyboardInterrupt`` wherever it is. Inside SQLAlchemy's commit that left a transaction open in this
process, on which the next write found its own database locked.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn


class Interrupts:
    """Holds Ctrl-C back while it is entered, but for the blocks in which it is ``allowed``; a second one is raised.

    Nothing is changed outside the main thread, where Python has no signals, and where SIGINT is ignored.
    """

    def __init__(self) -> None:
        self._is_allowed = self._is_held = False
        self._previous: Any = None

    def __enter__(self) -> Interrupts:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        if self._is_held and kind is None:
            self._raise()

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Raise what was held back, and at once what comes inside."""
        self._is_allowed = True  # before the question, so that nothing falls between the two
        try:
            if self._is_held:
                self._raise()
            yield
        finally:
            self._is_allowed = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._is_allowed or self._is_held:
            self._raise()
        self._is_held = True

    def _raise(self) -> NoReturn:
        self._is_held = False
        raise KeyboardInterrupt
