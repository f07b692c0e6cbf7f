"""The neck: cells that run a ``FusionGraph``, whichever it is, over the levels of a backbone.

A node brings its inputs to its own level, fuses them, and passes the sum through an activation and a separable
convolution with BatchNorm, in this order. In the first cell each edge from a backbone's map has a projection of its
own, so a map that enters two nodes is projected twice. Paper: Tan, Pang & Le 2020 (arXiv 1911.09070), section 3;
parameters are named as in effdet's ``EfficientDet.fpn``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from scalesearch.detection.arch.fusion import FusionGraph, FusionNode
from scalesearch.detection.arch.spec import DetectorSpec, Fusion
from scalesearch.detection.nn.layers import Halve, Resample, project, separable_conv
from scalesearch.nn.layers import LayerStyle

FUSION_EPS = 1e-4
"""Added to the sum that ``fast`` divides by (section 3.3)."""


def fusion_weights(raw: torch.Tensor, fusion: Fusion) -> torch.Tensor:
    """Return what a node's inputs are multiplied by, from its learned weights.

    ``softmax`` gives a softmax, ``fast`` gives ``relu(w) / (sum of relu(w) + 1e-4)``, ``sum`` gives ones.

    Example:
        >>> fusion_weights(torch.tensor([1.0, -2.0]), "fast")
        tensor([0.9999, 0.0000])
    """
    if fusion == "softmax":
        return raw.softmax(0)
    if fusion == "fast":
        positive = raw.relu()
        return positive / (positive.sum() + FUSION_EPS)
    return torch.ones_like(raw)


class Combine(nn.Module):
    """Fuse the inputs of one node.

    Args:
        spec: The detector.
        graph: One cell of its neck.
        node: The node of the graph.
        channels: Of all features of the cell.
        style: Padding and BatchNorm.
    """

    def __init__(
        self, spec: DetectorSpec, graph: FusionGraph, node: FusionNode, channels: Sequence[int], style: LayerStyle
    ) -> None:
        super().__init__()
        self.fusion = spec.fusion
        steps = {source: graph.feature_levels[source] - node.level for source in node.inputs}
        self.own = next(source for source in node.inputs if steps[source] == 0)
        self.resample = nn.ModuleDict()
        for source, step in steps.items():
            resample = Resample(channels[source], spec.neck_channels, step, style, bias=spec.redundant_bias)
            self.resample[str(source)] = resample
        if spec.fusion != "sum":
            self.edge_weights = nn.Parameter(torch.ones(len(node.inputs)))

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map a cell's features so far to one new (N, channels, H, W), the size of the node's own level."""
        size = features[self.own].shape[-2:]
        maps = [resample(features[int(source)], size) for source, resample in self.resample.items()]
        if self.fusion != "sum":
            weights = fusion_weights(self.edge_weights, self.fusion)
            maps = [weight * x for weight, x in zip(weights, maps, strict=True)]
        # A new tensor even of one input: the activation that follows may work in place.
        out: torch.Tensor = maps[0] + maps[1] if len(maps) > 1 else maps[0].clone()
        for x in maps[2:]:
            out = out + x
        return out


class Node(nn.Module):
    """Fusion, activation, separable convolution, BatchNorm."""

    def __init__(self, combine: Combine, channels: int, style: LayerStyle, *, bias: bool) -> None:
        super().__init__()
        self.combine = combine
        conv = separable_conv(channels, channels, style, bias=bias, norm=True)
        self.after_combine = nn.Sequential(OrderedDict(act=style.act(), conv=conv))

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:  # noqa: D102
        out: torch.Tensor = self.after_combine(self.combine(features))
        return out


class Cell(nn.Module):
    """One run of the graph: one map a level in, one map a level out, finest first."""

    def __init__(self, spec: DetectorSpec, in_channels: Sequence[int], style: LayerStyle) -> None:
        super().__init__()
        graph = spec.graph
        channels = [*in_channels, *(spec.neck_channels for _ in graph.nodes)]
        self.outputs = graph.outputs
        self.fnode = nn.ModuleList(
            Node(Combine(spec, graph, node, channels, style), spec.neck_channels, style, bias=spec.redundant_bias)
            for node in graph.nodes
        )

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:  # noqa: D102
        features = list(features)
        for node in self.fnode:
            features.append(node(features))
        return [features[position] for position in self.outputs]


class Neck(nn.Module):
    """All cells, after the levels that the backbone lacks are made.

    Args:
        spec: The detector.
        style: Padding, BatchNorm and activation.
    """

    def __init__(self, spec: DetectorSpec, style: LayerStyle) -> None:
        super().__init__()
        self.resample = nn.ModuleDict()
        channels = spec.input_channels
        for index in range(len(spec.features), len(spec.levels)):
            conv = project(channels[index - 1], spec.neck_channels, style, bias=spec.redundant_bias)
            self.resample[str(index)] = nn.Sequential(OrderedDict(conv=conv, down=Halve(style.padding)))
        same = (spec.neck_channels,) * len(spec.levels)
        self.cell = nn.Sequential(*(Cell(spec, same if index else channels, style) for index in range(spec.neck_cells)))

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Map the backbone's maps, finest first, to one (N, neck_channels, H, W) a level of the detector."""
        features = list(features)
        for pool in self.resample.values():
            features.append(pool(features[-1]))
        out: list[torch.Tensor] = self.cell(features)
        return out
