"""Error against cost as a power law, ``error = coefficient * cost^-exponent``: a line on logarithmic axes.

Fitted by least squares on the logarithms, each network alike. What a curve does beyond its last network is not
measured: a strategy that saturates bends away from the line, which the residuals show (positive at both ends).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.errors import ConfigError

FEWEST = 3  # points: two always lie on a line


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A fitted curve.

    Attributes:
        coefficient: The error at a cost of 1, in the cost's unit.
        exponent: By a doubling of the cost the error falls to ``2^-exponent``.
        exponent_se: Its standard error, from the scatter about the line.
        residuals: Of each point, measured over fitted error, minus 1.
        lowest: Least cost of the points.
        highest: Greatest cost of the points; beyond the two a prediction is an extrapolation.
    """

    coefficient: float
    exponent: float
    exponent_se: float
    residuals: tuple[float, ...]
    lowest: float
    highest: float

    def error_at(self, cost: float) -> float:
        """Return the error that the curve has at a cost."""
        return float(self.coefficient * cost**-self.exponent)

    def is_extrapolation(self, cost: float) -> bool:
        """Say whether a cost lies outside what was measured."""
        return not self.lowest <= cost <= self.highest

    @property
    def largest_residual(self) -> float:
        """The largest deviation from the curve, as a share of the error."""
        return max(map(abs, self.residuals))


def fit_power_law(costs: Sequence[float], errors: Sequence[float]) -> PowerLaw:
    """Fit the curve.

    Args:
        costs: Of each network, above 0, in one unit.
        errors: 1 - top-1 of each, in (0, 1].

    Raises:
        ConfigError: Fewer than three different costs, or a cost or error that has no logarithm.

    Example:
        >>> curve = fit_power_law([1, 4, 16], [0.8, 0.4, 0.2])
        >>> round(curve.exponent, 6), round(curve.error_at(64), 6), curve.is_extrapolation(64)
        (0.5, 0.1, True)
    """
    if len(set(costs)) < FEWEST:
        raise ConfigError(f"a power law is fitted to at least {FEWEST} different costs, got {len(set(costs))}")
    if not all(0 < value < math.inf for value in (*costs, *errors)):
        raise ConfigError(f"a power law is fitted to costs and errors above 0, got {list(costs)} and {list(errors)}")
    x, y = np.log(costs), np.log(errors)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    left = y - y.mean() - slope * centred
    variance = float(left @ left) / (len(x) - 2) / float(centred @ centred)
    return PowerLaw(
        coefficient=float(np.exp(y.mean() - slope * x.mean())),
        exponent=-slope,
        exponent_se=math.sqrt(variance),
        residuals=tuple(np.expm1(left).tolist()),
        lowest=float(min(costs)),
        highest=float(max(costs)),
    )
