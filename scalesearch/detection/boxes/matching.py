"""Which anchor answers for which box: by overlap, and every box has at least one.

As RetinaNet (arXiv 1708.02002, section 4) with one threshold for positives and negatives, as EfficientDet was trained.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

BACKGROUND = -1

MATCH_IOU = 0.5
"""Overlap from which an anchor is a box's."""


class Matches(NamedTuple):
    """What each anchor of an image should say.

    Attributes:
        labels: Class of the box it answers for, int64 (A,); ``BACKGROUND`` where it answers for none.
        boxes_xyxy: That box, (A, 4); anything where there is none.
    """

    labels: Tensor
    boxes_xyxy: Tensor


def match_anchors(anchors: Tensor, boxes_xyxy: Tensor, labels: Tensor, least_iou: float = MATCH_IOU) -> Matches:
    """Give each anchor the box that it overlaps most, if by ``least_iou``; each box gets its best anchor in any case.

    Args:
        anchors: (A, 4) corners.
        boxes_xyxy: (N, 4) corners; N may be 0.
        labels: (N,) classes.
        least_iou: Intersection over union, in (0, 1].
    """
    if not len(boxes_xyxy):
        return Matches(labels.new_full((len(anchors),), BACKGROUND), torch.zeros_like(anchors))
    overlaps = box_iou(boxes_xyxy, anchors)
    best, owner = overlaps.max(dim=0)
    closest = overlaps.max(dim=1)
    # of boxes that share their best anchor the one that overlaps it most comes last, and stays
    order = closest.values.argsort()
    owner[closest.indices[order]] = order
    best[closest.indices] = 1.0
    found = torch.where(best >= least_iou, labels[owner], BACKGROUND)
    return Matches(found, boxes_xyxy[owner])
