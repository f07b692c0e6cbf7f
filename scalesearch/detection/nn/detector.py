"""A detector in torch from a ``DetectorSpec``: backbone, neck, class head, box head.

Parameters are named as in effdet 0.4.1's ``EfficientDet`` (the backbone's as in timm): the state dict of a
``tf_efficientdet_d*`` loads as it is into ``build_detector(published_detector(...), padding="same",
backbone_bn_eps=1e-3)``, that of an ``efficientdet_d*`` into one with ``redundant_bias=False`` and the defaults here.

Any image size runs, square or not, not only the spec's: each level has ``ceil(size / 2^level)`` cells a side. effdet
builds for one size; at that size the outputs are the same.
"""

from __future__ import annotations

import torch
from torch import nn

from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.nn.heads import Head, init_prior
from scalesearch.detection.nn.layers import init_weights
from scalesearch.detection.nn.neck import Neck
from scalesearch.nn.layers import LayerStyle, Padding
from scalesearch.nn.network import Backbone, build_backbone

BN_EPS = 1e-3
"""Of neck and heads, in every released model."""


class Detector(nn.Module):
    """Backbone, neck and heads.

    Attributes:
        spec: What it was built from.
    """

    def __init__(self, spec: DetectorSpec, backbone: Backbone, style: LayerStyle) -> None:
        super().__init__()
        self.spec = spec
        self.reductions = tuple(info.reduction for info in spec.features)
        self.backbone = backbone
        self.fpn = Neck(spec, style)
        self.class_net = Head(spec, spec.num_classes, style)
        self.box_net = Head(spec, 4, style)

    def forward(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Map images (N, 3, H, W) to raw class and box outputs, one tensor of each a level, finest first.

        Classes: logits (N, num_anchors * num_classes, h, w). Boxes: (N, num_anchors * 4, h, w), of which an anchor's
        four are the offsets of its center, y before x, and the logarithms of its height and width, relative to it.
        """
        features = self.fpn(self.backbone.features(images, self.reductions))
        return self.class_net(features), self.box_net(features)


def build_detector(
    spec: DetectorSpec,
    *,
    padding: Padding = "symmetric",
    backbone_bn_eps: float = 1e-5,
    bn_momentum: float = 0.01,
    drop_path: float = 0.0,
) -> Detector:
    """Build a detector with fresh weights, drawn from torch's global generator.

    Args:
        spec: The detector.
        padding: ``symmetric`` (PyTorch) or ``same`` (TensorFlow), of all convolutions and poolings; a backbone that was
            trained before keeps its own.
        backbone_bn_eps: As ``bn_eps`` of ``build_network``; 1e-3 for checkpoints converted from TensorFlow. Neck and
            heads always have 1e-3.
        bn_momentum: The weight of the newest batch in BatchNorm's running statistics, in (0, 1]; detection batches are
            small, hence EfficientDet's 0.01.
        drop_path: Rate the backbone's last block approaches, in [0, 1).

    Raises:
        ConfigError: A value is outside its range.
    """
    backbone = build_backbone(
        spec.used_backbone, drop_path=drop_path, padding=padding, bn_eps=backbone_bn_eps, bn_momentum=bn_momentum
    )
    detector = Detector(spec, backbone, LayerStyle(spec.activation, padding, BN_EPS, bn_momentum))
    for part in (detector.fpn, detector.class_net, detector.box_net):
        part.apply(init_weights)
    init_prior(detector.class_net)
    return detector
