"""The blocks a network is made of: MBConv, FusedMBConv, depthwise separable, plain convolution.

Each block is the twin of a term in ``scalesearch.arch.cost``: what it adds to ``params``, ``macs`` and ``acts`` is said
there in closed form and held together with this file by a test. Parameters are named as in timm's EfficientNet, so
public checkpoints load by name. Tensors are (N, C, H, W).

Papers: MBConv, Sandler et al. 2018 (arXiv 1801.04381); squeeze-and-excitation, Hu et al. 2018 (arXiv 1709.01507), here
with the width taken from the block's input as in MnasNet (arXiv 1807.11626); FusedMBConv, Tan & Le 2021 (arXiv
2104.00298); drop path, Huang et al. 2016 (arXiv 1603.09382).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import StochasticDepth

from scalesearch.arch.cost import mid_channels, squeeze_channels
from scalesearch.arch.spec import Activation, BlockType, StageSpec

Padding = Literal["symmetric", "same"]
PADDINGS: tuple[str, ...] = get_args(Padding)


class ThriftySiLU(nn.SiLU):
    """SiLU that works in place where no gradient will ask for its input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return F.silu(input, inplace=self.inplace and not input.requires_grad)


class ThriftyHardswish(nn.Hardswish):
    """Hardswish that works in place where no gradient will ask for its input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return F.hardswish(input, inplace=self.inplace and not input.requires_grad)


_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "silu": ThriftySiLU,
    "relu": nn.ReLU,
    "hardswish": ThriftyHardswish,
}


class Conv2dSame(nn.Conv2d):
    """Convolution padded as TensorFlow pads: outputs are ``ceil(size / stride)``, the odd pixel goes right and below.

    With a stride of 1 this is the symmetric padding of ``nn.Conv2d``; with a stride of 2 the grid of an even-sized
    image shifts by one pixel, so checkpoints trained with the one padding lose accuracy under the other.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: D102
        top, bottom = self._pad(0, input.shape[2])
        left, right = self._pad(1, input.shape[3])
        return F.conv2d(
            F.pad(input, (left, right, top, bottom)), self.weight, self.bias, self.stride, groups=self.groups
        )

    def _pad(self, axis: int, size: int) -> tuple[int, int]:
        kernel_size, stride = self.kernel_size[axis], self.stride[axis]
        total = max(0, (-(-size // stride) - 1) * stride + kernel_size - size)
        return total // 2, total - total // 2


def padding_of(part: nn.Module) -> Padding:
    """Return how a part pads, which shows where a convolution has a stride; elsewhere the two ways are one."""
    return "same" if any(isinstance(each, Conv2dSame) for each in part.modules()) else "symmetric"


@dataclass(frozen=True, slots=True)
class LayerStyle:
    """What all layers of one network have in common.

    Attributes:
        activation: After every convolution but the projections.
        padding: ``symmetric`` is PyTorch's, ``same`` TensorFlow's; both give outputs of ``ceil(size / stride)``.
        bn_eps: BatchNorm's epsilon: 1e-5 in PyTorch's checkpoints, 1e-3 in those converted from TensorFlow.
        bn_momentum: The weight of the newest batch in the running statistics (PyTorch's sense; TensorFlow's is 1 - it).
    """

    activation: Activation = "silu"
    padding: Padding = "symmetric"
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1

    def conv(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, *, stride: int = 1, groups: int = 1
    ) -> nn.Conv2d:
        """Return a padded convolution without bias."""
        if self.padding == "same" and stride > 1:
            return Conv2dSame(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)

    def depthwise(self, channels: int, kernel_size: int, *, stride: int) -> nn.Conv2d:
        """Return a convolution with one filter a channel."""
        return self.conv(channels, channels, kernel_size, stride=stride, groups=channels)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        """Return a BatchNorm layer."""
        return nn.BatchNorm2d(channels, self.bn_eps, self.bn_momentum)

    def act(self) -> nn.Module:
        """Return an activation; it follows BatchNorm, which does not need its output again, and so may work in place.

        ReLU always does. The others need their input for the gradient: in place, autograd copies it first, which costs
        6 % of a training step of a small MBConv network on one core. Without a gradient in place is faster: by 8 % of a
        forward pass of EfficientDet-D0 with 4 images of 512 px, where each buffer would be fetched from the system.
        """
        return _ACTIVATIONS[self.activation](inplace=True)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from the pooled channels.

    Args:
        channels: Channels of the input and output.
        squeezed: Channels between the two 1x1 convolutions.
        style: Its activation stands between the two; the gate is a sigmoid.
    """

    def __init__(self, channels: int, squeezed: int, style: LayerStyle) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.act1 = style.act()
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        pooled = x.mean((2, 3), keepdim=True)
        gate: torch.Tensor = self.conv_expand(self.act1(self.conv_reduce(pooled))).sigmoid()
        return x * gate


class Block(nn.Module):
    """A transformation, to which the input is added where the shapes agree and the stage asks for it.

    Subclasses build their layers and say what they do in ``transform``.

    Args:
        stage: The stage this block belongs to.
        in_channels: Channels of the block's input.
        stride: The stage's for its first block, 1 for the others.
        style: Padding, BatchNorm and activation.
        drop_path: Probability, in training, that a sample skips the transformation; no effect without a residual.
    """

    def __init__(
        self, stage: StageSpec, in_channels: int, stride: int, style: LayerStyle, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.has_residual = stage.skip and stride == 1 and in_channels == stage.out_channels
        self.drop_path = StochasticDepth(drop_path, "row") if self.has_residual and drop_path else nn.Identity()
        self.act = style.act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        out = self.transform(x)
        if self.has_residual:
            out = self.drop_path(out) + x
        return out

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output before the residual."""
        raise NotImplementedError


class DepthwiseSeparable(Block):
    """``ds``: depthwise convolution, squeeze-and-excitation, projection: an MBConv that does not expand."""

    def __init__(
        self, stage: StageSpec, in_channels: int, stride: int, style: LayerStyle, drop_path: float = 0.0
    ) -> None:
        super().__init__(stage, in_channels, stride, style, drop_path)
        self.conv_dw = style.depthwise(in_channels, stage.kernel_size, stride=stride)
        self.bn1 = style.norm(in_channels)
        self.se = _squeeze_excitation(stage, in_channels, in_channels, style)
        self.conv_pw = style.conv(in_channels, stage.out_channels)
        self.bn2 = style.norm(stage.out_channels)

    def transform(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = self.act(self.bn1(self.conv_dw(x)))
        out: torch.Tensor = self.bn2(self.conv_pw(self.se(x)))
        return out


class MBConv(Block):
    """``ir``: expansion, depthwise convolution, squeeze-and-excitation, projection (the inverted residual).

    The expansion is built even where ``expand_ratio`` is 1, as in timm; the block without it is ``ds``.
    """

    def __init__(
        self, stage: StageSpec, in_channels: int, stride: int, style: LayerStyle, drop_path: float = 0.0
    ) -> None:
        super().__init__(stage, in_channels, stride, style, drop_path)
        mid = mid_channels(in_channels, stage.expand_ratio)
        self.conv_pw = style.conv(in_channels, mid)
        self.bn1 = style.norm(mid)
        self.conv_dw = style.depthwise(mid, stage.kernel_size, stride=stride)
        self.bn2 = style.norm(mid)
        self.se = _squeeze_excitation(stage, in_channels, mid, style)
        self.conv_pwl = style.conv(mid, stage.out_channels)
        self.bn3 = style.norm(stage.out_channels)

    def transform(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = self.act(self.bn1(self.conv_pw(x)))
        x = self.act(self.bn2(self.conv_dw(x)))
        out: torch.Tensor = self.bn3(self.conv_pwl(self.se(x)))
        return out


class FusedMBConv(Block):
    """``er``: one full convolution in place of MBConv's expansion and depthwise pair (the edge residual)."""

    def __init__(
        self, stage: StageSpec, in_channels: int, stride: int, style: LayerStyle, drop_path: float = 0.0
    ) -> None:
        super().__init__(stage, in_channels, stride, style, drop_path)
        mid = mid_channels(in_channels, stage.expand_ratio)
        self.conv_exp = style.conv(in_channels, mid, stage.kernel_size, stride=stride)
        self.bn1 = style.norm(mid)
        self.se = _squeeze_excitation(stage, in_channels, mid, style)
        self.conv_pwl = style.conv(mid, stage.out_channels)
        self.bn2 = style.norm(stage.out_channels)

    def transform(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = self.act(self.bn1(self.conv_exp(x)))
        out: torch.Tensor = self.bn2(self.conv_pwl(self.se(x)))
        return out


class ConvBNAct(Block):
    """``cn``: convolution, BatchNorm, activation."""

    def __init__(
        self, stage: StageSpec, in_channels: int, stride: int, style: LayerStyle, drop_path: float = 0.0
    ) -> None:
        super().__init__(stage, in_channels, stride, style, drop_path)
        self.conv = style.conv(in_channels, stage.out_channels, stage.kernel_size, stride=stride)
        self.bn1 = style.norm(stage.out_channels)

    def transform(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        out: torch.Tensor = self.act(self.bn1(self.conv(x)))
        return out


BLOCKS: dict[BlockType, type[Block]] = {
    "ds": DepthwiseSeparable,
    "ir": MBConv,
    "er": FusedMBConv,
    "cn": ConvBNAct,
}


def init_weights(module: nn.Module) -> None:
    """Draw a layer's weights as EfficientNet does; for ``nn.Module.apply``, uses torch's global generator.

    Convolutions: normal with variance ``2 / fan_out``, where a depthwise filter's fan-out is its own area only;
    linear layers: uniform within ``1 / sqrt(out_features)``; biases 0. BatchNorm keeps PyTorch's ones and zeros.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
    elif isinstance(module, nn.Linear):
        bound = 1.0 / math.sqrt(module.out_features)
        nn.init.uniform_(module.weight, -bound, bound)
    if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _squeeze_excitation(stage: StageSpec, in_channels: int, channels: int, style: LayerStyle) -> nn.Module:
    if not stage.se_ratio:
        return nn.Identity()
    return SqueezeExcitation(channels, squeeze_channels(in_channels, stage.se_ratio), style)
