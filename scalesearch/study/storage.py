"""Where Optuna keeps its studies, and patience with a database that goes away for a while."""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Container
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError

from scalesearch.errors import StudyError
from scalesearch.study.folder import mask_password
from scalesearch.study.reading import read_all_trials

PATIENCE_SECONDS = 120.0
"""How long a driver waits for a database that is away."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_TABLE_TRIES = 10
_logger = logging.getLogger(__name__)

T = TypeVar("T")


class PatientStorage(RDBStorage):
    """A database that is waited for: every call is made again while the connection is lost, for a bounded time.

    Args:
        url: Of the database, with its driver.
        engine_kwargs: For SQLAlchemy.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any] | None = None) -> None:
        self._shown = mask_password(url)
        self._is_open = False
        super().__init__(url, engine_kwargs)
        self._is_open = True  # what cannot even be opened is the user's to mend, not to be waited for

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return trials; all of a study, as when it is opened, without Optuna's objects of every row."""
        if states is None and trial_id_greater_than < 0:
            return read_all_trials(self.engine, study_id)
        return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)

    def patiently(self, call: Callable[[], T]) -> T:
        """Make a call, again and again while the database is away; twice, where its answer was lost.

        Raises:
            StudyError: The database refuses, or was away for too long.
        """
        pause, given_up = _FIRST_PAUSE, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call()
            except (StorageInternalError, DBAPIError) as error:
                cause = error.__cause__ if isinstance(error, StorageInternalError) else error
                if not self._is_open or not _is_away(cause):
                    raise self._refusal(cause or error) from error
                if time.monotonic() > given_up:
                    raise self._refusal(cause or error, f" was away for {PATIENCE_SECONDS:g} s") from error
                if pause == _FIRST_PAUSE:
                    _logger.warning("the storage %s is away; waiting for it", self._shown)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _refusal(self, cause: BaseException, said: str = " refuses") -> Exception:
        if not self._is_open:
            return cause if isinstance(cause, Exception) else RuntimeError(str(cause))
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        return StudyError(f"the storage {self._shown}{said} ({reason}); the same command goes on with the study")


def _is_away(error: BaseException | None) -> bool:
    """Say whether a connection was lost or refused; SQLite has none, and its errors are those of a disk."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (as the method has them)
        return self.patiently(lambda: method(self, *args, **kwargs))

    return call


def _tell_once(method: Callable[..., bool]) -> Callable[..., bool]:
    """Take a trial that is found finished, when it is told again after a lost answer, for told."""

    @functools.wraps(method)
    def call(self: PatientStorage, trial_id: int, state: Any, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401
        tries = 0

        def tell() -> bool:
            nonlocal tries
            tries += 1
            try:
                return method(self, trial_id, state, *args, **kwargs)
            except UpdateFinishedTrialError:
                if tries > 1 and RDBStorage.get_trial(self, trial_id).state == state:
                    return True
                raise

        return self.patiently(tell)

    return call


# What Optuna's cache and studies call, the cache some by their private names.
_WAITED_FOR = (
    "create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr", "get_study_id_from_name",
    "get_study_name_from_id", "get_study_directions", "get_study_user_attrs", "get_study_system_attrs",
    "get_all_studies", "_create_new_trial", "_set_trial_param", "get_trial_id_from_study_id_trial_number",
    "get_trial_param", "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr", "get_trial",
    "_get_trials", "get_best_trial",
)  # fmt: skip
for _name in _WAITED_FOR:
    setattr(PatientStorage, _name, _patient(getattr(PatientStorage, _name)))
PatientStorage.set_trial_state_values = _tell_once(RDBStorage.set_trial_state_values)  # type: ignore[method-assign]


def open_storage(url: str) -> PatientStorage:
    """Open a database, SQLite with a write-ahead log, PostgreSQL through psycopg 3.

    A proposal is some thirty commits. With SQLite's own settings each waits for the disk three times; with the log and
    ``synchronous=NORMAL`` none does, which takes 50 ms a proposal in place of 125. What a commit has written survives
    the death of the process; the power cut loses the last commits at most and leaves the database whole.

    Raises:
        Exception: What SQLAlchemy, Optuna or the database's driver finds wrong; the caller names the study.
    """
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    is_sqlite = parsed.get_backend_name() == "sqlite"
    # a connection that the database has closed meanwhile is found out before it is used
    storage = make_tables(
        lambda: PatientStorage(
            parsed.render_as_string(hide_password=False), None if is_sqlite else {"pool_pre_ping": True}
        )
    )
    if is_sqlite:
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()  # the connection that made the tables was opened without
    return storage


def make_tables(make: Callable[[], T]) -> T:
    """Make what makes tables where they are missing, again where another driver makes the same at this moment."""
    for _ in range(_TABLE_TRIES - 1):
        try:
            return make()
        except (IntegrityError, ProgrammingError, StorageInternalError) as error:
            if isinstance(error, StorageInternalError) and not isinstance(error.__cause__, ProgrammingError):
                raise
            time.sleep(_FIRST_PAUSE)
    return make()


def _write_ahead(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
