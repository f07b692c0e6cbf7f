"""The three necks against the figure of the paper, at any levels, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.detection.arch.fusion import NECKS, FusionGraph, FusionNode, fusion_graph
from scalesearch.errors import ArchError


def edges(graph: FusionGraph) -> set[tuple[str, str]]:
    """Return each edge by the names that the paper gives to its ends: P4_in, P4_td where a level has two nodes, P4."""
    names = [f"P{level}_in" for level in graph.levels]
    for position, node in enumerate(graph.nodes, start=graph.num_levels):
        names.append(f"P{node.level}" if position in graph.outputs else f"P{node.level}_td")
    return {
        (names[source], names[position])
        for position, node in enumerate(graph.nodes, start=graph.num_levels)
        for source in node.inputs
    }


def pairs(text: str) -> set[tuple[str, str]]:
    """Read ``P6_td: P6_in P7_in`` lines: what a feature is made of."""
    lines = (line.split(":") for line in text.strip().splitlines())
    return {(source, target.strip()) for target, sources in lines for source in sources.split()}


# arXiv 1911.09070, figure 2 (a), (b) and (d); P7_td and P3 of (b) are the nodes that (d) removes.
FIGURE_2 = {
    "fpn": """
        P7: P7_in
        P6: P6_in P7
        P5: P5_in P6
        P4: P4_in P5
        P3: P3_in P4
    """,
    "panet": """
        P7_td: P7_in
        P6_td: P6_in P7_td
        P5_td: P5_in P6_td
        P4_td: P4_in P5_td
        P3_td: P3_in P4_td
        P3: P3_td
        P4: P4_td P3
        P5: P5_td P4
        P6: P6_td P5
        P7: P7_td P6
    """,
    "bifpn": """
        P6_td: P6_in P7_in
        P5_td: P5_in P6_td
        P4_td: P4_in P5_td
        P3: P3_in P4_td
        P4: P4_in P4_td P3
        P5: P5_in P5_td P4
        P6: P6_in P6_td P5
        P7: P7_in P6
    """,
}


@pytest.mark.parametrize("name", NECKS)
def test_the_edges_are_those_of_the_papers_figure(name: str) -> None:
    assert edges(fusion_graph(name, 3, 7)) == pairs(FIGURE_2[name])


def test_an_eighth_level_moves_the_end_of_the_path_up() -> None:
    ends = {("P7_in", "P6_td"), ("P7_in", "P7"), ("P6", "P7")}
    more = "P6_td: P7_td\nP7_td: P7_in P8_in\nP7: P7_in P7_td P6\nP8: P8_in P7"
    assert edges(fusion_graph("bifpn", 3, 8)) == pairs(FIGURE_2["bifpn"]) - ends | pairs(more)


def test_panet_without_nodes_of_one_input_and_with_skips_is_bifpn() -> None:
    panet = fusion_graph("panet", 3, 7)
    single = {node for node in panet.nodes if len(node.inputs) == 1}
    assert sorted(node.level for node in single) == [3, 7]
    bifpn = fusion_graph("bifpn", 3, 7)
    assert len(bifpn.nodes) == len(panet.nodes) - len(single)
    assert [node.level for node in bifpn.nodes if len(node.inputs) == 3] == [4, 5, 6]


levels = st.tuples(st.integers(0, 9), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.sampled_from(NECKS), levels)
def test_a_cell_takes_every_level_and_gives_every_level(name: str, ends: tuple[int, int]) -> None:
    graph = fusion_graph(name, *ends)
    assert [graph.feature_levels[position] for position in graph.outputs] == list(graph.levels)
    assert min(graph.outputs) >= graph.num_levels
    used = {source for node in graph.nodes for source in node.inputs}
    assert used | set(graph.outputs) == set(range(len(graph.feature_levels)))


@given(st.sampled_from(["panet", "bifpn"]), levels)
def test_both_ways_bring_every_input_to_every_output(name: str, ends: tuple[int, int]) -> None:
    graph = fusion_graph(name, *ends)
    reached = [{position} for position in range(graph.num_levels)]
    for node in graph.nodes:
        reached.append(set().union(*(reached[source] for source in node.inputs)))
    assert all(reached[position] == set(range(graph.num_levels)) for position in graph.outputs)


@given(levels)
def test_the_order_of_nodes_and_inputs_is_that_of_the_released_models(ends: tuple[int, int]) -> None:
    config = pytest.importorskip("effdet.config.fpn_config")
    for name, released in [("bifpn", config.bifpn_config), ("panet", config.panfpn_config)]:
        nodes = [(node["feat_level"], tuple(node["inputs_offsets"])) for node in released(*ends).nodes]
        assert [(node.level, node.inputs) for node in fusion_graph(name, *ends).nodes] == nodes


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ([(3, (0, 1))], "each level must have a node, got none of level 4"),
        ([(5, (1,))], "feature 2: level must be in 3 .. 4, got 5"),
        ([(3, (0, 2))], "feature 2: inputs must be different earlier features, got (0, 2)"),
        ([(3, (0, 0))], "feature 2: inputs must be different earlier features, got (0, 0)"),
        (
            [(3, (1,))],
            "feature 2: inputs must be one of the node's own level and none more than a level away, got (1,)",
        ),
    ],
)
def test_a_graph_that_is_no_cell_is_refused(nodes: list[tuple[int, tuple[int, ...]]], sentence: str) -> None:
    with pytest.raises(ArchError, match=f"^{re.escape(sentence)}$"):
        FusionGraph(3, 4, tuple(FusionNode(*node) for node in nodes))


def test_an_edge_over_two_levels_is_refused() -> None:
    with pytest.raises(ArchError, match=r"feature 3: .* none more than a level away, got \(0, 2\)$"):
        FusionGraph(3, 5, (FusionNode(3, (0, 2)),))


@pytest.mark.parametrize("ends", [(3, 3), (4, 3), (-1, 3)])
def test_fewer_than_two_levels_are_refused(ends: tuple[int, int]) -> None:
    with pytest.raises(ArchError, match=f"levels must be 0 <= min_level < max_level, got {ends[0]} and {ends[1]}"):
        fusion_graph("bifpn", *ends)


def test_an_unknown_neck_is_refused() -> None:
    with pytest.raises(ArchError, match="neck must be one of fpn, panet, bifpn, got 'nasfpn'"):
        fusion_graph("nasfpn", 3, 7)  # type: ignore[arg-type]
