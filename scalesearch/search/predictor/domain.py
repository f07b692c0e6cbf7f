"""Optuna's search space as numbers: points for the evolution to vary, features for the surrogate to compare.

A point is a row of D numbers, one a parameter in the order of their names: the index of the level where the parameter
has levels (categories, integers, steps), else the position in [0, 1] (logarithmic where the distribution is).

A parameter's features are its position, if its levels have an order, and an indicator a level, if it has levels. A
categorical parameter whose choices are all numbers is ordered: a kernel of 5 lies between 3 and 7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Array = NDArray[np.float64]
Params = dict[str, Any]

_MOST_LEVELS = 64
"""An integer or stepped range with more values counts as continuous: an indicator for each would tell nothing."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter.

    Attributes:
        distribution: Optuna's.
        levels: Its values; empty where it is continuous.
        positions: Of the levels in [0, 1]; all 0 where they have no order.
        is_ordered: Whether its values have an order.
    """

    distribution: BaseDistribution
    levels: tuple[Any, ...]
    positions: tuple[float, ...]
    is_ordered: bool

    @classmethod
    def of(cls, distribution: BaseDistribution) -> Axis:
        """Describe a parameter."""
        levels = _levels(distribution)
        is_ordered = not levels or all(_is_number(level) for level in levels)
        if not is_ordered:
            return cls(distribution, levels, (0.0,) * len(levels), is_ordered)
        return cls(distribution, levels, tuple(_positions(levels, distribution)), is_ordered)

    def encode(self, value: Any) -> float:  # noqa: ANN401 (whatever Optuna holds)
        """Return a value's coordinate."""
        if self.levels:
            return float(self.levels.index(value))
        low, high = _range(self.distribution)
        return (_scaled(value, self.distribution) - low) / (high - low)

    def decode(self, coordinate: float) -> float | int:
        """Return the value at a position of a continuous parameter, rounded to the distribution's step."""
        low, high = _range(self.distribution)
        position = low + coordinate * (high - low)
        return _rounded(math.exp(position) if _is_log(self.distribution) else position, self.distribution)


class Domain:
    """A search space as an array space.

    Args:
        space: Distributions by name; those with one value are left to Optuna.

    Attributes:
        num_levels: Levels of each parameter, (D,); 0 where it is continuous.
        groups: The parameter of each feature, (F,).
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.axes = {name: Axis.of(space[name]) for name in sorted(space) if not space[name].single()}
        self.num_levels = np.array([len(axis.levels) for axis in self.axes.values()], dtype=np.int64)
        self._columns = [_feature_table(axis) for axis in self.axes.values()]
        widths = [1 if table is None else table.shape[1] for table in self._columns]
        self.groups = np.repeat(np.arange(len(widths)), widths)

    @property
    def num_parameters(self) -> int:
        """D, the parameters with more than one value."""
        return len(self.axes)

    @property
    def size(self) -> float:
        """Number of points; infinite with a continuous parameter."""
        return math.prod(len(axis.levels) or math.inf for axis in self.axes.values())

    def encode(self, params: Sequence[Mapping[str, Any]]) -> Array:
        """Return the points (N, D) of values by name."""
        rows = [[axis.encode(one[name]) for name, axis in self.axes.items()] for one in params]
        return np.array(rows, dtype=np.float64).reshape(len(params), len(self.axes))

    def decode(self, point: Array) -> Params:
        """Return the values by name at a point (D,)."""
        coordinates = point.tolist()
        return {
            name: axis.levels[int(value)]
            if axis.levels
            else axis.decode(value)  # most of a search's time is spent here
            for (name, axis), value in zip(self.axes.items(), coordinates, strict=True)
        }

    def features(self, points: Array) -> Array:
        """Return features (N, F); a level's difference from another weighs about as much in every parameter."""
        columns = [
            points[:, [index]] if table is None else table[points[:, index].astype(np.int64)]
            for index, table in enumerate(self._columns)
        ]
        return np.hstack(columns) if columns else np.empty((len(points), 0))

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Return ``count`` uniform points."""
        uniform = rng.random((count, len(self.axes)))
        return np.where(self.num_levels > 0, np.floor(uniform * self.num_levels), uniform)


def _feature_table(axis: Axis) -> Array | None:
    """Return the features of each level, scaled so that squared distances are at most 1; None where continuous.

    An ordered parameter's distance is half that of the positions and half a plain "differs": trend and surprise.
    """
    if not axis.levels:
        return None
    indicator = np.eye(len(axis.levels)) * math.sqrt(0.5)
    if not axis.is_ordered or len(axis.levels) == 2:
        return indicator
    return np.column_stack([np.array(axis.positions) * math.sqrt(0.5), indicator * math.sqrt(0.5)])


def _levels(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        choices = tuple(distribution.choices)
        return tuple(sorted(choices, key=float)) if all(_is_number(choice) for choice in choices) else choices
    if isinstance(distribution, IntDistribution):
        count = (distribution.high - distribution.low) // distribution.step + 1
        steps = range(distribution.low, distribution.high + 1, distribution.step)
        return tuple(steps) if count <= _MOST_LEVELS else ()
    assert isinstance(distribution, FloatDistribution), f"Optuna has no other distribution: {distribution}"
    if distribution.step is None:
        return ()
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    values = (_rounded(distribution.low + index * distribution.step, distribution) for index in range(count))
    return tuple(values) if count <= _MOST_LEVELS else ()


def _positions(levels: Sequence[float], distribution: BaseDistribution) -> list[float]:
    scaled = [_scaled(level, distribution) for level in levels]
    spread = (max(scaled) - min(scaled)) or 1.0 if scaled else 1.0
    return [(value - min(scaled)) / spread for value in scaled]


def _range(distribution: BaseDistribution) -> tuple[float, float]:
    assert isinstance(distribution, FloatDistribution | IntDistribution), "categories have levels"
    return _scaled(distribution.low, distribution), _scaled(distribution.high, distribution)


def _rounded(value: float, distribution: BaseDistribution) -> float | int:
    assert isinstance(distribution, FloatDistribution | IntDistribution), "categories have levels"
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None:
        value = low + round((value - low) / step) * step
    value = min(max(value, low), high)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def _scaled(value: float, distribution: BaseDistribution) -> float:
    return math.log(value) if _is_log(distribution) else float(value)


def _is_log(distribution: BaseDistribution) -> bool:
    return bool(getattr(distribution, "log", False))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
