"""Keeping a second driver out of a study whose storage is unfit for it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from scalesearch.errors import StudyError
from scalesearch.study.folder import StudyFolder, mask_password

_LOCK = ".lock"


def takes_many_drivers(url: str) -> bool:
    """Say whether several drivers may write to a storage at once: SQLite is made for one writer.

    Raises:
        StudyError: It is not a database URL.
    """
    mask_password(url)
    return make_url(url).get_backend_name() != "sqlite"


@contextmanager
def locked_study(folder: StudyFolder) -> Iterator[None]:
    """Make a study's folder and hold it for one driver.

    Raises:
        StudyError: Another process drives the study, or the folder cannot be written.
    """
    folder.make()
    with _locked(folder.root / _LOCK, f"study {folder.name}"):
        yield


@contextmanager
def locked_storage(url: str | None) -> Iterator[None]:
    """Hold the SQLite file of a URL that was given for one driver; nothing where there is none.

    Raises:
        StudyError: Another process drives a study in it.
    """
    database = None if url is None else make_url(url).database
    if database is None or database == ":memory:":
        yield
        return
    path = Path(database)
    with _locked(path.with_name(path.name + _LOCK), f"the storage {mask_password(url or '')}"):
        yield


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    try:
        handle = path.open("a+", encoding="ascii")
    except OSError as error:
        raise StudyError(f"{path.parent}: the study's folder cannot be written ({error.strerror})") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                f"{what} is being run by another process, and SQLite takes one writer; wait for it, stop it, or begin"
                " the study with storage=postgresql://... for several"
            ) from None
        yield
