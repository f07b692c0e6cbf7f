"""The folder of a study, ``results/NAME/``: what lies where, and who may write to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from scalesearch.arch.plain_yaml import parse_yaml
from scalesearch.errors import StudyError, shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HIDDEN = "***"
# From the colon after a user's name to the last @: a password may hold any character that was not escaped.
_PASSWORD = re.compile(r":(?!//).*(?=@)", flags=re.DOTALL)
_PARAMETER = re.compile(r"(?<=[?&])([^=&]*)=[^&]*")
_SECRET_WORDS = re.compile(r"pass|pwd|secret|token|credential", flags=re.IGNORECASE)


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
            allowed = "letters, digits, dots, dashes and underscores"
            raise StudyError(f"study must be {allowed}, got {shown(study)}")
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
    def readings(self) -> Path:
        """What trainings of networks that are kept read on their way, and which classes they confused."""
        return self.root / "readings"

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
            sections = parse_yaml(self.config.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise StudyError(f"{self.config}: {' '.join(str(error).split())}") from None
        if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
            raise StudyError(f"{self.config}: it must be a mapping of parts, got {shown(sections)}")
        return sections

    def table(self, name: str) -> Path:
        """Return the path of a table as CSV."""
        return self.root / f"{name}.csv"

    def storage_url(self, given: str | None) -> str:
        """Return the storage's URL: the one given, or the study's own SQLite file, whatever characters its path has.

        Raises:
            StudyError: The one given is no database URL.
        """
        if given:
            mask_password(given)
            return given
        return URL.create("sqlite", database=str(self.database)).render_as_string()

    def make(self) -> None:
        """Make the folder.

        Raises:
            StudyError: It cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"{self.root}: the study's folder cannot be written ({error.strerror})") from None


def hide_passwords(text: str) -> str:
    """Return one argument or URL, well-formed or not, without its passwords.

    More than the password is hidden where it, or the query, holds an unescaped ``@``: all up to the last one.

    Example:
        >>> hide_passwords("search.storage=postgresql://me:s@cret@host/db?password=x")
        'search.storage=postgresql://me:***@host/db?password=***'
    """

    def hide(match: re.Match[str]) -> str:
        return f"{match[1]}={_HIDDEN}" if _SECRET_WORDS.search(unquote(match[1])) else match[0]

    return _PARAMETER.sub(hide, _PASSWORD.sub(f":{_HIDDEN}", text))


def mask_password(url: str) -> str:
    """Return a storage's URL as it may be shown and kept.

    Raises:
        StudyError: It is not a database URL, or its password holds an ``@`` as it is: what follows would be taken for
            the host, and a driver's error would name it.

    Example:
        >>> mask_password("postgresql://me:secret@host/db")
        'postgresql://me:***@host/db'
    """
    masked = hide_passwords(url)
    try:
        host = make_url(url).host
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StudyError(f"storage must be a database URL, as sqlite:///FILE, got {masked!r}") from None
    if "@" in (host or ""):
        raise StudyError(f"storage must have each @ of its password written as %40, got {masked!r}")
    return masked
