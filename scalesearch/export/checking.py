"""Whether what was written gives the outputs of the network it was written from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from scalesearch.errors import ExportError
from scalesearch.export.graph import Graph
from scalesearch.export.models import BestBoxes

TOLERANCE = 1e-4
"""Largest difference of an output, over the largest value of that output where it is above 1."""

Run = Callable[[Tensor], Sequence[Tensor]]


def largest_difference(graph: Graph, run: Run, what: str) -> float:
    """Return by how much the outputs of ``run`` differ from those of the graph's module, on random images.

    Differences are over the largest value of an output where that is above 1: float32 has no more digits.

    Raises:
        ExportError: By more than ``TOLERANCE``, or an output has another shape, or is not finite.
    """
    worst = 0.0
    for size in graph.batch_sizes:
        images = graph.probe(size)
        given = [output.float() for output in run(images)]
        if isinstance(graph.module, BestBoxes):
            worst = max(worst, _difference_of_boxes(graph.module, images, given, what))
            continue
        for name, wanted, got in zip(graph.outputs, graph.run(images), given, strict=True):
            if got.shape != wanted.shape:
                raise ExportError(f"{what}: {name} must have the shape {_sides(wanted)}, got {_sides(got)}")
            worst = max(worst, _difference(wanted, got))
    if not worst <= TOLERANCE:
        raise ExportError(f"{what}: outputs must be those of the network within {TOLERANCE:g}, got {worst:.2g}")
    return worst


def _difference(wanted: Tensor, got: Tensor) -> float:
    if wanted.numel() == 0:
        return 0.0
    return _or_inf((wanted - got).abs().max() / wanted.abs().max().clamp(min=1.0))


def _or_inf(difference: Tensor) -> float:
    """Return a difference as a number; NaN, which is larger than nothing, as inf."""
    return float(difference.nan_to_num(nan=math.inf))


def _difference_of_boxes(module: BestBoxes, images: Tensor, given: Sequence[Tensor], what: str) -> float:
    """Return by how much detections differ from the boxes and scores that the detector gives for their anchors.

    Which of two boxes with nearly the same score comes first is decided by the last bit, so detections are not compared
    one by one. Each must be a box that the detector gives; none may overlap a better one of its class; and what is
    missing must have too low a score, or be suppressed.
    """
    config = module.config
    with torch.no_grad():
        all_boxes, all_scores = (each[0] for each in module.model(images))
    boxes, scores, labels = given[0], given[1], given[2].long()
    scale = float(module.model.image_size)
    worst, near = 0.0, TOLERANCE
    for box, score, label in zip(boxes, scores, labels, strict=True):
        apart = (all_boxes - box).abs().amax(1) / scale
        worst = max(worst, _or_inf(torch.maximum(apart, (all_scores[:, label] - score).abs()).min()))
    if worst > TOLERANCE:
        return worst
    overlaps = box_iou(boxes, boxes).triu(diagonal=1) * (labels[:, None] == labels)
    if (overlaps > config.nms_iou + near).any() or (scores.diff() > near).any() or (scores < config.least_score).any():
        raise ExportError(f"{what}: a detection is given that suppression, order or least_score leave out")
    if len(scores) < config.max_detections and all_scores.numel() <= config.max_candidates:
        _check_complete(module, (all_boxes, all_scores), (boxes, scores, labels), what)
    return worst


def _check_complete(
    module: BestBoxes, every: tuple[Tensor, Tensor], given: tuple[Tensor, Tensor, Tensor], what: str
) -> None:
    """Refuse detections from which a box is missing that nothing suppresses."""
    (all_boxes, all_scores), (boxes, scores, labels), near = every, given, TOLERANCE
    sides = all_boxes[:, 2:] - all_boxes[:, :2]
    for label in range(module.model.num_classes):
        wanted = (all_scores[:, label] >= module.config.least_score + near) & (sides > near).all(1)
        mine = labels == label
        overlaps = box_iou(all_boxes[wanted], boxes[mine])
        better = scores[mine] >= all_scores[wanted, label][:, None] - near
        if not ((overlaps >= module.config.nms_iou - near) & better).any(1).all():
            raise ExportError(f"{what}: a box is missing that no better one suppresses")


def _sides(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
