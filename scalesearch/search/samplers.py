"""Samplers by name.

A sampler is made anew for each trial, seeded from (seed, trial number): with one seed for the whole study a resumed
run would propose its old points again, and a killed run would differ from one that was left alone.
"""

from __future__ import annotations

import warnings

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from scalesearch.search.predictor import PredictorSampler

__all__ = ["SAMPLERS", "PredictorSampler", "build_sampler"]

SAMPLERS = ("predictor", "random", "tpe", "nsga2", "gp")

_NUM_STARTUP_TRIALS = 10
_POPULATION_SIZE = 20  # Optuna's 50 would be random search for most of a laptop's study


def build_sampler(name: str, seed: int, number: int) -> BaseSampler:
    """Return one of Optuna's samplers, to propose trial ``number``; the predictor is made once, by its users.

    ``tpe`` is multivariate, since what a kernel or an expansion is worth depends on the rest of its stage.
    """
    trial_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "random":
                return RandomSampler(seed=trial_seed)
            case "tpe":
                return TPESampler(seed=trial_seed, multivariate=True, n_startup_trials=_NUM_STARTUP_TRIALS)
            case "nsga2":
                return NSGAIISampler(seed=trial_seed, population_size=_POPULATION_SIZE)
            case "gp":
                return GPSampler(seed=trial_seed, n_startup_trials=_NUM_STARTUP_TRIALS)
    raise AssertionError(f"the configuration let the sampler {name!r} through")
