"""``PredictorSampler``: propose the network that a model of accuracy expects to gain most from.

A Gaussian process learns accuracy from the trials so far; what is free to compute (macs, params) is never guessed but
computed, in the objectives, as a covariate of accuracy and as the budget. The next trial maximises expected
improvement, or expected hypervolume improvement with several objectives, over mutations and crossovers of the best
trials that are improved locally.

It is a plain Optuna sampler: any study with one or more objectives, categorical, integer and float parameters,
constraints and parallel workers. Running trials count as if they had scored what the model expects of them
("kriging believer", Ginsbourger et al. 2010), so that a batch spreads. Randomness is drawn from (seed, trial number)
alone: a resumed study goes on as an uninterrupted one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from scalesearch.search.predictor.costs import Allows, Canonical, Cost, Costs
from scalesearch.search.predictor.domain import Domain
from scalesearch.search.predictor.evolution import Effort
from scalesearch.search.predictor.model import Workshop
from scalesearch.search.predictor.proposal import Proposal

_STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL)


@functools.cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


class PredictorSampler(BaseSampler):
    """Propose by a Gaussian process and an evolutionary search of its acquisition.

    Args:
        seed: From which every proposal follows, with the trial's number; None draws one.
        cost: Exact cost of a point's parameters, in the unit the study is told. With several objectives it gives the
            last ones (one value, or a sequence of as many); with one it is what ``max_cost`` limits.
        max_cost: Points of a higher (first) cost are never proposed, but for the first trials of a study whose
            parameters are not known beforehand (see ``space``).
        allows: Whether a point's parameters may be proposed, where that is more than a cost.
        canonical: Gives the parameters that stand for all points of the same candidate, where some parameter may have
            no effect: such points are proposed once.
        space: The parameters, where they are known before the first trial; Optuna learns them from it otherwise.
        num_startup_trials: Trials that fill the space before the model proposes.
        effort: How long the acquisition is searched.
    """

    def __init__(
        self,
        seed: int | None = None,
        cost: Cost | None = None,
        max_cost: float | None = None,
        *,
        allows: Allows | None = None,
        canonical: Canonical | None = None,
        space: Mapping[str, BaseDistribution] | None = None,
        num_startup_trials: int = 5,
        effort: Effort | None = None,
    ) -> None:
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self._cost, self._max_cost, self._allows = cost, max_cost, allows
        self._canonical, self._space = canonical, space
        self._num_startup_trials, self._effort = num_startup_trials, effort or Effort()
        self._independent = RandomSampler(seed=self._seed)
        self._intersection = IntersectionSearchSpace()
        self._workshop: Workshop | None = None

    def reseed_rng(self) -> None:  # noqa: D102 (Optuna's: called in a worker; ours follows from trial numbers)
        self._independent.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are modelled: those that every trial has."""
        space = self._intersection.calculate(study) if self._space is None else self._space
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for each modelled parameter."""
        if not search_space:
            return {}
        if self._workshop is None or self._workshop.space != search_space:
            domain = Domain(search_space)
            self._workshop = Workshop(
                search_space, domain, Costs(domain, self._cost, self._max_cost, self._allows, self._canonical)
            )
        trials = [one for one in study.get_trials(deepcopy=False, states=_STATES) if one.number != trial.number]
        history = self._workshop.reader.read(trials, study.directions)
        is_told_limits = self._max_cost is not None or self._allows is not None
        rng = np.random.default_rng([self._seed, trial.number])
        proposal = Proposal(self._workshop, history, not is_told_limits, rng)
        with _thread_pools().limit(limits=1):  # matrices are small, and other cores train candidates
            return self._workshop.domain.decode(proposal.point(self._num_startup_trials, self._effort))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 (Optuna's)
        """Return a random value for a parameter that is not modelled, as all of a study's first trial."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)
