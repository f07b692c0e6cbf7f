"""The folder of a study, ``results/NAME/``: what lies where, and who may write to it."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from scalesearch.errors import StudyError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Names of everything a study keeps.

    Raises:
        StudyError: The study's name cannot be a folder's.
    """

    root: Path

    @classmethod
    def of(cls, results: str | Path, study: str) -> StudyFolder:
        """Return the folder of ``study`` below ``results``; nothing is made yet."""
        if not _NAME.fullmatch(study):
            raise StudyError(f"study must be letters, digits, dots, dashes and underscores, got {study!r}")
        return cls(Path(results) / study)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.root.name

    @property
    def config(self) -> Path:
        """Resolved configuration of every part that ran."""
        return self.root / "config.yaml"

    @property
    def database(self) -> Path:
        """SQLite file of the Optuna studies."""
        return self.root / "study.db"

    @property
    def base(self) -> Path:
        """Architecture the search chose."""
        return self.root / "base.yaml"

    @property
    def detector(self) -> Path:
        """Detector that was chosen."""
        return self.root / "detector.yaml"

    @property
    def factors(self) -> Path:
        """Scaling factors the grid search chose."""
        return self.root / "factors.yaml"

    @property
    def readme(self) -> Path:
        """What the report says of the study."""
        return self.root / "README.md"

    @property
    def notes(self) -> Path:
        """Words of the study's owner, which the report puts under its title."""
        return self.root / "notes.md"

    @property
    def cache(self) -> Path:
        """Decoded images, shared by the worker processes."""
        return self.root / "cache"

    @property
    def checkpoints(self) -> Path:
        """Weights as safetensors."""
        return self.root / "checkpoints"

    @property
    def jobs(self) -> Path:
        """Slurm's jobs: what they are told and tell, and the logs of those that failed."""
        return self.root / "jobs"

    def read_config(self) -> dict[str, Any]:
        """Return what ``config.yaml`` says of each part; nothing before the first one.

        Raises:
            StudyError: It was changed into something else.
        """
        if not self.config.exists():
            return {}
        try:
            sections = yaml.safe_load(self.config.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise StudyError(f"{self.config}: {' '.join(str(error).split())}") from None
        if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
            raise StudyError(f"{self.config}: it must be a mapping of parts, got {str(sections)[:80]!r}")
        return sections

    def table(self, name: str) -> Path:
        """Return the path of a table as CSV."""
        return self.root / f"{name}.csv"

    def storage_url(self, given: str | None) -> str:
        """Return the storage's URL: the one given, or the study's own SQLite file."""
        return given or f"sqlite:///{self.database}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and hold it for one driver.

        Raises:
            StudyError: Another process drives the study, or the folder cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("a+", encoding="ascii")
        except OSError as error:
            raise StudyError(f"{self.root}: the study's folder cannot be written ({error.strerror})") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StudyError(
                    f"study {self.name} is being run by another process; wait for it, or stop it"
                ) from None
            yield


def mask_password(url: str) -> str:
    """Return a storage's URL as it may be shown and kept.

    Raises:
        StudyError: It is not a database URL.

    Example:
        >>> mask_password("postgresql://me:secret@host/db")
        'postgresql://me:***@host/db'
    """
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise StudyError(f"storage must be a database URL, as sqlite:///FILE, got {url!r}") from None
