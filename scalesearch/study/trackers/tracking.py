"""Tells a tracker of each trial, once, and keeps its troubles from the study.

Which trials were told is kept in the record, so that a study that goes on tells none twice, and tells those that ended
while the tracker failed. A process that dies between the telling and the note of it tells one trial again: trackers
know their own trials by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from scalesearch.study.folder import StudyFolder, hide_passwords
from scalesearch.study.trackers.config import TrackerConfig
from scalesearch.study.trackers.facts import Tracker, describe_trial

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrackedPart:
    """What is tracked, by what, and what it was told on the command line.

    Attributes:
        config: The tracker.
        folder: Of the study.
        part: Of the study.
        values: Resolved keys, nested, without passwords.
    """

    config: TrackerConfig
    folder: StudyFolder
    part: str
    values: Mapping[str, Any]


class Tracking:
    """A context in which trials that end are told to a tracker; without one it does nothing.

    Args:
        tracked: What is tracked; None for nothing.
        study: The record's.
        state_of: Names a trial's state.
    """

    def __init__(
        self, tracked: TrackedPart | None, study: optuna.Study, state_of: Callable[[FrozenTrial], str]
    ) -> None:
        self._tracked, self._study, self._state_of = tracked, study, state_of
        self._tracker: Tracker | None = None

    def __enter__(self) -> Tracking:
        if self._tracked is not None and self._tracked.config.method != "off":
            tracked = self._tracked
            self._carefully(lambda: self._open(tracked))
        return self

    def __exit__(self, *_: object) -> None:
        tracker = self._tracker
        if tracker is not None:
            self._carefully(tracker.close)
        self._tracker = None

    def ended(self, trial: FrozenTrial) -> None:
        """Tell of a trial that has ended."""
        if self._tracker is not None:
            self._carefully(lambda: self._tell(trial))

    def _open(self, tracked: TrackedPart) -> None:
        self._tracker = build_tracker(tracked)
        self._tracker.begin(dict(flatten(tracked.values)))
        told = self._study.user_attrs
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished() and self._mark(trial) not in told:
                self._tell(trial)

    def _tell(self, trial: FrozenTrial) -> None:
        assert self._tracked is not None, "something is tracked"
        assert self._tracker is not None, "it was opened"
        names = self._study.metric_names or []
        readings = self._tracked.folder.readings
        self._tracker.log(describe_trial(trial, self._state_of(trial), names, readings))
        self._study.set_user_attr(self._mark(trial), True)

    def _mark(self, trial: FrozenTrial) -> str:
        assert self._tracked is not None, "something is tracked"
        return f"tracked.{self._tracked.config.method}.{trial.number}"

    def _carefully(self, act: Callable[[], None]) -> None:
        """Do what a tracker may fail at, a full disk or a server that is gone: warn once, and go on without it."""
        assert self._tracked is not None, "something is tracked"
        try:
            act()
        except Exception as error:
            self._tracker = None
            _logger.warning(
                "tracker %s failed (%s: %s); the study goes on without it, and the next run tells it what it lacks",
                self._tracked.config.method,
                type(error).__name__,
                hide_passwords(str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"),
            )


def build_tracker(tracked: TrackedPart) -> Tracker:
    """Return the tracker; its package is imported only now."""
    config, study, part = tracked.config, tracked.folder.name, tracked.part
    folder = Path(config.folder) if config.folder else tracked.folder.root / "trackers" / config.method
    match config.method:
        case "tensorboard":
            from scalesearch.study.trackers.tensorboard import TensorBoardTracker

            return TensorBoardTracker(folder / part)
        case "mlflow":
            from scalesearch.study.trackers.mlflow import MlflowTracker

            folder.mkdir(parents=True, exist_ok=True)
            uri = config.uri or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
            return MlflowTracker(uri, config.project or study, f"{study}/{part}")
        case "wandb":
            from scalesearch.study.trackers.wandb import WandbTracker

            return WandbTracker(folder, config.project or "scalesearch", study, part)
    raise AssertionError(f"no tracker is called {config.method}")


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested keys with dots and their values as texts.

    Example:
        >>> dict(flatten({"train": {"steps": 3}, "study": "mine"}))
        {'train.steps': '3', 'study': 'mine'}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
