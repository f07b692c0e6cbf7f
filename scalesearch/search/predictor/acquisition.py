"""What a candidate may be expected to gain, in closed form.

All objectives are maximised here. Expected improvement over a level: Jones et al. 1998. With several objectives that
are independent given the data, expected hypervolume improvement is a sum over boxes that tile the region no evaluated
candidate dominates, of products of one-dimensional expectations (Emmerich et al. 2011; Yang et al. 2019, the same
decomposition). An objective that is known exactly has deviation 0 and needs no other formula.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import log_ndtr, ndtr

from scalesearch.search.dominance import nondominated
from scalesearch.search.predictor.domain import Array

_ROOT_TWO_PI = np.sqrt(2.0 * np.pi)


def log_expected_improvement(mean: Array, deviation: Array, level: float) -> Array:
    """Return the logarithm of the expected gain over ``level``, finite also where the gain itself underflows, (N,)."""
    score = (mean - level) / deviation
    with np.errstate(divide="ignore"):
        near = np.log(np.maximum(_standard_gain(np.maximum(score, -5.0)), 1e-300))
    # Mills' ratio: below -5 the gain is the density over the squared distance, within 10 %
    far = log_ndtr(np.minimum(score, -5.0)) - np.log(np.maximum(-score, 5.0))
    return np.asarray(np.log(deviation) + np.where(score > -5.0, near, far))


def expected_hypervolume_improvement(mean: Array, deviation: Array, boxes: Array) -> Array:
    """Return the hypervolume each candidate is expected to add, (N,).

    Args:
        mean: (N, M) expected outcomes.
        deviation: (N, M); 0 where an objective is known.
        boxes: (B, 2, M) lower and upper corners, from ``nondominated_boxes``; upper ones may be infinite.
    """
    gains = np.ones((len(mean), len(boxes)))
    for objective in range(mean.shape[1]):
        lower, upper = boxes[:, 0, objective], boxes[:, 1, objective]
        center, spread = mean[:, [objective]], deviation[:, [objective]]
        if spread.any():
            gains *= _expected_excess(center, spread, lower) - _expected_excess(center, spread, upper)
        else:
            gains *= np.clip(center - lower, 0.0, upper - lower)
    return np.asarray(gains.sum(axis=1))


def nondominated_boxes(front: Array, reference: Array) -> Array:
    """Tile the region above ``reference`` that no point of ``front`` dominates.

    Args:
        front: (N, M) outcomes, dominated ones allowed; N may be 0.
        reference: (M,) the corner from which volume is counted.

    Returns:
        (B, 2, M) lower and upper corners; they overlap in faces alone.
    """
    above = front[np.all(front > reference, axis=1)]
    above = above[nondominated(-above)]
    return np.array(_tile(above, reference)).reshape(-1, 2, len(reference))


def _tile(front: Array, reference: Array) -> list[list[list[float]]]:
    """Cut the last objective at every level of the front and tile each slab in the objectives before it."""
    if len(reference) == 1:
        return [[[float(max(reference[0], front.max(initial=-np.inf)))], [np.inf]]]
    levels = [float(reference[-1]), *(float(level) for level in np.unique(front[:, -1])), np.inf]
    boxes: list[list[list[float]]] = []
    for low, high in pairwise(levels):
        dominating = front[front[:, -1] >= high, :-1]
        for lower, upper in _tile(dominating, reference[:-1]):
            boxes.append([[*lower, low], [*upper, high]])
    return boxes


def _expected_excess(mean: Array, deviation: Array, level: Array) -> Array:
    """Return E[max(f - level, 0)] for normal ``f``, (N, B); 0 at an infinite level."""
    safe = np.maximum(deviation, 1e-12)
    finite = np.where(np.isinf(level), 0.0, level)
    excess = safe * _standard_gain((mean - finite) / safe)
    return np.where(np.isinf(level), 0.0, excess)


def _standard_gain(score: Array) -> Array:
    """Return E[max(z + score, 0)] for standard normal ``z``."""
    density = np.exp(-0.5 * score**2) / _ROOT_TWO_PI
    return np.asarray(np.maximum(density + score * ndtr(score), 0.0))
