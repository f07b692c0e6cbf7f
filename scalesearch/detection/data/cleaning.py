"""From the boxes that an annotation states to boxes that lie in their picture; what is wrong is counted, by reason."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from scalesearch.detection.data.sample import BoxTruth

NO_BOX = "annotation without four finite numbers"
NO_AREA = "box without area"
OUTSIDE = "box outside its picture"
UNKNOWN_IMAGE = "annotation of an unknown image"
UNKNOWN_CATEGORY = "annotation of an unknown category"
NO_ANNOTATION = "picture without an annotation file"


class StatedBox(NamedTuple):
    """A box as an annotation states it: two corners in pixels; ``area`` is None where none is stated."""

    corners: tuple[float, float, float, float]
    label: int
    is_crowd: bool
    area: float | None


class UnusableBoxError(Exception):
    """A stated box that is left out; the reason is one of this file's, for ``Tally`` to count."""


@dataclass(slots=True)
class Tally:
    """What was left out of one split, by reason, and how many boxes were cut at their picture's edge."""

    dropped: Counter[str] = field(default_factory=Counter)
    clipped: int = 0

    def drop(self, reason: UnusableBoxError | str, times: int = 1) -> None:
        """Count a loss; none is no reason."""
        if times:
            self.dropped[str(reason)] += times

    def clean(self, stated: StatedBox, size: tuple[int, int]) -> StatedBox:
        """Return the part of a box that lies in a picture of this height and width.

        Raises:
            UnusableBoxError: There is none.
        """
        # Judged as they will be stored: a sliver of a box may have no area in 4 bytes.
        x1, y1, x2, y2 = array("f", stated.corners)
        if not all(math.isfinite(corner) for corner in (x1, y1, x2, y2)):
            raise UnusableBoxError(NO_BOX)
        if x2 <= x1 or y2 <= y1:
            raise UnusableBoxError(NO_AREA)
        height, width = size
        inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if inside[2] <= inside[0] or inside[3] <= inside[1]:
            raise UnusableBoxError(OUTSIDE)
        if inside != (x1, y1, x2, y2):
            self.clipped += 1
        return stated._replace(corners=inside)


def build_truth(image_id: int, size: tuple[int, int], boxes: Sequence[StatedBox]) -> BoxTruth:
    """Return the boxes of one picture as tensors; a box without a stated area gets its own."""
    corners = torch.tensor([box.corners for box in boxes], dtype=torch.float32).view(-1, 4)
    areas = [_area(box) if box.area is None else box.area for box in boxes]
    return BoxTruth(
        image_id=image_id,
        original_size=size,
        boxes_xyxy=corners,
        labels=torch.tensor([box.label for box in boxes], dtype=torch.int64),
        is_crowd=torch.tensor([box.is_crowd for box in boxes], dtype=torch.bool),
        areas=torch.tensor(areas, dtype=torch.float32),
    )


def _area(box: StatedBox) -> float:
    x1, y1, x2, y2 = box.corners
    return (x2 - x1) * (y2 - y1)
