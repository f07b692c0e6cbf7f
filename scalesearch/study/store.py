"""The record: one Optuna study for each part of a scalesearch study, and the states of its trials.

A trial is COMPLETE, PRUNED (stopped at a rung), FAILED (with its reason and traceback), INFEASIBLE (over budget: told
finite worst values and a constraint, never trained) or DUPLICATE (the architecture of an earlier trial, told that
trial's values). Nothing disappears. What a part was begun with is kept as its identity; opening it with anything else
is refused.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pandas as pd
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from scalesearch.arch import Cost
from scalesearch.atomic import replacing
from scalesearch.errors import StudyError
from scalesearch.study.cache import TrialCache
from scalesearch.study.drivers import DRIVER_TIMEOUT, Drivers, SoleDriver, open_drivers
from scalesearch.study.folder import StudyFolder, mask_password
from scalesearch.study.jobs import Candidate, CandidateScore
from scalesearch.study.storage import open_storage
from scalesearch.study.trackers import TrackedPart, Tracking

# fmt: off
COLUMNS = (
    "part", "number", "state", "reason", "label", "arch_id", "blocks", "image_size", "seed", "params", "macs", "acts",
    "val_top1", "val_loss", "test_top1", "latency_ms", "train_seconds", "steps", "rung",
)
# fmt: on

_STATES = {
    TrialState.COMPLETE: "COMPLETE",
    TrialState.FAIL: "FAILED",
    TrialState.PRUNED: "PRUNED",
    TrialState.RUNNING: "RUNNING",
    TrialState.WAITING: "WAITING",
}


# RuntimeError: Optuna's word for a database of another version's schema
_STORAGE_ERRORS = (SQLAlchemyError, ImportError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Record:
    """One part of a study: ``search``, ``scale`` or ``family``."""

    part: str
    study: optuna.Study
    drivers: Drivers = field(default_factory=SoleDriver)
    tracked: TrackedPart | None = None
    tracking: Tracking = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tracking", Tracking(self.tracked, self.study, state_of))

    @classmethod
    def open(
        cls,
        url: str,
        name: str,
        part: str,
        *,
        directions: Sequence[str],
        metric_names: Sequence[str],
        identity: Mapping[str, Any],
        driver_timeout: float = DRIVER_TIMEOUT,
        tracked: TrackedPart | None = None,
    ) -> Record:
        """Open a part, or begin it.

        Args:
            url: Of the storage.
            name: Of the study.
            part: Of the study.
            directions: ``maximize`` or ``minimize``, one an objective.
            metric_names: One an objective.
            identity: Plain values that must stay the same over the part's life.
            driver_timeout: Seconds without a sign of life after which another driver of the part counts as dead.
            tracked: Who else is told of trials, within ``tracking``.

        Raises:
            StudyError: The storage cannot be opened, or the part was begun with something else.
        """
        identity = json.loads(json.dumps({"directions": list(directions), **identity}))
        try:
            storage = open_storage(url)
            existing = _existing_directions(storage, name, part)
            study = optuna.create_study(
                storage=TrialCache(storage),
                study_name=_study_name(name, part),
                directions=[StudyDirection[direction.upper()] for direction in existing or directions],
                load_if_exists=True,
            )
            drivers = open_drivers(storage, _study_name(name, part), driver_timeout)
        except _STORAGE_ERRORS as error:
            raise _unusable(url, name, error) from None
        with drivers.turn():
            cls._check_identity(study, name, part, identity, metric_names)
        return cls(part, study, drivers, tracked)

    @staticmethod
    def _check_identity(
        study: optuna.Study, name: str, part: str, identity: Mapping[str, Any], metric_names: Sequence[str]
    ) -> None:
        begun = study.user_attrs.get("identity")
        if begun is None:
            study.set_user_attr("identity", identity)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(metric_names))
        elif begun != identity:
            raise StudyError(f"study {name}, part {part}, {_difference(begun, identity)}; choose another study name")

    def keep(self, key: str, value: Mapping[str, Any], *, what: str, advice: str) -> None:
        """Keep plain values under a key for the part's life.

        Args:
            key: Of the part.
            value: What must stay the same.
            what: The sentence's subject, where it does not.
            advice: The sentence's end.

        Raises:
            StudyError: Other values are kept under the key.
        """
        value = json.loads(json.dumps(value))
        kept = self.study.user_attrs.get(key)
        if kept is None:
            self.study.set_user_attr(key, value)
        elif kept != value:
            raise StudyError(f"part {self.part}: {what} {_difference(kept, value)}; {advice}")

    def look_again(self) -> None:
        """See at the next look at the trials what other drivers have written to running ones meanwhile."""
        cache = self.study._storage
        assert isinstance(cache, TrialCache), "the record was opened by ``open``"
        cache.expire()

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def running(self) -> list[FrozenTrial]:
        """Return the trials that no driver has told the end of."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def take_up(self, unfinished: FrozenTrial) -> Trial:
        """Return a trial that a dead driver left: what it had drawn stays, the rest is drawn by the sampler."""
        trial = Trial(self.study, unfinished._trial_id)
        self.drivers.claim(trial)
        return trial

    def look_up(self, trial: Trial) -> FrozenTrial:
        """Return a trial as the storage has it now."""
        return self.study._storage.get_trial(trial._trial_id)

    def owns(self, trial: Trial) -> bool:
        """Say whether a running trial is still this driver's to tell: another may have thought it dead."""
        return not self.drivers.is_shared or self.drivers.owns(self.look_up(trial))

    def describe(self, trial: Trial, arch: Candidate, cost: Cost, *, seed: int, label: str = "") -> None:
        """Keep what a trial is, before it runs."""
        attributes = {
            "arch_id": arch.arch_id,
            "blocks": arch.blocks,
            "arch": arch.to_dict(),
            "image_size": arch.image_size,
            "seed": seed,
            "label": label,
            **cost._asdict(),
        }
        for key, value in attributes.items():
            trial.set_user_attr(key, value)

    def complete(self, trial: Trial, values: Sequence[float], score: CandidateScore) -> None:
        """Tell a trained trial's values and keep all that was measured."""
        trial.set_user_attr("score", score.to_dict())
        self._tell(trial, list(values))

    def reach(
        self, trial: Trial, rung: int, steps: int, worth: float, values: Sequence[float], *, goes_on: bool
    ) -> None:
        """Keep what a running trial read at a rung, at once: a driver that is killed loses neither it nor the answer.

        ``rung_values`` holds ``[steps, worth]`` of every rung reached; ``rung`` the one at which it is stopped.
        """
        if not goes_on:  # first: where the driver is killed before the reading is written, it is decided again
            trial.set_user_attr("rung", rung)
        trial.set_user_attr("rung_values", [*trial.user_attrs.get("rung_values", []), [steps, worth]])
        self._report(trial, {steps: values[0]})

    def prune(self, trial: Trial, values: Sequence[float], score: CandidateScore) -> None:
        """End a trial that was stopped at a rung, with what it read there.

        Optuna takes no values for a pruned trial with several objectives; they are kept as the attribute ``values``.
        """
        trial.set_user_attr("score", score.to_dict())
        trial.set_user_attr("values", list(values))
        self._tell(trial, state=TrialState.PRUNED)

    def repeat(self, trial: Trial, original: FrozenTrial) -> None:
        """Tell a duplicate what its original was told, without training."""
        trial.set_user_attr("state", "DUPLICATE")
        trial.set_user_attr("duplicate_of", original.number)
        pruned = original.state == TrialState.PRUNED
        if pruned:
            trial.set_user_attr("values", original.user_attrs["values"])
            self._report(trial, original.intermediate_values)
        self._tell(trial, None if pruned else original.values, state=original.state)

    def _tell(self, trial: Trial, values: Sequence[float] | None = None, state: TrialState | None = None) -> None:
        self.study.tell(trial, values, state=state)
        self.tracking.ended(self.look_up(trial))

    def _report(self, trial: Trial, readings: Mapping[int, float]) -> None:
        """Tell Optuna's samplers of readings at rungs, which it allows with one objective alone."""
        if len(self.study.directions) == 1:
            for steps, value in readings.items():
                trial.report(value, steps)

    def constrain(self, trial: Trial, excess: Mapping[str, float]) -> None:
        """Keep by how much each limit is exceeded, at most 0 where it holds.

        For every trial alike: Optuna's GP sampler stops at a study where only some have constraints.
        """
        for name, value in excess.items():
            trial.set_constraint(name, value)

    def infeasible(self, trial: Trial, values: Sequence[float]) -> None:
        """Tell a constrained trial finite worst values: failing or pruning it would blind the samplers."""
        trial.set_user_attr("state", "INFEASIBLE")
        self._tell(trial, list(values))

    def fail(self, trial: Trial, reason: str, traceback: str = "") -> None:
        """Keep why a trial failed."""
        trial.set_user_attr("reason", reason)
        trial.set_user_attr("traceback", traceback)
        self._tell(trial, state=TrialState.FAIL)

    def frame(self) -> pd.DataFrame:
        """Return a row a trial: its state, architecture, costs, scores, and its parameters as ``param.NAME``."""
        return frame_of(self.part, self.trials)


