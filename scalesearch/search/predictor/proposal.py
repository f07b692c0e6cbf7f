"""One proposal: everything that is known now, and the point that follows from it."""

from __future__ import annotations

import itertools

import numpy as np

from scalesearch.search.dominance import nondominated
from scalesearch.search.predictor.acquisition import (
    expected_hypervolume_improvement,
    log_expected_improvement,
    nondominated_boxes,
)
from scalesearch.search.predictor.domain import Array
from scalesearch.search.predictor.evolution import Acquisition, Effort, maximise
from scalesearch.search.predictor.history import History
from scalesearch.search.predictor.model import LEAST_OUTCOMES, Posterior, Workshop

_MOST_PARENTS = 15
_NUM_DRAWS = 256  # uniform points among which a startup trial is chosen
_MOST_ENUMERATED = 5000  # points of a space that is listed whole when nothing else is left


class Proposal:
    """What to try next.

    Args:
        workshop: Kept between proposals.
        history: What the study has seen.
        models_constraints: Whether constraint values are learned.
        rng: All randomness is drawn from it.
    """

    def __init__(
        self, workshop: Workshop, history: History, models_constraints: bool, rng: np.random.Generator
    ) -> None:
        self._workshop, self._history, self._rng = workshop, history, rng
        self._models_constraints = models_constraints

    def point(self, num_startup_trials: int, effort: Effort) -> Array:
        """Return the point to try next; one known already where no other is left."""
        if len(self._history.known) < num_startup_trials:
            return self._startup_point()
        posterior = Posterior(self._workshop, self._history, self._models_constraints)
        acquisition, parents = self._goal(posterior)
        found = maximise(acquisition, self._keep, parents, self._workshop.domain, self._rng, effort)
        return self._startup_point() if found is None else found

    def _goal(self, posterior: Posterior) -> tuple[Acquisition, Array]:
        """Return what to maximise and where to start: feasibility alone until something feasible was seen."""
        history = self._history
        if len(history) >= LEAST_OUTCOMES:
            expected = posterior.mean(history.points)
            return self._acquisition(posterior, expected), self._parents(expected)
        parents = np.vstack([history.checked, history.points, history.pending])
        order = np.argsort(-posterior.log_feasibility(parents))
        return posterior.log_feasibility, parents[order[:_MOST_PARENTS]]

    def _acquisition(self, posterior: Posterior, expected: Array) -> Acquisition:
        """Return the logarithm of the expected gain over what the trials so far are expected to be worth.

        Their expectation, not their readings: the luckiest reading would hide most of what can be gained.
        """
        if expected.shape[1] == 1:
            level = float(expected.max())

            def gain(mean: Array, deviation: Array) -> Array:
                return log_expected_improvement(mean[:, 0], deviation[:, 0], level)
        else:
            boxes = nondominated_boxes(expected, expected.min(axis=0))

            def gain(mean: Array, deviation: Array) -> Array:
                return np.log(np.maximum(expected_hypervolume_improvement(mean, deviation, boxes), 1e-300))

        return lambda points: gain(*posterior.predict(points)) + posterior.log_feasibility(points)

    def _parents(self, expected: Array) -> Array:
        """Return the best points, or with several objectives those of the front."""
        if expected.shape[1] == 1:
            return self._history.points[np.argsort(-expected[:, 0])[:_MOST_PARENTS]]
        front = np.flatnonzero(nondominated(-expected))
        return np.asarray(self._history.points[front])

    def _keep(self, points: Array) -> Array:
        """Return the points that are allowed and new, each once."""
        points = self._workshop.costs.canonical(points)
        fresh = {point.tobytes(): index for index, point in enumerate(points)}
        points = points[[index for key, index in fresh.items() if key not in self._history.known]]
        return np.asarray(points[self._workshop.costs.allowed(points)])

    def _startup_point(self) -> Array:
        """Return the allowed point farthest from all others, or any point where none is left."""
        domain = self._workshop.domain
        drawn = domain.draw(self._rng, _NUM_DRAWS)
        points = self._keep(drawn)
        if not len(points) and domain.size <= _MOST_ENUMERATED:
            levels = itertools.product(*(range(int(count)) for count in domain.num_levels))
            points = self._keep(np.array(list(levels), dtype=np.float64))
        if not len(points):
            return np.asarray(drawn[0])
        known = domain.features(np.vstack([self._history.points, self._history.pending]))
        if not len(known):
            return np.asarray(points[self._rng.integers(len(points))])
        features = domain.features(points)
        squared = (features**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2.0 * features @ known.T
        return np.asarray(points[squared.min(axis=1).argmax()])
