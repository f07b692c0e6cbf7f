"""How much depth, width and resolution each add to the macs: the coordinates in which scaled networks are compared.

In the factors that a rule is written with, rounding makes networks of quite different cost, or one network of many
rules. In doublings of the base's macs, one a dimension, candidates of equal cost lie near a plane.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalesearch.arch import ArchSpec, ScalingFactors, network_cost, scale_arch
from scalesearch.arch.scaling import DepthRounding

Floats = NDArray[np.float64]


def cost_doublings(
    base: ArchSpec, points: Sequence[ScalingFactors], rounding: DepthRounding = "ceil", num_classes: int = 1000
) -> Floats:
    """Return how often depth, width and resolution each double the base's macs by themselves, (N, 3).

    It is what the networks are: factors that round to one depth give one number.

    Example:
        >>> from scalesearch.arch import published_arch
        >>> cost_doublings(published_arch("efficientnet-b0"), [ScalingFactors(1.2, 1.1, 1.15)]).round(2).tolist()
        [[0.56, 0.2, 0.58]]
    """
    base_macs = network_cost(base, num_classes=num_classes).macs

    def doublings(*factors: float) -> float:
        scaled = scale_arch(base, ScalingFactors(*factors), rounding=rounding)
        return float(np.log2(network_cost(scaled, num_classes=num_classes).macs / base_macs))

    rows = [(doublings(p.alpha, 1, 1), doublings(1, p.beta, 1), doublings(1, 1, p.gamma)) for p in points]
    return np.array(rows).reshape(-1, 3)


def at_equal_cost(doublings: ArrayLike, target: float) -> Floats:
    """Return ``cost_doublings`` (N, 3) moved to ``target`` times the base's macs, by the same in each dimension."""
    moved = np.asarray(doublings, dtype=float)
    excess = moved.sum(axis=1, keepdims=True) - np.log2(target)
    return np.asarray(moved - excess / moved.shape[1])


def realised_factors(doublings: ArrayLike) -> Floats:
    """Return alpha, beta and gamma (N, 3) by which depth, width and resolution would do what they do unrounded.

    ``beta`` and ``gamma`` multiply the macs by their squares.
    """
    return np.asarray(np.exp2(np.asarray(doublings, dtype=float) / (1, 2, 2)))
