"""What is known of a candidate without running it: its exact cost, and whether it may be proposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalesearch.search.predictor.domain import Array, Domain, Params

Cost = Callable[[Params], float | Sequence[float]]
"""Exact cost of a point's parameters; several where several objectives are costs."""

Allows = Callable[[Params], bool]
"""Whether a point's parameters may be proposed."""

Canonical = Callable[[Params], Params]
"""The parameters that stand for all points of the same candidate."""

_MOST_REMEMBERED = 200_000  # points; a search proposes a few hundred thousand, most of them more than once


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one point."""

    canonical: Array
    costs: tuple[float, ...]
    is_allowed: bool


class Costs:
    """Exact costs of points, each asked for once.

    Args:
        domain: The points' space.
        cost: Of a point's parameters; None where nothing is known exactly.
        max_cost: The first cost's limit.
        allows: Any other condition.
        canonical: Gives the parameters that stand for all points that are the same candidate.
    """

    def __init__(
        self,
        domain: Domain,
        cost: Cost | None = None,
        max_cost: float | None = None,
        allows: Allows | None = None,
        canonical: Canonical | None = None,
    ) -> None:
        self._domain, self._cost, self._max_cost = domain, cost, max_cost
        self._allows, self._canonical = allows, canonical
        self._remembered: dict[bytes, _Known] = {}

    def canonical(self, points: Array) -> Array:
        """Return the points (N, D) that stand for these."""
        if self._canonical is None:
            return points
        return np.array([self._look_up(point).canonical for point in points]).reshape(points.shape)

    def costs(self, points: Array) -> Array:
        """Return (N, C) costs; C is 0 where there is no cost function."""
        rows = [self._look_up(point).costs for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(points), -1 if rows else 0)

    def allowed(self, points: Array) -> NDArray[np.bool_]:
        """Return (N,) whether each point may be proposed."""
        return np.array([self._look_up(point).is_allowed for point in points], dtype=bool)

    def _look_up(self, point: Array) -> _Known:
        key = point.tobytes()
        if key not in self._remembered:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = self._ask(point)
        return self._remembered[key]

    def _ask(self, point: Array) -> _Known:
        params = self._domain.decode(point)
        if self._canonical is not None:
            params = dict(self._canonical(params))
            stands_for = self._domain.encode([params])[0]
            if stands_for.tobytes() != point.tobytes():
                return self._look_up(stands_for)
        costs: tuple[float, ...] = ()
        if self._cost is not None:
            costs = tuple(np.atleast_1d(np.asarray(self._cost(params), dtype=np.float64)).tolist())
        within = self._max_cost is None or not costs or costs[0] <= self._max_cost
        return _Known(point, costs, within and (self._allows is None or self._allows(params)))
