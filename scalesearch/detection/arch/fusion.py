"""The neck as data: which feature map is made of which, as a graph that any neck module can run.

A graph is one cell of a neck. It takes one feature map a level and gives one a level, so cells can be stacked. Level
``l`` has ``1 / 2^l`` of the image's resolution; the papers call its maps ``P<l>``.

Papers: FPN, Lin et al. 2017 (arXiv 1612.03144); PANet, Liu et al. 2018 (arXiv 1803.01534); BiFPN, Tan, Pang & Le 2020
(arXiv 1911.09070), figure 2 (a), (b) and (d) for the three side by side. How the inputs of a node are weighed is not
said here: it is ``DetectorSpec.fusion``, and in FPN and PANet it is a plain sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from scalesearch.errors import ArchError

NeckName = Literal["fpn", "panet", "bifpn"]
NECKS: tuple[str, ...] = get_args(NeckName)


@dataclass(frozen=True, slots=True)
class FusionNode:
    """A feature map that is made of others.

    Attributes:
        level: Its own.
        inputs: Positions of what it fuses, in the order of the fusion weights: 0 is the cell's finest input; the nodes
            follow the inputs.
    """

    level: int
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FusionGraph:
    """One cell of a neck.

    Attributes:
        min_level: The finest level.
        max_level: The coarsest level, above ``min_level``.
        nodes: In the order in which they are computed; the last one of each level is that level's output.

    Raises:
        ArchError: A level has no node, or a node's level or input is not allowed: it fuses earlier maps, one of its
            own level and none more than a level away, so that resampling is by a factor of 2 and sizes are known.

    Example:
        >>> graph = FusionGraph(3, 4, (FusionNode(3, (0, 1)), FusionNode(4, (1, 2))))
        >>> graph.feature_levels, graph.outputs
        ((3, 4, 3, 4), (2, 3))
    """

    min_level: int
    max_level: int
    nodes: tuple[FusionNode, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.min_level < self.max_level:
            raise ArchError(f"levels must be 0 <= min_level < max_level, got {self.min_level} and {self.max_level}")
        for position, node in enumerate(self.nodes, start=self.num_levels):
            self._check_node(position, node)
        missing = set(self.levels) - {node.level for node in self.nodes}
        if missing:
            raise ArchError(f"each level must have a node, got none of level {min(missing)}")

    def _check_node(self, position: int, node: FusionNode) -> None:
        if node.level not in self.levels:
            allowed = f"in {self.min_level} .. {self.max_level}"
            raise ArchError(f"feature {position}: level must be {allowed}, got {node.level}")
        if not all(0 <= source < position for source in node.inputs) or len(set(node.inputs)) < len(node.inputs):
            raise ArchError(f"feature {position}: inputs must be different earlier features, got {node.inputs}")
        steps = [self.feature_levels[source] - node.level for source in node.inputs]
        if 0 not in steps or any(abs(step) > 1 for step in steps):
            allowed = "one of the node's own level and none more than a level away"
            raise ArchError(f"feature {position}: inputs must be {allowed}, got {node.inputs}")

    @property
    def levels(self) -> range:
        """All levels, finest first."""
        return range(self.min_level, self.max_level + 1)

    @property
    def num_levels(self) -> int:
        """Feature maps that enter a cell, and that leave it."""
        return len(self.levels)

    @property
    def feature_levels(self) -> tuple[int, ...]:
        """The level of each feature: the inputs, then the nodes."""
        return (*self.levels, *(node.level for node in self.nodes))

    @property
    def outputs(self) -> tuple[int, ...]:
        """The position of each level's output, finest first."""
        last = {level: position for position, level in enumerate(self.feature_levels)}
        return tuple(last[level] for level in self.levels)


def fusion_graph(name: NeckName, min_level: int, max_level: int) -> FusionGraph:
    """Return one cell of a published neck over the levels from ``min_level`` to ``max_level``, both included.

    ``fpn`` is the top-down path. ``panet`` is a bottom-up path over it. ``bifpn`` is PANet without the nodes that have
    one input, and with an edge from the input to the output of each level between the ends.

    Raises:
        ArchError: The name is none of these, or there are not at least two levels.

    Example:
        >>> [(node.level, node.inputs) for node in fusion_graph("bifpn", 3, 5).nodes]
        [(4, (1, 2)), (3, (0, 3)), (4, (1, 3, 4)), (5, (2, 5))]
    """
    if name not in NECKS:
        raise ArchError(f"neck must be one of {', '.join(NECKS)}, got {name!r}")
    inputs = _INPUTS[name](max_level - min_level + 1)
    return FusionGraph(min_level, max_level, tuple(FusionNode(min_level + at, sources) for at, sources in inputs))


# Each function gives (level counted from the finest, inputs) for each node over n levels; features 0 .. n - 1 are the
# cell's inputs.
_Inputs = list[tuple[int, tuple[int, ...]]]


def _fpn(n: int) -> _Inputs:
    """Top-down: the node of level ``i`` is feature ``2n - 1 - i``."""
    return [(i, (i,) if i == n - 1 else (i, 2 * n - 2 - i)) for i in reversed(range(n))]


def _panet(n: int) -> _Inputs:
    """FPN, then bottom-up: the second node of level ``i`` is feature ``2n + i``."""
    return _fpn(n) + [(i, (2 * n - 1 - i,) if i == 0 else (2 * n - 1 - i, 2 * n + i - 1)) for i in range(n)]


def _bifpn(n: int) -> _Inputs:
    """Top-down, where level ``i`` is feature ``2n - 2 - i``; then bottom-up, where it is ``2n - 2 + i``.

    Both formulas also hold at the ends that have no node of their own: the top input is feature ``n - 1``, and the
    finest top-down node, ``2n - 2``, is already the output.
    """
    down: _Inputs = [(i, (i, 2 * n - 3 - i)) for i in reversed(range(n - 1))]
    up: _Inputs = [(i, (i, 2 * n - 2 - i, 2 * n - 3 + i)) for i in range(1, n - 1)]
    return [*down, *up, (n - 1, (n - 1, 3 * n - 4))]


_INPUTS: dict[NeckName, Callable[[int], _Inputs]] = {"fpn": _fpn, "panet": _panet, "bifpn": _bifpn}
