"""What is known of a point before its candidate is trained: its cost, and whether it may be proposed."""

from __future__ import annotations

from typing import Generic

from optuna.distributions import CategoricalDistribution

from scalesearch.arch import Cost
from scalesearch.search.problem import C, Params, Problem


class Knowledge(Generic[C]):
    """Answers a sampler's questions about points.

    Args:
        problem: What is searched.
    """

    def __init__(self, problem: Problem[C]) -> None:
        self._problem, self._objectives = problem, problem.objectives
        self._last: tuple[Params, C, Cost] | None = None
        self.canonical = problem.space.canonical_values()
        self.distributions = {
            name: CategoricalDistribution(choices) for name, choices in problem.space.parameters.items()
        }

    @property
    def has_cost(self) -> bool:
        """Say whether ``cost`` can be asked."""
        return self._objectives.knows_cost

    def cost(self, params: Params) -> float:
        """Return a point's cost in the unit the study is told."""
        return self._objectives.cost_of(*self._decode(params))

    def allows(self, params: Params) -> bool:
        """Say whether a point's candidate is within every limit and can be scored."""
        arch, cost = self._decode(params)
        return all(value <= 0 for value in self._excess(arch, cost).values())

    def excess(self, arch: C) -> dict[str, float]:
        """Return by how much each limit is exceeded; a candidate that cannot be scored exceeds ``score`` by 1."""
        return self._excess(arch, self._problem.cost(arch))

    def _excess(self, arch: C, cost: Cost) -> dict[str, float]:
        limits = self._objectives.excess(arch, cost)
        return {**limits, "score": 1.0} if self._problem.lacks(arch) else limits

    def _decode(self, params: Params) -> tuple[C, Cost]:
        """Return a point's candidate; the sampler asks for its cost and its limits one after the other."""
        if self._last is None or self._last[0] != params:
            arch = self._problem.space.decode(params)
            self._last = dict(params), arch, self._problem.cost(arch)
        return self._last[1], self._last[2]
