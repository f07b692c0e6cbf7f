"""The layers that neck and heads share: separable convolution, channel projection, resampling by 2.

Parameters are named as in effdet 0.4.1's ``EfficientDet``. Each layer is the twin of a term in
``scalesearch.detection.arch.cost``. Tensors are (N, C, H, W).
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from scalesearch.nn.layers import LayerStyle, Padding


def separable_conv(in_channels: int, out_channels: int, style: LayerStyle, *, bias: bool, norm: bool) -> nn.Sequential:
    """Return a 3x3 depthwise convolution, a 1x1 convolution and, with ``norm``, BatchNorm; the size stays."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv_dw=style.depthwise(in_channels, 3, stride=1),
        conv_pw=nn.Conv2d(in_channels, out_channels, 1, bias=bias),
    )
    if norm:
        layers["bn"] = style.norm(out_channels)
    return nn.Sequential(layers)


def project(in_channels: int, out_channels: int, style: LayerStyle, *, bias: bool) -> nn.Module:
    """Return a 1x1 convolution with BatchNorm, or nothing where the channels agree already."""
    if in_channels == out_channels:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
    return nn.Sequential(OrderedDict(conv=conv, bn=style.norm(out_channels)))


class Halve(nn.Module):
    """Pool the maximum of 3x3 cells at every second cell.

    Args:
        padding: With ``same`` the windows of an even side begin at its first cell, as TensorFlow lays them; else one
            cell before it. The padding never wins.
    """

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2))."""
        if self.padding == "symmetric":
            return F.max_pool2d(x, 3, 2, 1)
        height, width = x.shape[-2:]
        return F.max_pool2d(x, 3, 2, (height % 2, width % 2), ceil_mode=True)


class Resample(nn.Module):
    """Bring a feature map to the neck's channels and to a level at most one away.

    Args:
        in_channels: Of the map.
        out_channels: Of the neck; the projection works before the resampling, on the map's own size.
        step: The map's level minus the wanted one: -1 pools, 0 keeps the size, 1 repeats the nearest cell.
        style: Padding and BatchNorm.
        bias: Whether the projection has a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, step: int, style: LayerStyle, *, bias: bool) -> None:
        super().__init__()
        self.conv = project(in_channels, out_channels, style, bias=bias)
        self.down = Halve(style.padding) if step < 0 else nn.Identity()
        self.is_enlarged = step > 0

    def forward(self, x: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """Map (N, in_channels, h, w) to (N, out_channels, H, W); ``size`` is (H, W)."""
        x = self.down(self.conv(x))
        return F.interpolate(x, size, mode="nearest") if self.is_enlarged else x


def init_weights(module: nn.Module) -> None:
    """Draw a convolution's weights; for ``nn.Module.apply``, uses torch's global generator.

    Normal with variance ``1 / fan_in`` of one filter, biases 0: signals keep their size. In EfficientDet's code that
    is the rule of the heads; its neck draws uniformly (Glorot), which the BatchNorm after each of its convolutions
    makes the same but for the first steps.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, math.sqrt(1.0 / module.weight[0].numel()))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
