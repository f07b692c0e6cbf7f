"""Several drivers on one study: who is alive, whose trial is whose, and whose turn it is to begin one.

Two tables beside Optuna's hold a sign of life of each driver, by the database's own clock, and a row a part that a
driver locks while it looks, proposes and begins a trial. So two drivers never begin the same candidate, and each
proposes with all that the others have begun. A trial whose driver gives no sign of life is anybody's to take up.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Protocol

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from scalesearch.study.storage import PatientStorage, make_tables

DRIVER_TIMEOUT = 30.0
"""Seconds without a sign of life after which a driver counts as dead, where nothing else is said."""

OWNER = "driver"
"""Name of the trial's attribute that says whose it is."""

_BEATS = 6  # signs of life within the time after which a driver counts as dead

_metadata = MetaData()
_drivers = Table(
    "scalesearch_drivers",
    _metadata,
    Column("driver", String(32), primary_key=True),
    Column("part", String(255), nullable=False),
    Column("beat", DateTime(timezone=True), nullable=False),
)
_turns = Table("scalesearch_turns", _metadata, Column("part", String(255), primary_key=True))

_logger = logging.getLogger(__name__)


class Drivers(Protocol):
    """The drivers of a part, seen by one of them. It is entered while that one drives."""

    is_shared: bool

    def __enter__(self) -> Drivers: ...

    def __exit__(self, *_: object) -> None: ...

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other driver begins trials, and keep them from it."""
        ...

    def claim(self, trial: Trial) -> None:
        """Make a running trial this driver's own, in its turn."""
        ...

    def owns(self, trial: FrozenTrial) -> bool:
        """Say whether a trial, as the storage has it now, is this driver's to tell."""
        ...

    def are_dead(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return those of some running trials whose driver is dead, in this driver's turn."""
        ...


class SoleDriver:
    """The only driver of a part, as with SQLite, where the folder's lock keeps others out."""

    is_shared = False

    def __enter__(self) -> SoleDriver:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Do nothing: it is always this driver's turn."""
        yield

    def claim(self, trial: Trial) -> None:
        """Do nothing: every trial is this driver's."""

    def owns(self, trial: FrozenTrial) -> bool:
        """Say yes."""
        return True

    def are_dead(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return all: none of them is run by anybody else."""
        return trials


class SharedDrivers:
    """One of several drivers of a part, in a database made for it.

    Args:
        storage: Of the study.
        part: Full name of the part's Optuna study.
        timeout_seconds: Without a sign of life, after which a driver counts as dead.
    """

    is_shared = True

    def __init__(self, storage: PatientStorage, part: str, timeout_seconds: float) -> None:
        self._storage, self._part, self._timeout = storage, part, timeout_seconds
        self._engine = storage.engine
        self.name = uuid.uuid4().hex
        self._steady_since = -math.inf
        make_tables(lambda: _metadata.create_all(self._engine))
        storage.patiently(self._begin_turns)
        self._ended = threading.Event()
        self._heart = threading.Thread()

    def __enter__(self) -> SharedDrivers:
        self._storage.patiently(self._register)
        self._ended.clear()
        self._heart = threading.Thread(target=self._beat_on, name="signs of life", daemon=True)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._heart.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(_drivers).where(_drivers.c.driver == self.name))
        except SQLAlchemyError as error:  # it counts as dead a little later
            _logger.warning("the storage did not hear that this driver ends (%s)", type(error).__name__)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Lock the part's row; the database gives it free when this driver's connection ends, however it ends."""
        connection = self._storage.patiently(self._lock)
        try:
            yield
        finally:
            with suppress(SQLAlchemyError):  # where the database went away, the lock went with it
                connection.rollback()
            connection.close()

    def claim(self, trial: Trial) -> None:
        """Write this driver's name to the trial."""
        trial.set_user_attr(OWNER, self.name)

    def owns(self, trial: FrozenTrial) -> bool:
        """Say whether the trial bears this driver's name and is not told yet."""
        return trial.user_attrs.get(OWNER) == self.name and not trial.state.is_finished()

    def are_dead(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials whose driver gave no sign of life for too long; one without a name died in its turn."""
        if not trials or time.monotonic() - self._steady_since < self._timeout:
            return []  # the storage was away: the others have had no chance to give a sign either
        living = self._storage.patiently(self._living)
        return [trial for trial in trials if trial.user_attrs.get(OWNER) not in living]

    def _lock(self) -> Connection:
        connection = self._engine.connect()
        try:
            connection.execute(select(_turns).where(_turns.c.part == self._part).with_for_update())
        except SQLAlchemyError:
            connection.close()
            raise
        return connection

    def _living(self) -> set[str]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(_drivers.c.driver, _drivers.c.beat, func.now())).all()
        return {driver for driver, beat, now in rows if _seconds(beat, now) < self._timeout} | {self.name}

    def _register(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(_drivers).values(driver=self.name, part=self._part, beat=func.now()))

    def _begin_turns(self) -> None:
        with suppress(IntegrityError), self._engine.begin() as connection:  # another driver was first
            connection.execute(insert(_turns).values(part=self._part))

    def _beat_on(self) -> None:
        away = False
        while not self._ended.wait(self._timeout / _BEATS):
            try:
                with self._engine.begin() as connection:
                    mine = update(_drivers).where(_drivers.c.driver == self.name)
                    connection.execute(mine.values(beat=func.now()))
                if away:
                    self._steady_since, away = time.monotonic(), False
            except SQLAlchemyError:
                self._steady_since, away = math.inf, True


def is_driven(storage: RDBStorage, study: str, timeout_seconds: float = DRIVER_TIMEOUT) -> bool:
    """Say whether a driver of any part of a study has given a sign of life of late."""
    if not inspect(storage.engine).has_table(_drivers.name):
        return False
    with storage.engine.connect() as connection:
        rows = connection.execute(select(_drivers.c.part, _drivers.c.beat, func.now())).all()
    return any(part.split("/")[0] == study and _seconds(beat, now) < timeout_seconds for part, beat, now in rows)


def open_drivers(storage: RDBStorage, part: str, timeout_seconds: float) -> Drivers:
    """Return the drivers of a part: one with SQLite, which is unfit for parallel writers, else as many as come."""
    if isinstance(storage, PatientStorage) and storage.engine.dialect.name != "sqlite":
        return SharedDrivers(storage, part, timeout_seconds)
    return SoleDriver()


def _seconds(beat: datetime, now: datetime) -> float:
    return (now.replace(tzinfo=None) - beat.replace(tzinfo=None)).total_seconds()
