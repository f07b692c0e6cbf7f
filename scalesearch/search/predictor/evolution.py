"""Find the candidate of highest acquisition: mutations and crossovers of good parents, then improved locally."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalesearch.search.predictor.domain import Array, Domain

Acquisition = Callable[[Array], Array]
"""Gives each point (N, D) its value (N,)."""

Keep = Callable[[Array], Array]
"""Returns the points (N, D) that may be proposed at all."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to look.

    Attributes:
        num_children: Mutations, and as many crossovers, of the parents.
        num_strangers: Uniform points beside them.
        num_rounds: Local improvements, each of the ``num_climbers`` best so far.
        num_climbers: Points whose surroundings are tried in a round.
    """

    num_children: int = 200
    num_strangers: int = 100
    num_rounds: int = 3
    num_climbers: int = 3


def maximise(
    acquisition: Acquisition, keep: Keep, parents: Array, domain: Domain, rng: np.random.Generator, effort: Effort
) -> Array | None:
    """Return the best point found (D,), None where ``keep`` left none.

    Args:
        acquisition: To be maximised.
        keep: What may be proposed.
        parents: (P, D) good points to start from.
        domain: The space.
        rng: All randomness is drawn from it.
        effort: How long to look.
    """
    points = keep(_first_generation(parents, domain, rng, effort))
    values = acquisition(points) if len(points) else np.empty(0)
    for _ in range(effort.num_rounds if len(points) else 0):
        best = points[np.argsort(-values)[: effort.num_climbers]]
        around = [neighbours(point, domain, rng) for point in best]
        fresh = keep(np.vstack([*around, mutate(np.repeat(best, 20, axis=0), domain, rng, 2.0)]))
        if not len(fresh):
            break
        points, values = np.vstack([points, fresh]), np.concatenate([values, acquisition(fresh)])
    return points[values.argmax()] if len(points) else None


def mutate(points: Array, domain: Domain, rng: np.random.Generator, num_changes: float) -> Array:
    """Return a copy (N, D) in which about ``num_changes`` parameters of each point differ, one at least."""
    chosen = rng.random(points.shape) < num_changes / points.shape[1]
    unchanged = ~chosen.any(axis=1)
    chosen[unchanged, rng.integers(0, points.shape[1], int(unchanged.sum()))] = True
    return np.where(chosen, _other_values(points, domain, rng), points)


def cross(first: Array, second: Array, rng: np.random.Generator) -> Array:
    """Return children (N, D) that have each parameter from either parent."""
    return np.where(rng.random(first.shape) < 0.5, first, second)


def neighbours(point: Array, domain: Domain, rng: np.random.Generator) -> Array:
    """Return every point that differs in one parameter's level, and two for each continuous parameter."""
    rows = []
    for index, num_levels in enumerate(domain.num_levels):
        if num_levels:
            values = [level for level in range(int(num_levels)) if level != point[index]]
        else:
            values = list(np.clip(point[index] + rng.normal(0.0, (0.02, 0.1)), 0.0, 1.0))
        copies = np.repeat(point[None], len(values), axis=0)
        copies[:, index] = values
        rows.append(copies)
    return np.vstack(rows)


def _first_generation(parents: Array, domain: Domain, rng: np.random.Generator, effort: Effort) -> Array:
    first = parents[rng.integers(0, len(parents), effort.num_children)]
    second = parents[rng.integers(0, len(parents), effort.num_children)]
    crossed = mutate(cross(first, second, rng), domain, rng, 1.0)
    return np.vstack([mutate(first, domain, rng, 1.5), crossed, domain.draw(rng, effort.num_strangers)])


def _other_values(points: Array, domain: Domain, rng: np.random.Generator) -> Array:
    """Return another level for every coordinate, or for a continuous one a step of normal length or a fresh draw."""
    sizes = np.maximum(domain.num_levels, 1)
    others = (points + 1 + np.floor(rng.random(points.shape) * (sizes - 1))) % sizes
    if (domain.num_levels == 0).any():
        steps = np.clip(points + rng.normal(0.0, 0.1, points.shape), 0.0, 1.0)
        moved = np.where(rng.random(points.shape) < 0.2, rng.random(points.shape), steps)
        others = np.where(domain.num_levels > 0, others, moved)
    return np.asarray(others)