def load_records(url: str, name: str) -> list[Record]:
    """Return every part of a study that has begun.

    Raises:
        StudyError: The storage has no such study, or cannot be opened.
    """
    try:
        storage = open_storage(url)
        found = [study for study in optuna.get_all_study_names(storage) if study.split("/")[0] == name]
        cached = TrialCache(storage)
        records = [Record(part.split("/")[1], optuna.load_study(study_name=part, storage=cached)) for part in found]
    except _STORAGE_ERRORS as error:
        raise _unusable(url, name, error) from None
    if not records:
        raise StudyError(f"storage {mask_password(url)} has no study {name}")
    return records


def write_trials(folder: StudyFolder, url: str, own: Record | None = None) -> pd.DataFrame:
    """Write every trial of every part into ``trials.csv`` and return the table.

    Args:
        folder: Of the study.
        url: Of its storage.
        own: A part as its driver has it, which is not read again: of ten thousand trials that takes memory.

    Raises:
        StudyError: The storage has no such study, or cannot be opened.
    """
    trials = _read_trials(folder, url, own)
    with replacing(folder.table("trials")) as path:
        trials.to_csv(path, index=False)
    return trials


def trials_text(folder: StudyFolder, url: str) -> str:
    """Return what ``trials.csv`` holds when it is written now.

    Raises:
        StudyError: The storage has no such study, or cannot be opened.
    """
    text: str = _read_trials(folder, url).to_csv(index=False)
    return text


