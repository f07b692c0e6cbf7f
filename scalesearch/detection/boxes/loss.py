"""The loss of a detector: focal over classes, Huber or complete IoU over boxes.

Both are sums over anchors divided by the number of positive anchors of the batch, plus one (arXiv 1911.09070, section
5.1, and the released implementation's weights): focal loss with alpha 0.25 and gamma 1.5 (Lin et al. 2017, arXiv
1708.02002), Huber loss of the offsets with delta 0.1 times 50, or complete IoU (Zheng et al. 2020, arXiv 1911.08287).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import complete_box_iou_loss

from scalesearch.detection.boxes.anchors import decode_boxes, encode_boxes
from scalesearch.detection.boxes.focal import sum_focal_loss
from scalesearch.detection.boxes.matching import BACKGROUND, Matches

BOX_LOSSES = ("huber", "ciou")

_HUBER_DELTA = 0.1
_HUBER_WEIGHT = 50.0 / 4  # 50 of the mean over an offset's four numbers


class DetectionLoss(NamedTuple):
    """The two parts, scalars; their sum is what is minimised."""

    classes: Tensor
    boxes: Tensor

    @property
    def total(self) -> Tensor:
        """Both together."""
        return self.classes + self.boxes


def detection_loss(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    matches: Sequence[Matches],
    *,
    box_loss: str = "huber",
    alpha: float = 0.25,
    gamma: float = 1.5,
) -> DetectionLoss:
    """Return the loss of a batch.

    Args:
        logits: (N, A, num_classes) raw class outputs.
        offsets: (N, A, 4) raw box outputs.
        anchors: (A, 4) corners.
        matches: What the anchors of each image should say.
        box_loss: ``huber`` or ``ciou``.
        alpha: Weight of positives in the focal loss.
        gamma: By how much it looks away from what is easy.
    """
    labels = torch.stack([one.labels for one in matches])
    is_positive = labels != BACKGROUND
    scale = 1.0 / (is_positive.sum() + 1.0)
    image, anchor = is_positive.nonzero(as_tuple=True)
    classes = sum_focal_loss(logits, (image, anchor, labels[is_positive]), alpha=alpha, gamma=gamma) * scale
    boxes = torch.stack([one.boxes_xyxy for one in matches])[is_positive]
    own, found = anchors[anchor], offsets[is_positive]
    if box_loss == "ciou":
        return DetectionLoss(classes, complete_box_iou_loss(decode_boxes(found, own), boxes, reduction="sum") * scale)
    missed = F.huber_loss(found, encode_boxes(boxes, own), delta=_HUBER_DELTA, reduction="sum")
    return DetectionLoss(classes, missed * (_HUBER_WEIGHT * scale))
