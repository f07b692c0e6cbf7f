"""Which detections of a picture are right, which are false alarms, and which boxes were missed, as COCO matches them.

Within a class, best score first, each detection takes the free box that it overlaps most, if by ``iou`` or more. One
that finds none but lies on a crowd by that share of its own area counts neither way. The rules and their order are
pycocotools' at a single overlap, with all sizes of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from scalesearch.detection.boxes.decoding import Detections
from scalesearch.detection.data.sample import BoxSource, BoxTruth

LEAST_IOU = 0.5
LEAST_SCORE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What became of one picture's detections and boxes.

    Attributes:
        found: Detections of a box of their class, best first.
        false_alarms: Detections of nothing, of the wrong class, or of a box that a better one has found.
        missed_xyxy: Boxes that no detection found, (M, 4); crowds are not among them.
        missed_labels: Their classes, (M,).
    """

    found: Detections
    false_alarms: Detections
    missed_xyxy: Tensor
    missed_labels: Tensor

    @property
    def num_mistakes(self) -> int:
        """Boxes missed plus false alarms."""
        return len(self.missed_labels) + len(self.false_alarms.labels)


def sort_detections(
    detections: Detections, truth: BoxTruth, *, least_score: float = LEAST_SCORE, iou: float = LEAST_IOU
) -> Outcomes:
    """Return what became of each detection and each box.

    Args:
        detections: Of one picture, in any order.
        truth: The picture's boxes, in the same pixels.
        least_score: Below, a detection is none.
        iou: Overlap from which a detection has found a box.
    """
    order = detections.scores.argsort(descending=True, stable=True)
    order = order[detections.scores[order] >= least_score]
    boxes, scores, labels = (part[order].cpu() for part in detections)
    takers, on_crowd = _match(boxes, labels, truth, iou)
    is_found = takers >= 0
    is_missed = ~truth.is_crowd
    is_missed[takers[is_found]] = False
    is_alarm = ~is_found & ~on_crowd
    return Outcomes(
        found=Detections(boxes[is_found], scores[is_found], labels[is_found]),
        false_alarms=Detections(boxes[is_alarm], scores[is_alarm], labels[is_alarm]),
        missed_xyxy=truth.boxes_xyxy[is_missed],
        missed_labels=truth.labels[is_missed],
    )


def rank_pictures(
    detections: Sequence[Detections],
    source: BoxSource,
    *,
    least_score: float = LEAST_SCORE,
    iou: float = LEAST_IOU,
) -> list[tuple[int, Outcomes]]:
    """Return every picture of a split with its outcomes, the one with most mistakes first.

    Args:
        detections: Of each picture of ``source``, in its order, as ``detect`` gives them.
        source: The split; no picture is decoded.
        least_score: As in ``sort_detections``.
        iou: As in ``sort_detections``.
    """
    assert len(detections) == len(source), "one list of detections for each picture"
    sorted_out = [
        (index, sort_detections(found, source.read_truth(index), least_score=least_score, iou=iou))
        for index, found in enumerate(detections)
    ]
    return sorted(sorted_out, key=lambda entry: -entry[1].num_mistakes)


def _match(boxes: Tensor, labels: Tensor, truth: BoxTruth, iou: float) -> tuple[Tensor, Tensor]:
    """Return which box each detection has found, or -1, and whether it lies on a crowd; best detection first."""
    same_class = labels[:, None] == truth.labels[None, :]
    overlaps = torch.where(truth.is_crowd, _covered_share(boxes, truth.boxes_xyxy), _overlap(boxes, truth.boxes_xyxy))
    enough = same_class & (overlaps >= min(iou, 1 - 1e-10))
    on_crowd = (enough & truth.is_crowd).any(dim=1)
    takers = torch.full((len(boxes),), -1)
    is_free = ~truth.is_crowd
    for row in range(len(boxes)):
        open_to_it = enough[row] & is_free
        if open_to_it.any():
            # of equal overlaps the last one, as pycocotools takes it
            best = overlaps[row].where(open_to_it, torch.tensor(-1.0, dtype=overlaps.dtype))
            takers[row] = len(best) - 1 - int(best.flip(0).argmax())
            is_free[takers[row]] = False
    return takers, on_crowd & (takers < 0)


def _overlap(boxes: Tensor, others: Tensor) -> Tensor:
    # in 8 bytes, as pycocotools: an overlap of exactly one half must not depend on rounding
    result: Tensor = box_iou(boxes.double(), others.double())
    return result


def _covered_share(boxes: Tensor, crowds: Tensor) -> Tensor:
    """Return how much of each box's own area (N,) lies on each crowd (M,), as (N, M)."""
    boxes, crowds = boxes.double()[:, None], crowds.double()[None]
    sides = (torch.minimum(boxes[..., 2:], crowds[..., 2:]) - torch.maximum(boxes[..., :2], crowds[..., :2])).clamp(
        min=0
    )
    return sides.prod(dim=-1) / (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
