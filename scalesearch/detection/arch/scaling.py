"""Compound scaling of a detector: one phi for backbone, neck, heads and image.

Tan, Pang & Le 2020, EfficientDet (arXiv 1911.09070), section 4.2: neck width ``64 * 1.35^phi`` and neck depth ``3 +
phi`` (equation 1), head depth ``3 + floor(phi / 3)`` (equation 2), image size ``512 + 128 phi`` (equation 3). Here 64,
3, 3 and 512 are the base detector's own values. The image grows by a quarter of the base's at each step, which from 512
is the paper's 128 pixels: a small base must not double at once. Nor need sizes be multiples of 128, as the paper asks.

Neck channels are rounded as channels are everywhere here, to the nearest multiple of 8; the paper does not say how.
From D0 that gives the released widths but for three: D2 has 112 (here 120), D4 224 (here 216), and D7 is D6 at a larger
image, 384 (here 520). The released cells stay one behind the formula from D5 on, D5's and D7's images are larger than
it says (1280 for 1152, 1536 for 1408). Those rows are data, in ``published.py``.
"""

from __future__ import annotations

import math
from dataclasses import replace

from scalesearch.arch.scaling import ScalingRule, round_channels, round_depth, scale_arch
from scalesearch.arch.spec import ArchSpec
from scalesearch.detection.arch.spec import DetectorSpec

WIDTH_GROWTH = 1.35
"""Of the neck's channels with each step: the best of the six that the paper tried, below its equation 1."""

_IMAGE_GROWTH = 128 / 512
_STEPS_A_HEAD_LAYER = 3


def scale_detector(base: DetectorSpec, phi: float, backbone: ArchSpec | ScalingRule) -> DetectorSpec:
    """Return the detector ``phi`` steps up (or, with a negative phi, down) from ``base``.

    Depths are whole and at least 1: cells are rounded to the nearest number, head layers down. Phi 0 is the base
    itself where the backbone is its own or a rule.

    Args:
        base: The detector at phi 0.
        phi: The compound exponent.
        backbone: The scaled detector's backbone, or the rule by which the base's own is scaled with the same phi.

    Raises:
        ArchError: The backbone has no stage at the base's finest level.

    Example:
        >>> from scalesearch.arch.published import published_arch
        >>> from scalesearch.detection.arch.published import published_detector
        >>> d1 = scale_detector(published_detector("efficientdet-d0"), 1, published_arch("efficientnet-b1"))
        >>> d1 == published_detector("efficientdet-d1")
        True
    """
    if isinstance(backbone, ScalingRule):
        backbone = scale_arch(base.backbone, backbone.factors, phi, rounding=backbone.rounding)
    return replace(
        base,
        backbone=backbone,
        neck_channels=base.neck_channels if phi == 0 else round_channels(base.neck_channels * WIDTH_GROWTH**phi),
        neck_cells=round_depth(base.neck_cells + phi, "round"),
        head_depth=round_depth(base.head_depth + phi / _STEPS_A_HEAD_LAYER, "floor"),
        image_size=max(1, math.floor(base.image_size * (1 + _IMAGE_GROWTH * phi) + 0.5)),
    )
