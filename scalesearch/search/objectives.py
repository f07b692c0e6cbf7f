"""What a search maximises and minimises, and the costs that are known before a network is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from scalesearch.arch import Cost
from scalesearch.arch.budget import Budget
from scalesearch.study.jobs import Candidate

OBJECTIVES = ("front", "reward", "accuracy")
COSTS = ("macs", "params", "latency")

_WORST_LATENCY_MS = 1e6
"""Told of a network that is over the budget, where its latency would have to be measured."""


class LatencyModel(Protocol):
    """Knows a candidate's latency before it is trained."""

    def predict_ms(self, arch: Any) -> float:  # noqa: ANN401 (a candidate of the kind it was measured for)
        """Return the median milliseconds of a pass."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return under what it was measured, in plain values."""
        ...


@dataclass(frozen=True, slots=True)
class Objectives:
    """How a candidate's worth and cost become the values of a trial.

    Attributes:
        kind: ``front``, ``reward`` or ``accuracy``.
        cost: ``macs``, ``params`` or ``latency``: what a front minimises.
        budget: The most a network may cost.
        max_latency_ms: The most its predicted latency may be; needs ``latency_table``.
        reward_target: Macs at which the reward is the accuracy.
        reward_exponent: Of the reward.
        latency_table: Predicts latencies; without one they are measured with each score.
        worth_name: What is maximised, by its name in the record.
    """

    kind: str
    cost: str = "macs"
    budget: Budget = field(default_factory=Budget)
    max_latency_ms: float = math.inf
    reward_target: float = math.inf
    reward_exponent: float = 0.0
    latency_table: LatencyModel | None = None
    worth_name: str = "val_top1"

    @property
    def directions(self) -> list[str]:
        """Return ``maximize`` or ``minimize``, one an objective."""
        return ["maximize", "minimize"] if self.kind == "front" else ["maximize"]

    @property
    def names(self) -> list[str]:
        """Return the objectives' names."""
        return [self.worth_name, self._cost_name] if self.kind == "front" else [self.kind]

    @property
    def knows_cost(self) -> bool:
        """Say whether the cost is known before a network is trained."""
        return self.cost != "latency" or self.latency_table is not None

    @property
    def _cost_name(self) -> str:
        return "latency_ms" if self.cost == "latency" else self.cost

    def cost_of(self, arch: Candidate, cost: Cost, measured_ms: float = math.nan) -> float:
        """Return the cost a front minimises: macs, params, or milliseconds (predicted, or as measured)."""
        if self.cost != "latency":
            return float(getattr(cost, self.cost))
        if self.latency_table is not None:
            return self.latency_table.predict_ms(arch)
        return _WORST_LATENCY_MS if math.isnan(measured_ms) else measured_ms

    def excess(self, arch: Candidate, cost: Cost) -> dict[str, float]:
        """Return by how much of itself each limit is exceeded; at most 0 where it holds."""
        excess = self.budget.excess(cost)
        if self.latency_table is not None and math.isfinite(self.max_latency_ms):
            excess["latency_ms"] = self.latency_table.predict_ms(arch) / self.max_latency_ms - 1
        return excess

    def values(self, arch: Candidate, cost: Cost, worth: float, measured_ms: float = math.nan) -> list[float]:
        """Return a trial's values."""
        match self.kind:
            case "front":
                return [worth, self.cost_of(arch, cost, measured_ms)]
            case "reward":
                return [worth * (cost.macs / self.reward_target) ** self.reward_exponent]
            case _:
                return [worth]

    def identity(self) -> Mapping[str, object]:
        """Return what two runs of one study must agree in, in plain values."""
        limits = {name: str(getattr(self.budget, name)) for name in ("macs", "params", "acts")}
        found: dict[str, object] = {"objective": [self.kind, self.reward_exponent], "budget": limits}
        if self.kind == "reward":
            found["reward_target"] = self.reward_target
        if self.cost != "macs":
            found["cost"] = self.cost
        if self.latency_table is not None:
            found["latency"] = {"max_ms": str(self.max_latency_ms), "conditions": self.latency_table.identity()}
        return found
