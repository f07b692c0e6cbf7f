"""From raw outputs to detections: the best scores, their boxes, and of boxes that overlap the best one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from scalesearch.detection.boxes.anchors import decode_boxes
from scalesearch.errors import ConfigError


class Detections(NamedTuple):
    """What was found in one image, best first: corners (D, 4) in its pixels, scores in [0, 1] (D,), classes (D,)."""

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(kw_only=True, slots=True)
class DecodingConfig:
    """What counts as a detection; the defaults are those COCO scoring is usually done with.

    Attributes:
        least_score: Below, a detection is not given.
        nms_iou: Overlap from which the worse of two detections of a class is dropped.
        max_candidates: Scores of an image that are looked at, the highest of all anchors and classes.
        max_detections: Of an image.
    """

    least_score: float = 0.001
    nms_iou: float = 0.5
    max_candidates: int = 5000
    max_detections: int = 100

    def __post_init__(self) -> None:
        for name in ("least_score", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"decoding.{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("max_candidates", "max_detections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"decoding.{name} must be at least 1, got {getattr(self, name)}")


@torch.no_grad()
def decode_detections(
    logits: Tensor, offsets: Tensor, anchors: Tensor, *, image_size: tuple[int, int], config: DecodingConfig
) -> list[Detections]:
    """Return the detections of each image.

    Args:
        logits: (N, A, num_classes) raw class outputs.
        offsets: (N, A, 4) raw box outputs.
        anchors: (A, 4) corners.
        image_size: Height and width that boxes are cut to.
        config: What counts.
    """
    return [
        _decode_image(scores, boxes, anchors, image_size, config)
        for scores, boxes in zip(logits.float().sigmoid(), offsets.float(), strict=True)
    ]


def _decode_image(
    scores: Tensor, offsets: Tensor, anchors: Tensor, image_size: tuple[int, int], config: DecodingConfig
) -> Detections:
    num_classes = scores.shape[1]
    best, places = scores.flatten().topk(min(config.max_candidates, scores.numel()))
    places, best = places[best >= config.least_score], best[best >= config.least_score]
    rows, labels = places.div(num_classes, rounding_mode="floor"), places % num_classes
    boxes = clip_boxes_to_image(decode_boxes(offsets[rows], anchors[rows]), image_size)
    has_area = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero().flatten()
    boxes, best, labels = boxes[has_area], best[has_area], labels[has_area]
    kept = batched_nms(boxes, best, labels, config.nms_iou)[: config.max_detections]
    return Detections(boxes[kept], best[kept], labels[kept])
