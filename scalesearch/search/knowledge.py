"""What is known of a point before its network is trained: its cost, and whether it may be proposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
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
        self.canonical = space.canonical_values()
        self.distributions = {name: CategoricalDistribution(choices) for name, choices in space.parameters.items()}

    @property
    def has_cost(self) -> bool:
        """Say whether ``cost`` can be asked."""
        return self._objectives.knows_cost

    def cost(self, params: Params) -> float:
        """Return a point's cost in the unit the study is told."""
        arch = self._space.decode(params)
        return self._objectives.cost_of(arch, network_cost(arch, num_classes=self._num_classes))

    def allows(self, params: Params) -> bool:
        """Say whether a point's network is within every limit and can be scored."""
        arch = self._space.decode(params)
        excess = self.excess(arch)
        return all(value <= 0 for value in excess.values())

    def excess(self, arch: ArchSpec) -> dict[str, float]:
        """Return by how much each limit is exceeded; a network that cannot be scored exceeds ``score`` by 1."""
        limits = self._objectives.excess(arch, network_cost(arch, num_classes=self._num_classes))
        return {**limits, "score": 1.0} if self._lacks(arch) else limits
