"""Fusion by hand, levels that are pooled, and the graph that a cell runs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from scalesearch.detection.arch.fusion import NECKS, FusionNode
from scalesearch.detection.arch.spec import FUSIONS, DetectorSpec
from scalesearch.detection.nn.neck import Cell, Combine, Neck, fusion_weights
from scalesearch.nn.layers import LayerStyle
from tests.detection.detectors import tiny_spec

STYLE = LayerStyle()


@pytest.mark.parametrize(
    ("fusion", "raw", "expected"),
    [
        ("sum", [3.0, -1.0], [1.0, 1.0]),
        # arXiv 1911.09070, section 3.3
        ("softmax", [0.0, math.log(3)], [0.25, 0.75]),
        ("fast", [3.0, 1.0], [3 / 4.0001, 1 / 4.0001]),
        ("fast", [2.0, -5.0, 6.0], [2 / 8.0001, 0.0, 6 / 8.0001]),
        ("fast", [-1.0, 0.0], [0.0, 0.0]),
        ("fast", [1.0], [1 / 1.0001]),
    ],
)
def test_weights_are_those_of_the_formula(fusion, raw, expected):
    assert fusion_weights(torch.tensor(raw), fusion).tolist() == pytest.approx(expected, abs=1e-7)


def combine(spec: DetectorSpec, node: FusionNode) -> Combine:
    return Combine(spec, spec.graph, node, [spec.neck_channels] * 9, STYLE)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_node_fuses_a_finer_its_own_and_a_coarser_map(fusion):
    spec = tiny_spec(fusion=fusion, neck_channels=1)
    node = combine(spec, FusionNode(4, (1, 2, 0)))
    weights = [1.0, 1.0, 1.0]
    if fusion != "sum":
        with torch.no_grad():
            node.edge_weights.copy_(torch.tensor([0.0, 1.0, 2.0]))
        powers = [math.exp(raw) for raw in (0, 1, 2)]
        softmax = [power / sum(powers) for power in powers]
        weights = softmax if fusion == "softmax" else [0.0, 1 / 3.0001, 2 / 3.0001]
    # level 3 falls from left to right, so that a window's first cell is its maximum; level 5 has one cell
    features = [-torch.arange(4.0).expand(1, 1, 4, 4), torch.tensor([[[[5.0, 7.0]]]]).expand(1, 1, 2, 2)]
    out = node([*features, torch.full((1, 1, 1, 1), 10.0)])
    expected = [weights[0] * own + weights[1] * 10 + weights[2] * finer for own, finer in [(5, 0), (7, -1)]]
    assert out[0, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_node_of_one_input_does_not_give_away_the_input_itself(fusion):
    # the activation after it works in place where it is ReLU
    node = combine(tiny_spec(fusion=fusion), FusionNode(3, (0,)))
    images = torch.randn(1, 16, 4, 4)
    before = images.clone()
    node([images]).zero_()
    assert torch.equal(images, before)


def test_only_weighed_fusion_has_weights_and_they_begin_equal():
    assert not hasattr(combine(tiny_spec(fusion="sum"), FusionNode(3, (0, 1))), "edge_weights")
    for fusion in ("softmax", "fast"):
        assert combine(tiny_spec(fusion=fusion), FusionNode(3, (0, 1))).edge_weights.tolist() == [1, 1]


@pytest.mark.parametrize("neck", NECKS)
def test_a_cell_without_convolutions_sums_along_every_path(neck):
    spec = tiny_spec(neck=neck, fusion="sum", neck_channels=1, max_level=5)
    cell = Cell(spec, (1, 1, 1), STYLE)
    for node in cell.fnode:
        node.after_combine = nn.Identity()
    # maps that are constant stay so under resampling: a level's output counts the paths that lead to it
    out = cell([torch.full((1, 1, 4 // 2**level, 4 // 2**level), 10.0**level) for level in range(3)])
    expected = {"fpn": [111, 110, 100], "panet": [111, 221, 321], "bifpn": [111, 231, 331]}[neck]
    assert [x.unique().item() for x in out] == expected


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_levels_beyond_the_backbone_are_pooled_one_from_the_other(padding):
    spec = tiny_spec(max_level=7)
    neck = Neck(spec, LayerStyle(padding=padding)).eval()
    assert [info.reduction for info in spec.features] == [8, 16, 32]
    assert list(neck.resample) == ["3", "4"]
    # only the first of them has channels to change
    assert {name.split(".")[0] for name, _ in neck.resample.named_parameters()} == {"3"}
    maps = [
        torch.randn(1, channels, side, side) for channels, side in zip(spec.input_channels, (9, 5, 3), strict=False)
    ]
    sizes = [tuple(x.shape) for x in neck(maps)]
    assert sizes == [(1, 16, side, side) for side in (9, 5, 3, 2, 1)]
    assert len(maps) == 3  # the caller's list is not lengthened


def test_each_edge_from_the_backbone_has_a_projection_of_its_own():
    spec = tiny_spec(neck_cells=2, neck_channels=12)
    cells = Neck(spec, STYLE).cell
    projections = [
        [
            (name.split(".")[1], name.split(".")[4])
            for name, _ in cell.named_parameters()
            if name.endswith("conv.conv.weight")
        ]
        for cell in cells
    ]
    # P5 and P4 top-down, P3, then P4 and P5 bottom-up; the second cell's inputs have the neck's channels
    assert projections == [[("1", "2"), ("2", "1"), ("3", "0"), ("4", "1"), ("5", "2")], []]
