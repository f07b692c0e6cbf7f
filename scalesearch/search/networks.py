"""The search for a base network: its problem for the engine, and what is kept of the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalesearch.arch import ArchSpec, Cost, SearchSpace, network_cost
from scalesearch.arch.budget import check_reachable
from scalesearch.atomic import write_atomically
from scalesearch.measure.scores import Job, Score
from scalesearch.search.config import SearchConfig
from scalesearch.search.loop import LoopSettings, SearchLoop
from scalesearch.search.objectives import Objectives
from scalesearch.search.rungs import PrunerConfig
from scalesearch.search.scoring import Scoring, open_scoring
from scalesearch.study.executors import Executor

_BASE = "base"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The chosen base network, what it is worth and costs, and its weights, where it was trained.

    ``worth`` is the search-val accuracy in [0, 1], or the proxy where a proxy is what was searched.
    """

    base: ArchSpec
    worth: float
    cost: Cost
    num_scored: int
    checkpoint: Path | None


def run_search(config: SearchConfig) -> SearchResult:
    """Search until ``config.trials`` networks are scored, or the space is exhausted; go on where a study stopped.

    With ``score.propose`` a first search by that cheap score comes before, as the part ``propose`` of the study, and
    the best of its networks are what is then scored.

    Writes the record, ``config.yaml``, ``trials.csv``, ``base.yaml`` and the base's checkpoint into the study's folder.

    Raises:
        ScalesearchError: The data, space or budget is not usable, or the study was begun with something else.
    """
    space, objectives = config.load_space(), config.load_objectives()
    with config.held():
        scoring = open_scoring(config, space, config.score.method)
        check_reachable(space, config.budget, scoring.num_classes)
        shortlist = None if config.score.propose == "none" else _propose_by(config, space, objectives)
        settings = _settings(config, "search", config.pruner, config.max_steps, keeps=_BASE)
        loop = SearchLoop(settings, NetworkProblem(config, space, objectives, scoring), shortlist)
        config.save("search")
        loop.run(config.trials)
        chosen = loop.conclude()
        write_atomically(config.folder.base, chosen.arch.to_yaml())
        return SearchResult(chosen.arch, chosen.score.worth, chosen.cost, chosen.num_scored, chosen.checkpoint)


class NetworkProblem:
    """The base network as a problem for the engine.

    Args:
        config: How it is searched.
        space: Where.
        objectives: For what.
        scoring: Where scores come from.
        keeps_weights: Whether candidates write checkpoints.
    """

    def __init__(
        self,
        config: SearchConfig,
        space: SearchSpace,
        objectives: Objectives,
        scoring: Scoring,
        *,
        keeps_weights: bool = True,
    ) -> None:
        self._config, self._scoring, self._keeps_weights = config, scoring, keeps_weights
        self.space, self.objectives, self.num_steps = space, objectives, scoring.num_steps
        self.identity: Mapping[str, Any] = {"space": space.to_dict(), **scoring.identity}

    def cost(self, arch: ArchSpec) -> Cost:
        """Return what a network costs."""
        return network_cost(arch, num_classes=self._scoring.num_classes)

    def lacks(self, arch: ArchSpec) -> bool:
        """Say whether a network has no score."""
        return self._scoring.lacks(arch)

    def job(self, arch: ArchSpec, checkpoint: Path, rungs: tuple[int, ...]) -> Job:
        """Return what scores a network."""
        config = self._config
        return Job(
            arch=arch,
            seed=config.seed,  # one seed for all: the same images in the same order, so differences are the networks'
            data=config.data,
            train=config.train,
            score=self._scoring.score,
            cache=config.folder.cache,
            device=config.torch_device,
            checkpoint=checkpoint if self._keeps_weights else None,
            rungs=rungs,
            latency_batch_size=config.latency_batch_size,
        )

    def executor(self) -> Executor:
        """Return what runs the jobs."""
        return self._scoring.executor()

    def read(self, values: Mapping[str, Any]) -> ArchSpec:
        """Return the network whose ``to_dict`` the record kept."""
        return ArchSpec.from_dict(values)

    def read_score(self, values: Mapping[str, Any]) -> Score:
        """Return the score whose ``to_dict`` the record kept."""
        return Score(**values)


def _propose_by(config: SearchConfig, space: SearchSpace, objectives: Objectives) -> list[ArchSpec]:
    """Search by the cheap score and return its networks, best first."""
    scoring = open_scoring(config, space, config.score.propose)
    problem = NetworkProblem(config, space, objectives, scoring, keeps_weights=False)
    loop = SearchLoop(_settings(config, "propose", PrunerConfig(), None), problem)
    config.save("search")
    loop.run(config.score.propose_trials)
    return loop.ranking()


def _settings(
    config: SearchConfig, part: str, pruner: PrunerConfig, max_steps: int | None, keeps: str = ""
) -> LoopSettings:
    return LoopSettings(
        part=part,
        folder=config.folder,
        url=config.url,
        seed=config.seed,
        sampler=config.sampler,
        pruner=pruner,
        max_steps=max_steps,
        driver_timeout=config.driver_timeout,
        rules=config.rules,
        keeps=keeps,
        tracked=config.tracked(part),
    )
