"""How good a network each sampler finds in how many trials, on tables of really trained networks.

    python benchmarks/search_quality.py --seeds 20 --processes 2
    python benchmarks/search_quality.py --samplers ours,gp --problems "macro capped 50" --seeds 5

Every sampler sees the same problems with the same seeds through the same judge (``--judge``, a file that is not part
of this project: without it there is nothing to compare on, and the program says so). ``capped`` is the regret, in
points of accuracy, of the network that was picked by its observed accuracy: lower is better. ``front`` is the
hypervolume of all evaluated networks over that of the best known front: higher is better. Mean and standard error over
seeds; the last figure is the sampler's own time for ask and tell.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import random
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import Pool
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from scalesearch.search.samplers import PredictorSampler

DEFAULT_JUDGE = Path(__file__).resolve().parents[2] / "shared" / "benchmarks" / "judge_search.py"

PROBLEMS = (
    "accel capped 100",
    "accel capped 200",
    "macro capped 50",
    "accel front 100",
    "macro front 100",
)


class RegularisedEvolution(BaseSampler):
    """Aging evolution (Real et al. 2019, arXiv 1802.01548): mutate the best of a sample of the youngest trials.

    With several objectives the best is one that no other of the sample dominates. Violated constraints lose to none.
    """

    def __init__(self, seed: int, population_size: int = 25, sample_size: int = 8) -> None:
        self._rng = random.Random(seed)
        self._population_size, self._sample_size = population_size, sample_size
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters of the first trial."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return dict(complete[0].distributions) if complete else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a child once the population is full; before, everything is drawn at random."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < self._population_size:
            return {}
        sample = self._rng.sample(complete[-self._population_size :], self._sample_size)
        child = dict(_fittest(sample, study).params)
        name = self._rng.choice(sorted(search_space))
        others = [choice for choice in search_space[name].choices if choice != child[name]]  # type: ignore[attr-defined]
        return {**child, name: self._rng.choice(others)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 (Optuna's)
        """Return a random value."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def _fittest(sample: list[FrozenTrial], study: Study) -> FrozenTrial:
    feasible = [one for one in sample if all(excess <= 0 for excess in one.constraints.values())] or sample
    signs = [1 if direction == optuna.study.StudyDirection.MAXIMIZE else -1 for direction in study.directions]
    fitness = [[sign * value for sign, value in zip(signs, one.values, strict=True)] for one in feasible]
    for one, own in zip(feasible, fitness, strict=True):
        dominated = (all(b >= a for a, b in zip(own, other, strict=True)) and other != own for other in fitness)
        if not any(dominated):
            return one
    raise AssertionError("dominance has no cycles")


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "random": RandomSampler,
    "evolution": RegularisedEvolution,
    "nsga2": NSGAIISampler,
    "tpe": TPESampler,
    "tpe multivariate": functools.partial(TPESampler, multivariate=True),
    "gp": GPSampler,
    "ours": PredictorSampler,
}


class Runs:
    """Runs one sampler on one problem with one seed; tables are loaded once a process."""

    def __init__(self, judge: Path) -> None:
        self._path = judge

    def __call__(self, task: tuple[str, str, int]) -> tuple[float, float]:
        """Return the figure and the milliseconds a trial."""
        problem, sampler, seed = task
        name, objective, budget = problem.split()
        judge = load_judge(self._path)
        figure, _, seconds = judge.run(_table(judge, name), sampler, objective, int(budget), seed)
        return float(figure), 1000.0 * float(seconds)


@functools.cache
def load_judge(path: Path) -> ModuleType:
    """Import the judge from its file, with samplers found by our names."""
    spec = importlib.util.spec_from_file_location("judge_search", path)
    assert spec is not None
    assert spec.loader is not None, f"{path} is a file that Python can import"
    judge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    judge.make = make_sampler  # type: ignore[attr-defined]
    return judge


def make_sampler(name: str, seed: int, problem: Any, objective: str) -> BaseSampler:  # noqa: ANN401 (the judge's)
    """Return a sampler; ours is told the cost, which is free to compute, the others have no way to use it."""
    if name != "ours":
        return SAMPLERS[name](seed=seed)
    return PredictorSampler(seed, cost=problem.cost, max_cost=problem.cap if objective == "capped" else None)


@functools.cache
def _table(judge: ModuleType, name: str) -> Any:  # noqa: ANN401 (the judge's own class)
    return {"accel": judge.Accel, "macro": judge.Macro}[name]()


def measure(runs: Runs, problems: list[str], samplers: list[str], seeds: int, processes: int) -> Iterator[str]:
    """Yield a line of the table a sampler and problem."""
    with Pool(processes, initializer=_quieten) as pool:
        for problem in problems:
            for sampler in samplers:
                results = np.array(pool.map(runs, [(problem, sampler, seed) for seed in range(seeds)], chunksize=1))
                mean, error = results[:, 0].mean(), results[:, 0].std(ddof=1) / np.sqrt(seeds)
                yield f"| {problem} | {sampler} | {mean:.3f} | {error:.3f} | {seeds} | {results[:, 1].mean():.1f} |"


def _quieten() -> None:
    torch.set_num_threads(1)  # Optuna's GP uses torch; two processes share the cores
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, default=DEFAULT_JUDGE)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1)))
    arguments = parser.parse_args()
    if not arguments.judge.is_file():
        print(f"skipped: the judge and its tables are not at {arguments.judge}")
        return
    _quieten()
    print("| problem | sampler | regret or hypervolume | standard error | seeds | ask and tell, ms a trial |")
    print("|---|---|---|---|---|---|")
    runs = Runs(arguments.judge)
    problems, samplers = arguments.problems.split(","), arguments.samplers.split(",")
    for line in measure(runs, problems, samplers, arguments.seeds, arguments.processes):
        print(line, flush=True)


if __name__ == "__main__":
    main()
