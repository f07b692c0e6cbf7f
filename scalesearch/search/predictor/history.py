"""What a study has seen so far, as arrays: the points, what they were worth, and what still runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from scalesearch.search.predictor.domain import Array, Domain

RUNG_VALUES = "rung_values"
"""User attribute of a trial: its readings on the way, as a list of [step, value of the first objective]."""

_LEAST_PAIRS = 3  # complete trials that a rung's reading is compared with before it stands for an end


@dataclass(frozen=True, slots=True)
class History:
    """Trials of one study that lie within a domain.

    Attributes:
        points: (N, D) of trials with an outcome within all constraints, in the order of their numbers.
        outcomes: (N, M), signed so that higher is better.
        signs: (M,) the signs: -1 where the study minimises.
        extra_noise: (N,) variance of the first outcome beyond that of a complete trial, in units of its variance.
        pending: (P, D) points of running trials.
        known: Every point ever proposed, as bytes.
        checked: (K, D) points of trials with constraint values.
        excess: (K, L) those values; above 0 is a violation.
    """

    points: Array
    outcomes: Array
    signs: Array
    extra_noise: Array
    pending: Array
    known: frozenset[bytes]
    checked: Array
    excess: Array

    def __len__(self) -> int:
        return len(self.points)


class HistoryReader:
    """Reads a study again and again, encoding each trial once.

    Args:
        domain: Trials outside it are left out.
        canonical: Gives the points that stand for others.
    """

    def __init__(self, domain: Domain, canonical: Callable[[Array], Array] = lambda points: points) -> None:
        self._domain, self._canonical = domain, canonical
        self._points: dict[int, Array | None] = {}

    def read(self, trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> History:
        """Return the history of all trials but those that lie outside the domain."""
        placed = [(trial, point) for trial in trials if (point := self._point(trial)) is not None]
        ended = {TrialState.COMPLETE, TrialState.PRUNED}
        told = [(trial, point) for trial, point in placed if trial.state in ended and not _violates(trial)]
        signs = np.array([1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in directions])
        ends = _Ends([trial for trial, _ in told])
        seen = [(point, *outcome) for trial, point in told if (outcome := ends.outcome(trial)) is not None]
        checked = [(point, list(trial.constraints.values())) for trial, point in placed if trial.constraints]
        running = [point for trial, point in placed if trial.state == TrialState.RUNNING]
        return History(
            points=self._stack([point for point, _, _ in seen]),
            outcomes=np.array([values for _, values, _ in seen]).reshape(-1, len(signs)) * signs,
            signs=signs,
            extra_noise=np.array([noise for _, _, noise in seen]),
            pending=self._stack(running),
            known=frozenset(point.tobytes() for _, point in placed),
            checked=self._stack([point for point, _ in checked]),
            excess=_rectangle([excess for _, excess in checked]),
        )

    def _point(self, trial: FrozenTrial) -> Array | None:
        if trial.number not in self._points:
            inside = all(trial.distributions.get(name) == axis.distribution for name, axis in self._domain.axes.items())
            if not inside:
                return None  # a running one may have drawn only some of its parameters yet
            self._points[trial.number] = self._canonical(self._domain.encode([trial.params]))[0]
        return self._points[trial.number]

    def _stack(self, points: Sequence[Array]) -> Array:
        return np.array(points).reshape(len(points), len(self._domain.axes))


class _Ends:
    """Says where a trial ended, or would have: a stopped one by what complete trials made of a like reading."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        self._complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        self._fits: dict[int, tuple[float, float, float] | None] = {}

    def outcome(self, trial: FrozenTrial) -> tuple[Sequence[float], float] | None:
        """Return the values and the first one's extra noise; None where nothing can be said."""
        if trial.state == TrialState.COMPLETE:
            return (trial.values, 0.0) if np.isfinite(trial.values).all() else None
        readings = readings_of(trial)
        values = trial.user_attrs.get("values") or [None]
        if not readings or (fit := self._fit(max(readings))) is None:
            return None
        slope, intercept, noise = fit
        return [intercept + slope * readings[max(readings)], *values[1:]], noise

    def _fit(self, step: int) -> tuple[float, float, float] | None:
        """Return slope, intercept and relative residual variance of the last value by the reading at ``step``."""
        if step not in self._fits:
            pairs = [
                (found[step], trial.values[0]) for trial in self._complete if step in (found := readings_of(trial))
            ]
            self._fits[step] = _regress(np.array(pairs)) if len(pairs) >= _LEAST_PAIRS else None
        return self._fits[step]


def readings_of(trial: FrozenTrial) -> Mapping[int, float]:
    """Return what was read of a trial on its way, by step: by our rungs, or by Optuna's own reports."""
    ours = trial.user_attrs.get(RUNG_VALUES)
    return {int(step): float(value) for step, value in ours} if ours else trial.intermediate_values


def _regress(pairs: Array) -> tuple[float, float, float]:
    reading, end = pairs[:, 0], pairs[:, 1]
    variance = float(reading.var())
    slope = float(((reading - reading.mean()) * (end - end.mean())).mean() / variance) if variance else 0.0
    residual = end - end.mean() - slope * (reading - reading.mean())
    # two parameters were fitted
    noise = float((residual**2).sum() / (len(end) - 2) / (end.var() or 1.0))
    return slope, float(end.mean() - slope * reading.mean()), noise


def _violates(trial: FrozenTrial) -> bool:
    return any(excess > 0 for excess in trial.constraints.values())


def _rectangle(rows: Sequence[Sequence[float]]) -> Array:
    """Return rows as an array; those shorter than the longest are filled with 0, which is a constraint that holds."""
    width = max((len(row) for row in rows), default=0)
    return np.array([[*row, *[0.0] * (width - len(row))] for row in rows]).reshape(len(rows), width)
