from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from scalesearch.study.executors import Began, DriverGoneError, Event, Reached, Requeued, Stepped
from scalesearch.study.executors.slurm_mailbox import DriverWatch, Mailbox

EVENTS: list[Event] = [Began(3, "node7"), Stepped(3, 1, 9, 20.5), Reached(3, 0, 5, 0.25), Requeued(3, "time")]


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    box = Mailbox(tmp_path / "3-abcd")
    box.open()
    return box


def test_events_arrive_once_and_in_order(mailbox: Mailbox) -> None:
    letters = mailbox.begin_letters()
    for event in EVENTS[:2]:
        letters.post(event)
    assert mailbox.latest is not None
    assert mailbox.latest.collect() == EVENTS[:2]
    for event in EVENTS[2:]:
        letters.post(event)
    assert mailbox.latest.collect() == EVENTS[2:]
    assert mailbox.latest.collect() == []


def test_what_is_not_known_stays_nan(mailbox: Mailbox) -> None:
    mailbox.begin_letters().post(Stepped(3, 1, 9))
    assert mailbox.latest is not None
    (event,) = mailbox.latest.collect()
    assert isinstance(event, Stepped)
    assert math.isnan(event.memory_mib)


def test_of_a_job_that_began_again_only_the_last_start_is_heard(mailbox: Mailbox) -> None:
    assert mailbox.latest is None
    first, second = mailbox.begin_letters(), mailbox.begin_letters()
    first.post(Began(3, "node1"))
    second.post(Began(3, "node2"))
    assert mailbox.latest is not None
    assert mailbox.latest.collect() == [Began(3, "node2")]


def test_an_answer_is_read_at_the_rung_it_is_for(mailbox: Mailbox) -> None:
    letters = mailbox.begin_letters()
    assert mailbox.latest is not None
    mailbox.latest.post_answer(1, False)
    assert letters.read_answer(0) is None
    assert letters.read_answer(1) is False
    assert mailbox.latest.collect() == []  # an answer is no event


def test_a_closed_mailbox_is_seen_even_if_a_letter_came_after_it_closed(mailbox: Mailbox) -> None:
    letters = mailbox.begin_letters()
    assert mailbox.is_open
    mailbox.close()
    letters.post(EVENTS[0])
    assert not mailbox.is_open
    with pytest.raises(DriverGoneError):
        mailbox.begin_letters()
    mailbox.close()  # a second time does no harm


def test_a_driver_is_gone_when_its_beat_has_not_changed_for_long(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    beat.touch()
    os.utime(beat, (1, 1))  # another machine's clock may be years behind
    assert not DriverWatch(beat, limit_seconds=60).is_over
    watch = DriverWatch(beat, limit_seconds=0)
    assert watch.silence < 60
    assert watch.is_over
    beat.unlink()
    assert DriverWatch(beat, limit_seconds=0).is_over
