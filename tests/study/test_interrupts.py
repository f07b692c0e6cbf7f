from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from scalesearch.study.interrupts import Interrupts


@pytest.fixture(autouse=True)
def with_pythons_own_handler() -> Iterator[None]:
    """A shell that runs the tests in the background hands SIGINT down ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_is_held_back_until_it_is_allowed() -> None:
    done = []

    def write_and_wait() -> None:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            done.append("the write it came in")
            with interrupts.allowed():
                done.append("the wait after it")

    with pytest.raises(KeyboardInterrupt):
        write_and_wait()
    assert done == ["the write it came in"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_an_allowed_block_is_raised_there() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts, interrupts.allowed():
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_is_raised_at_once() -> None:
    with Interrupts():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_was_held_to_the_end_is_raised_there() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
