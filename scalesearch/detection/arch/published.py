"""Published detectors, as data.

Table 1 of arXiv 1911.09070, with what only the released models say: D6, D7 and D7x sum without weights, D7 has larger
anchors, D7x (of the paper's second version) an eighth level. They are a table, not powers: no exponent gives D2's and
D4's channels or D5's cells, and D7 is D6 at a larger image.
"""

from __future__ import annotations

from typing import NamedTuple

from scalesearch.arch.published import look_up, published_arch
from scalesearch.detection.arch.spec import DetectorSpec, Fusion


class PublishedEfficientDet(NamedTuple):
    """One row of the released family; what it does not say is ``DetectorSpec``'s default."""

    backbone: str
    image_size: int
    neck_channels: int
    neck_cells: int
    head_depth: int
    fusion: Fusion = "fast"
    anchor_scale: float = 4.0
    max_level: int = 7


EFFICIENTDETS = {
    "efficientdet-d0": PublishedEfficientDet("efficientnet-b0", 512, 64, 3, 3),
    "efficientdet-d1": PublishedEfficientDet("efficientnet-b1", 640, 88, 4, 3),
    "efficientdet-d2": PublishedEfficientDet("efficientnet-b2", 768, 112, 5, 3),
    "efficientdet-d3": PublishedEfficientDet("efficientnet-b3", 896, 160, 6, 4),
    "efficientdet-d4": PublishedEfficientDet("efficientnet-b4", 1024, 224, 7, 4),
    "efficientdet-d5": PublishedEfficientDet("efficientnet-b5", 1280, 288, 7, 4),
    "efficientdet-d6": PublishedEfficientDet("efficientnet-b6", 1280, 384, 8, 5, "sum"),
    "efficientdet-d7": PublishedEfficientDet("efficientnet-b6", 1536, 384, 8, 5, "sum", 5.0),
    "efficientdet-d7x": PublishedEfficientDet("efficientnet-b7", 1536, 384, 8, 5, "sum", 4.0, 8),
}


def published_detector(name: str) -> DetectorSpec:
    """Return a published detector by name, ``efficientdet-d0`` .. ``efficientdet-d7x``, for COCO's 90 identifiers.

    Raises:
        ArchError: There is no such detector.

    Example:
        >>> published_detector("efficientdet-d4").neck_channels
        224
    """
    row = look_up(EFFICIENTDETS, name, "detectors")
    return DetectorSpec(**{**row._asdict(), "backbone": published_arch(row.backbone)})
