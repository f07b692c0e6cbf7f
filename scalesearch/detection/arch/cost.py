"""What a detector costs, in closed form; the convention is that of ``scalesearch.arch.cost``.

``macs`` counts one multiply-add of a convolution as 1; biases, BatchNorm, activations, resampling and the fusion (its
weights are among ``params``) are not counted. ``acts`` counts the output elements of all convolutions. All are for one
image of the spec's size. The released table's "FLOPs" are 0.6 to 1.9 percent above these macs, but for D5, whose 130
billion are 3.1 percent below them.

Each function is the twin of a module of this folder; a test holds the two together on random detectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scalesearch.arch.cost import Cost, stage_costs
from scalesearch.detection.arch.spec import DetectorSpec


class DetectorCost(NamedTuple):
    """Cost by part."""

    backbone: Cost
    neck: Cost
    class_head: Cost
    box_head: Cost

    @property
    def total(self) -> Cost:
        """Cost of the whole detector."""
        return _sum(self)


def detector_cost(spec: DetectorSpec) -> DetectorCost:
    """Return the cost of a detector for one image of its size, by part.

    Example:
        >>> from scalesearch.detection.arch.published import published_detector
        >>> detector_cost(published_detector("efficientdet-d0")).total.params
        3880067
    """
    return DetectorCost(_backbone(spec), _neck(spec), _head(spec, spec.num_classes), _head(spec, 4))


def _backbone(spec: DetectorSpec) -> Cost:
    rows = stage_costs(spec.used_backbone, spec.image_size)
    return _sum(cost for name, cost in rows if name == "stem" or name.startswith("stage"))


def _neck(spec: DetectorSpec) -> Cost:
    """The levels that are made, the first cell, and the others, which are alike."""
    channels = (spec.neck_channels,) * len(spec.levels)
    first, more = _cell(spec, spec.input_channels), _cell(spec, channels)
    last = len(spec.features) - 1  # only the first pooled level can need a projection
    pooled = [_projection(spec, spec.input_channels[last], spec.sizes[last])] if last + 1 < len(spec.levels) else []
    return _sum([*pooled, first, *[more] * (spec.neck_cells - 1)])


def _cell(spec: DetectorSpec, in_channels: Sequence[int]) -> Cost:
    graph = spec.graph
    sizes = [spec.sizes[level - spec.min_level] for level in graph.feature_levels]
    costs = []
    for position, node in enumerate(graph.nodes, start=graph.num_levels):
        sources = [source for source in node.inputs if source < graph.num_levels]
        # the projection works on the input's own size, before the resampling
        costs += [_projection(spec, in_channels[source], sizes[source]) for source in sources]
        if spec.fusion != "sum":
            costs.append(Cost(len(node.inputs), 0, 0))
        costs.append(_separable(spec.neck_channels, spec.neck_channels, sizes[position], spec.redundant_bias))
        costs.append(Cost(2 * spec.neck_channels, 0, 0))
    return _sum(costs)


def _head(spec: DetectorSpec, num_outputs: int) -> Cost:
    """Filters count once, their work and a BatchNorm at every level."""
    channels, outputs = spec.neck_channels, num_outputs * spec.num_anchors
    layer = _shared(_separable(channels, channels, size, spec.redundant_bias) for size in spec.sizes)
    norms = Cost(2 * channels * len(spec.levels), 0, 0)
    predict = _shared(_separable(channels, outputs, size, bias=True) for size in spec.sizes)
    return _sum([*[layer, norms] * spec.head_depth, predict])


def _projection(spec: DetectorSpec, in_channels: int, size: int) -> Cost:
    """A 1x1 convolution and its BatchNorm; nothing where the channels agree already."""
    channels = spec.neck_channels
    if in_channels == channels:
        return Cost(0, 0, 0)
    weights, area = in_channels * channels, size * size
    return Cost(weights + channels * spec.redundant_bias + 2 * channels, weights * area, channels * area)


def _separable(in_channels: int, out_channels: int, size: int, bias: bool) -> Cost:
    """A 3x3 depthwise convolution and a 1x1 convolution."""
    weights, area = in_channels * (9 + out_channels), size * size
    return Cost(weights + out_channels * bias, weights * area, (in_channels + out_channels) * area)


def _shared(costs: Iterable[Cost]) -> Cost:
    """The same layer on several maps: parameters count once."""
    params, macs, acts = zip(*costs, strict=True)
    return Cost(params[0], sum(macs), sum(acts))


def _sum(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*costs, strict=True)))
