"""The heads: convolutions that all levels share, with a BatchNorm for each level.

The levels differ in their statistics and not in what the filters look for: RetinaNet's heads (Lin et al. 2017, arXiv
1708.02002) with separable convolutions, as in EfficientDet (arXiv 1911.09070), section 4.1. Parameters are named as in
effdet's ``EfficientDet.class_net`` and ``.box_net``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.nn.layers import separable_conv
from scalesearch.nn.layers import LayerStyle

PRIOR = 0.01
"""A fresh class head's score of every anchor: negatives must not drown the first steps (arXiv 1708.02002, 4.1)."""


class Head(nn.Module):
    """Predict ``num_outputs`` numbers for each anchor of each cell.

    Args:
        spec: The detector.
        num_outputs: Of one anchor: the classes, or a box's 4.
        style: Padding, BatchNorm and activation.
    """

    def __init__(self, spec: DetectorSpec, num_outputs: int, style: LayerStyle) -> None:
        super().__init__()
        channels, bias = spec.neck_channels, spec.redundant_bias
        self.conv_rep = nn.ModuleList(
            separable_conv(channels, channels, style, bias=bias, norm=False) for _ in range(spec.head_depth)
        )
        self.bn_rep = nn.ModuleList(
            nn.ModuleList(nn.Sequential(OrderedDict(bn=style.norm(channels))) for _ in spec.levels)
            for _ in range(spec.head_depth)
        )
        self.act = style.act()
        self.predict = separable_conv(channels, num_outputs * spec.num_anchors, style, bias=True, norm=False)

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Map one (N, neck_channels, H, W) a level to one (N, num_anchors * num_outputs, H, W) a level.

        Anchor by anchor: channel ``anchor * num_outputs + output``.
        """
        return [self._predict(x, level) for level, x in enumerate(features)]

    def _predict(self, x: torch.Tensor, level: int) -> torch.Tensor:
        for conv, norms in zip(self.conv_rep, self.bn_rep, strict=True):
            assert isinstance(norms, nn.ModuleList)
            x = self.act(norms[level](conv(x)))
        out: torch.Tensor = self.predict(x)
        return out


def init_prior(class_head: Head) -> None:
    """Set the class head's bias so that each score begins near ``PRIOR``."""
    bias = class_head.predict.get_parameter("conv_pw.bias")
    nn.init.constant_(bias, -math.log((1 - PRIOR) / PRIOR))