def _read_trials(folder: StudyFolder, url: str, own: Record | None = None) -> pd.DataFrame:
    if own is not None:
        own.look_again()
    records = [own if own and record.part == own.part else record for record in load_records(url, folder.name)]
    frames = [record.frame() for record in records]
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def frame_of(part: str, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return a table of trials, one row each, with the columns ``COLUMNS`` first."""
    columns: dict[str, list[Any]] = {}
    for index, trial in enumerate(trials):  # by columns: ten thousand rows of names and values would take 25 MB
        row = _row(part, trial)
        for name in row:
            if name not in columns:
                columns[name] = [math.nan] * index
        for name, values in columns.items():
            values.append(row.get(name, math.nan))
    return pd.DataFrame(columns).reindex(columns=list(dict.fromkeys((*COLUMNS, *columns))))


def _row(part: str, trial: FrozenTrial) -> dict[str, Any]:
    row = {"part": part, "number": trial.number, "state": state_of(trial)}
    row |= {key: value for key, value in trial.user_attrs.items() if key in COLUMNS and key != "state"}
    row |= trial.user_attrs.get("score", {})
    return row | {f"param.{name}": value for name, value in trial.params.items()}


def state_of(trial: FrozenTrial) -> str:
    """Return the state as scalesearch names it."""
    return str(trial.user_attrs.get("state", _STATES[trial.state]))


def _study_name(name: str, part: str) -> str:
    return f"{name}/{part}"


def _existing_directions(storage: RDBStorage, name: str, part: str) -> list[str] | None:
    """Return the directions a part was begun with: Optuna ignores others silently, we name the difference."""
    for summary in optuna.get_all_study_summaries(storage, include_best_trial=False):
        if summary.study_name == _study_name(name, part):
            return [direction.name.lower() for direction in summary.directions]
    return None


def _unusable(url: str, name: str, error: Exception) -> StudyError:
    return StudyError(f"study {name}: the storage {mask_password(url)} cannot be opened ({_first_line(error)})")


def _difference(begun: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> str:
    """Return the first key at which two identities differ, with both values."""
    for key in [*begun, *(key for key in now if key not in begun)]:
        old, new = begun.get(key), now.get(key)
        if old != new:
            if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
                old, new = dict(enumerate(old)), dict(enumerate(new))
            if isinstance(old, Mapping) and isinstance(new, Mapping):
                return _difference(old, new, f"{prefix}{key}.")
            return f"was begun with {prefix}{key} {_short(old)}, got {_short(new)}"
    raise AssertionError("the identities do not differ")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
