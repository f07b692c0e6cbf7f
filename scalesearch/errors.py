"""The few errors a user can meet.

Every message is one sentence that says what is wrong, what is allowed, what came, and in which file or key.
The command line prints the sentence alone and exits with code 2; from Python they are ordinary ``ValueError``.
"""

from __future__ import annotations


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


class SnapshotError(ScalesearchError):
    """A training's state on disk that cannot be read: the training begins anew."""


class DivergenceError(RuntimeError):
    """Training gave a loss that is not finite: a failed trial, not a mistake of the user's."""
