"""What the predictor takes to propose: milliseconds of processor time to ask and tell, as trials add up.

Run: ``OMP_NUM_THREADS=1 python benchmarks/ask_tell.py`` (``--objectives 2`` for a front, ``--trials 200`` for less).

20 categorical parameters of 4 choices, a noisy sum of parabolas with one interaction, the cost known exactly. Each
figure is the mean over the last 50 trials.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections.abc import Mapping
from typing import Any

import optuna

from scalesearch.search.samplers import PredictorSampler

NUM_PARAMETERS, CHOICES, MARKS, WINDOW = 20, (0, 1, 2, 3), (100, 200, 500, 1000, 2000), 50


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objectives", type=int, choices=(1, 2), default=1)
    parser.add_argument("--trials", type=int, default=MARKS[-1])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    seconds = run(options.objectives, options.trials)
    for mark in MARKS:
        if mark <= len(seconds):
            print(f"{mark:5d} trials: {1000 * sum(seconds[mark - WINDOW : mark]) / WINDOW:.0f} ms")


def run(num_objectives: int, num_trials: int) -> list[float]:
    """Return the processor seconds of each trial."""
    directions = ["maximize", "minimize"][:num_objectives]
    study = optuna.create_study(directions=directions, sampler=PredictorSampler(seed=0, cost=cost))
    rng = random.Random(1)
    seconds = []
    for _ in range(num_trials):
        started = time.process_time()
        trial = study.ask()
        params = {name(index): trial.suggest_categorical(name(index), CHOICES) for index in range(NUM_PARAMETERS)}
        study.tell(trial, [worth(params) + rng.gauss(0, 0.05), cost(params)][:num_objectives])
        seconds.append(time.process_time() - started)
    return seconds


def name(index: int) -> str:
    return f"x{index}"


def cost(params: Mapping[str, Any]) -> float:
    return float(sum((1 + params[name(index)]) * (index + 1) for index in range(NUM_PARAMETERS)))


def worth(params: Mapping[str, Any]) -> float:
    parabolas = sum(-0.05 * (params[name(index)] - index % 4) ** 2 for index in range(NUM_PARAMETERS))
    return float(parabolas + 0.3 * (params["x0"] == params["x7"]))


if __name__ == "__main__":
    main()
