"""The few errors a user can meet.

Every message is one sentence that says what is wrong, what is allowed, what came, and in which file or key.
The command line prints the sentence alone and exits with code 2; from Python they are ordinary ``ValueError``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable

_MOST_KEYS = 8
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 80


class ScalesearchError(ValueError):
    """Base of every error that the user's input can cause."""


class ArchError(ScalesearchError):
    """An architecture, a block string or a scaling rule that is not a network."""


class SpaceError(ScalesearchError):
    """A search-space file with a mistake, or a space that holds no network for the budget."""


class DataError(ScalesearchError):
    """Images or labels that are missing, unreadable or too few."""


class ConfigError(ScalesearchError):
    """A key or value of the run's configuration that is not allowed."""


class StudyError(ScalesearchError):
    """A study that cannot be opened, or that was begun with something else."""


class ExportError(ScalesearchError):
    """A network that cannot be written in a form, or that gives other outputs in it."""


class SnapshotError(ScalesearchError):
    """A training's state on disk that cannot be read: the training begins anew."""


class DivergenceError(RuntimeError):
    """Training gave a loss that is not finite: a failed trial, not a mistake of the user's."""


def shown(value: object) -> str:
    """Return a foreign value as a sentence may hold it: short, whatever its size.

    Example:
        >>> shown({"blocks": [1] * 1000})
        "{'blocks': [1, 1, 1, 1, 1, 1, ...]}"
    """
    try:
        return _SHOWN.repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return f"a {type(value).__name__} too large to be written"


def listed(keys: Iterable[object]) -> str:
    """Return foreign keys as a sentence may list them: sorted, the first few, each short.

    Example:
        >>> listed({"width", 2, "depth"})
        '2, depth, width'
    """
    texts = sorted(key if isinstance(key, str) and len(key) <= _SHOWN.maxstring else shown(key) for key in keys)
    return ", ".join(texts[:_MOST_KEYS]) + (", ..." if len(texts) > _MOST_KEYS else "")


def is_text(value: object) -> bool:
    r"""Say whether a foreign value is a text that can be written: JSON may hold halves of characters.

    Example:
        >>> is_text("Größe"), is_text("\ud800"), is_text(3)
        (True, False, False)
    """
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def printable(text: str) -> str:
    r"""Return a text in one line, without characters that steer a terminal: a file's name may hold any.

    Example:
        >>> printable("a\nb\x1b[2J")
        'a b [2J'
    """
    return "".join(character if character.isprintable() else " " for character in text)
