"""What is known of a point before its network is trained: its cost, and whether it may be proposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution

from scalesearch.arch import ArchSpec, Cost, SearchSpace, network_cost
from scalesearch.search.objectives import Objectives

Params = Mapping[str, Any]


class Knowledge:
    """Answers a sampler's questions about points.

    Args:
        space: The search space.
        objectives: The costs and their limits.
        num_classes: Outputs of the classifier.
        lacks: Whether a network cannot be scored at all.
    """

    def __init__(
        self, space: SearchSpace, objectives: Objectives, num_classes: int, lacks: Callable[[ArchSpec], bool]
    ) -> None:
        self._space, self._objectives, self._num_classes, self._lacks = space, objectives, num_classes, lacks
        self._last: tuple[Params, ArchSpec, Cost] | None = None
        self.canonical = space.canonical_values()
        self.distributions = {name: CategoricalDistribution(choices) for name, choices in space.parameters.items()}

    @property
    def has_cost(self) -> bool:
        """Say whether ``cost`` can be asked."""
        return self._objectives.knows_cost

    def cost(self, params: Params) -> float:
        """Return a point's cost in the unit the study is told."""
        return self._objectives.cost_of(*self._decode(params))

    def allows(self, params: Params) -> bool:
        """Say whether a point's network is within every limit and can be scored."""
        arch, cost = self._decode(params)
        return all(value <= 0 for value in self._excess(arch, cost).values())

    def excess(self, arch: ArchSpec) -> dict[str, float]:
        """Return by how much each limit is exceeded; a network that cannot be scored exceeds ``score`` by 1."""
        return self._excess(arch, network_cost(arch, num_classes=self._num_classes))

    def _excess(self, arch: ArchSpec, cost: Cost) -> dict[str, float]:
        limits = self._objectives.excess(arch, cost)
        return {**limits, "score": 1.0} if self._lacks(arch) else limits

    def _decode(self, params: Params) -> tuple[ArchSpec, Cost]:
        """Return a point's network; the sampler asks for its cost and its limits one after the other."""
        if self._last is None or self._last[0] != params:
            arch = self._space.decode(params)
            self._last = dict(params), arch, network_cost(arch, num_classes=self._num_classes)
        return self._last[1], self._last[2]
