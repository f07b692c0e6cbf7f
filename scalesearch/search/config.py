"""The keys of ``scalesearch search``, and what they are turned into before the loop begins."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from scalesearch.arch import SearchSpace
from scalesearch.arch.budget import Budget
from scalesearch.errors import ConfigError
from scalesearch.measure.latency_table import LatencyTable
from scalesearch.measure.scores import ScoreConfig
from scalesearch.search.objectives import COSTS, OBJECTIVES, Objectives
from scalesearch.search.rungs import PrunerConfig
from scalesearch.search.samplers import SAMPLERS
from scalesearch.study.settings import StudyConfig, check_at_least, check_choice


@dataclass(kw_only=True, slots=True)
class SearchConfig(StudyConfig):
    """The keys of ``scalesearch search``.

    Attributes:
        space: Name of a search space that ships with scalesearch, or the path of a file.
        image_size: Pixels a side at which candidates are trained; the space's own where it is not given.
        trials: Networks to score in all, earlier runs of the same study and those stopped at a rung included.
        max_steps: Training steps in all, earlier runs included: no candidate begins when they are spent, and those that
            run then run to their end. The steps of a failed training are not counted.
        sampler: ``predictor`` (a model of accuracy proposes), ``random``, ``tpe``, ``nsga2`` or ``gp``.
        objective: ``front`` (accuracy up, cost down), ``accuracy`` alone, or ``reward``, MnasNet's
            ``accuracy * (macs / target_macs) ^ reward_exponent``.
        cost: Of a front: ``macs``, ``params`` or ``latency`` (predicted with a ``latency_table``, else measured with
            each score, while other candidates may be training).
        target_macs: Of the reward; the budget's macs where it is not given.
        reward_exponent: Of the reward (arXiv 1905.11946, section 4: -0.07).
        budget: The most a network may cost.
        max_latency_ms: The most its latency may be, by ``latency_table``.
        latency_table: File that ``scalesearch latency-table`` wrote on the device the networks are for.
        latency_batch_size: Images a pass, where latency is measured.
        score: What a candidate is worth.
        pruner: Which candidates are stopped before their training ends.
    """

    space: str = "mbconv_small"
    image_size: int | None = None
    trials: int = 40
    max_steps: int | None = None
    sampler: str = "predictor"
    objective: str = "front"
    cost: str = "macs"
    target_macs: float | None = None
    reward_exponent: float = -0.07
    budget: Budget = field(default_factory=Budget)
    max_latency_ms: float = math.inf
    latency_table: str = ""
    latency_batch_size: int = 1
    score: ScoreConfig = field(default_factory=ScoreConfig)
    pruner: PrunerConfig = field(default_factory=PrunerConfig)

    def __post_init__(self) -> None:
        StudyConfig.__post_init__(self)
        for name in ("trials", "latency_batch_size"):
            check_at_least(name, getattr(self, name), 1)
        if self.max_steps is not None:
            check_at_least("max_steps", self.max_steps, 1)
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("cost", self.cost, COSTS)
        self._check_reward()
        self._check_latency()
        if self.pruner.method != "off" and self.score.method != "brief":
            raise ConfigError(
                f"pruner.method must be off with score={self.score.method}, where nothing is trained that could be"
                f" stopped; got {self.pruner.method!r}"
            )

    @property
    def reward_target(self) -> float:
        """Macs at which the reward is the accuracy."""
        return self.budget.macs if self.target_macs is None else self.target_macs

    def load_space(self) -> SearchSpace:
        """Return the search space at the image size asked for."""
        space = SearchSpace.load(self.space)
        return space if self.image_size is None else space.at_image_size(self.image_size)

    def load_objectives(self) -> Objectives:
        """Return the objectives, with the latency table read.

        Raises:
            ConfigError: The file is not a latency table.
        """
        return Objectives(
            kind=self.objective,
            cost=self.cost,
            budget=self.budget,
            max_latency_ms=self.max_latency_ms,
            reward_target=self.reward_target,
            reward_exponent=self.reward_exponent,
            latency_table=LatencyTable.load(Path(self.latency_table)) if self.latency_table else None,
        )

    def _check_reward(self) -> None:
        if self.objective == "reward" and not 0 < self.reward_target < math.inf:
            raise ConfigError(
                "target_macs, or in its place budget.macs, must be finite and above 0 with objective=reward,"
                f" got {self.reward_target}"
            )
        if not math.isfinite(self.reward_exponent):
            raise ConfigError(f"reward_exponent must be finite, got {self.reward_exponent}")

    def _check_latency(self) -> None:
        if not self.max_latency_ms > 0:
            raise ConfigError(f"max_latency_ms must be above 0, got {self.max_latency_ms}")
        if math.isfinite(self.max_latency_ms) and not self.latency_table:
            raise ConfigError(
                f"max_latency_ms={self.max_latency_ms:g} needs latency_table=FILE, by which latencies are known before"
                " a network is trained (scalesearch latency-table measures one)"
            )
