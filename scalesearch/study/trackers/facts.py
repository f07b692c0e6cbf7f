"""What a tracker is told: a trial that has ended, as plain texts and finite numbers; and the protocol it keeps."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optuna.trial import FrozenTrial

_COSTS = ("params", "macs", "acts")
_TEXTS = ("label", "arch_id", "blocks", "reason")
_STEP = "step"

Course = tuple[tuple[int, Mapping[str, float]], ...]
"""What was read on the way: a step, and the numbers read there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedTrial:
    """A trial that has ended.

    Attributes:
        number: In its part.
        state: As scalesearch names it, ``COMPLETE`` say.
        params: What was drawn for it, and its seed.
        numbers: What it was told (``value.NAME``), costs and measures; none that is not finite.
        texts: Label, ``arch_id``, block strings, and why it failed.
        course: Readings on the way, in rising steps; empty where there are none.
    """

    number: int
    state: str
    params: Mapping[str, float | int | str]
    numbers: Mapping[str, float]
    texts: Mapping[str, str]
    course: Course = ()


class Tracker(Protocol):
    """Takes note of a part of a study. Any method may raise: the study goes on without the tracker."""

    def begin(self, config: Mapping[str, str]) -> None:
        """Take note of what the part was told, by key; called once a session, noted once."""
        ...

    def log(self, trial: TrackedTrial) -> None:
        """Take note of a trial; one that it has already, because a process died in between, is replaced or left."""
        ...

    def close(self) -> None:
        """Write what is not yet written."""
        ...


def describe_trial(trial: FrozenTrial, state: str, metric_names: Sequence[str], readings: Path) -> TrackedTrial:
    """Return a trial of the record as a tracker is told of it.

    Args:
        trial: It has ended.
        state: As scalesearch names it.
        metric_names: Of its values.
        readings: Folder of the files that trainings to the end write on their way.
    """
    attributes, score = trial.user_attrs, dict(trial.user_attrs.get("score", {}))
    told = dict(zip(metric_names, trial.values or attributes.get("values") or (), strict=False))
    numbers = {f"value.{name}": value for name, value in told.items()}
    numbers |= {name: attributes[name] for name in _COSTS if name in attributes} | score
    seed = {"seed": attributes["seed"]} if "seed" in attributes else {}
    return TrackedTrial(
        number=trial.number,
        state=state,
        params={**trial.params, **seed},
        numbers=dict(_finite(numbers)),
        texts={name: str(attributes[name]) for name in _TEXTS if attributes.get(name)},
        course=_read_course(readings, score) or _rungs(attributes),
    )


def _finite(numbers: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in numbers.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


def _read_course(readings: Path, score: Mapping[str, Any]) -> Course:
    path = readings / Path(str(score.get("history", ""))).name
    if not score.get("history") or not path.exists():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]
    return tuple((int(row.pop(_STEP)), dict(_finite(row))) for row in rows)


def _rungs(attributes: Mapping[str, Any]) -> Course:
    return tuple((int(steps), dict(_finite({"worth": worth}))) for steps, worth in attributes.get("rung_values", []))
