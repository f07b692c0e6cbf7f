"""Several drivers on one study, on a real PostgreSQL server."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from scalesearch.errors import StudyError
from scalesearch.study import storage as storage_module
from scalesearch.study.drivers import OWNER, SharedDrivers, SoleDriver
from scalesearch.study.store import Record
from tests.services.postgres import PASSWORD, PostgresServer


def open_record(url: str, timeout: float = 30.0) -> Record:
    return Record.open(
        url, "mine", "scale", directions=["maximize"], metric_names=["val_top1"], identity={}, driver_timeout=timeout
    )


def begin(record: Record) -> int:
    with record.drivers.turn():
        trial = record.study.ask()
        record.drivers.claim(trial)
    return trial.number


def test_sqlite_has_one_driver_and_a_server_many(tmp_path: Path, database: str) -> None:
    assert isinstance(open_record(f"sqlite:///{tmp_path}/study.db").drivers, SoleDriver)
    assert isinstance(open_record(database).drivers, SharedDrivers)


def test_a_turn_waits_for_the_turn_of_another_driver(database: str) -> None:
    first, second, order = open_record(database), open_record(database), list[str]()

    def take_a_turn() -> None:
        with second.drivers.turn():
            order.append("second")

    with first.drivers, second.drivers:
        other = threading.Thread(target=take_a_turn)
        with first.drivers.turn():
            other.start()
            time.sleep(0.3)
            order.append("first")
        other.join()
    assert order == ["first", "second"]


def test_trials_of_a_living_driver_are_its_own_and_those_of_a_dead_one_are_free(database: str) -> None:
    first, second = open_record(database, timeout=0.6), open_record(database, timeout=0.6)
    with first.drivers, second.drivers:
        begin(first)
        (trial,) = second.running()
        time.sleep(1.2)  # longer than the timeout: it lives, for it gives signs
        assert second.drivers.are_dead([trial]) == []
        assert not second.drivers.owns(trial)
        assert first.drivers.owns(trial)
        first.drivers._ended.set()  # type: ignore[attr-defined] (as if it were killed: no sign of life, and no goodbye)
        time.sleep(1.0)
        assert second.drivers.are_dead([trial]) == [trial]
        taken = second.take_up(trial)
        assert second.owns(taken)
        assert not first.owns(taken)


def test_a_driver_that_ends_leaves_its_trials_at_once(database: str) -> None:
    first, second = open_record(database), open_record(database)
    with second.drivers:
        with first.drivers:
            begin(first)
        assert len(second.drivers.are_dead(second.running())) == 1


def test_a_trial_that_was_begun_and_never_claimed_is_free(database: str) -> None:
    record = open_record(database)
    with record.drivers:
        with record.drivers.turn():
            record.study.ask()
        (trial,) = record.running()
        assert OWNER not in trial.user_attrs
        assert record.drivers.are_dead([trial]) == [trial]


def test_a_driver_waits_for_a_server_that_is_away_and_loses_nothing(
    postgres: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = open_record(database)
    with record.drivers:
        number = begin(record)
        trial = record.take_up(record.trials[number])
        postgres.kill()
        back = threading.Timer(2.0, postgres.start)
        back.start()
        record.study.tell(trial, 0.5)
        back.join()
        assert [trial.state for trial in record.trials] == [TrialState.COMPLETE]
        assert begin(record) == 1
    (said,) = {message for message in caplog.messages if "is away" in message}
    assert "***" in said
    assert PASSWORD not in said


def test_nobody_is_dead_for_having_been_silent_while_the_server_was_away(
    postgres: PostgresServer, database: str
) -> None:
    first, second = open_record(database, timeout=3.0), open_record(database, timeout=3.0)
    with first.drivers, second.drivers:
        begin(first)
        postgres.kill()
        time.sleep(4.0)
        postgres.start()
        with second.drivers.turn():
            assert second.drivers.are_dead(second.running()) == []


def test_a_server_that_stays_away_is_one_sentence(
    postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = open_record(database)
    monkeypatch.setattr(storage_module, "PATIENCE_SECONDS", 0.5)
    postgres.stop()
    try:
        with pytest.raises(
            StudyError, match=r"^the storage postgresql.*:\*\*\*@.* was away for 0.5 s \(.*the same command"
        ):
            record.study.ask()
    finally:
        postgres.start()
    assert record.trials == []


def test_a_server_that_cannot_be_reached_at_the_start_is_one_sentence_without_the_password(database: str) -> None:
    url = database.replace("@127.0.0.1:", "@127.0.0.1:1")
    with pytest.raises(StudyError, match=r"^study mine: the storage postgresql.*cannot be opened") as refused:
        open_record(url.rsplit(":", 1)[0] + ":1/none")
    assert PASSWORD not in str(refused.value)
    assert "%40ss" not in str(refused.value)
