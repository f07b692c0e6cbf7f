"""The blocks one by one: sizes, residuals, drop path, weights."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scalesearch.arch.spec import StageSpec
from scalesearch.nn.layers import BLOCKS, Conv2dSame, LayerStyle, MBConv, SqueezeExcitation, init_weights


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_output_side_is_size_over_stride_rounded_up(padding, kernel_size, stride):
    conv = LayerStyle(padding=padding).conv(2, 3, kernel_size, stride=stride)
    for height, width in [(1, 2), (8, 7), (33, 47), (64, 5)]:
        out = conv(torch.zeros(1, 2, height, width))
        assert out.shape == (1, 3, math.ceil(height / stride), math.ceil(width / stride))


@pytest.mark.parametrize(("size", "before", "after"), [(8, 0, 1), (7, 1, 1)])
def test_same_padding_puts_the_odd_pixel_right_and_below(size, before, after):
    conv = Conv2dSame(1, 1, 3, 2, bias=False)
    images = torch.randn(1, 1, size, size)
    padded = F.pad(images, (before, after, before, after))
    assert torch.equal(conv(images), F.conv2d(padded, conv.weight, stride=2))


@pytest.mark.parametrize("block", sorted(BLOCKS))
@pytest.mark.parametrize(
    ("stride", "in_channels", "skip", "adds"),
    [(1, 16, True, True), (1, 16, False, False), (2, 16, True, False), (1, 8, True, False)],
)
def test_input_is_added_where_shapes_agree_and_skip_is_set(block, stride, in_channels, skip, adds):
    stage = StageSpec(block, 3, stride, 4.0 if block in ("ir", "er") else 1.0, 16, skip=skip)
    module = BLOCKS[block](stage, in_channels, stride, LayerStyle()).eval()
    images = torch.randn(2, in_channels, 9, 9)
    out = module(images)
    assert out.shape == (2, 16, math.ceil(9 / stride), math.ceil(9 / stride))
    rest = out - images if adds else out
    torch.testing.assert_close(rest, module.transform(images), rtol=1e-5, atol=1e-5)


def test_squeeze_width_comes_from_the_channels_that_enter_the_block():
    block = MBConv(StageSpec("ir", 3, 1, 6.0, 16, se_ratio=0.25), 16, 1, LayerStyle())
    assert block.se.conv_reduce.weight.shape == (4, 96, 1, 1)


def test_squeeze_excitation_scales_each_channel_by_one_gate():
    unit = SqueezeExcitation(6, 2, LayerStyle())
    images = torch.rand(2, 6, 5, 5) + 1
    ratio = unit(images) / images
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert 0 < ratio.min() < ratio.max() < 1


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    stage = StageSpec("ir", 3, 1, 2.0, 8)
    block = MBConv(stage, 8, 1, LayerStyle(), drop_path=0.25).train()
    block.bn3.register_forward_hook(lambda *_: torch.ones(400, 8, 2, 2))
    branch = block(torch.zeros(400, 8, 2, 2)).flatten(1)
    assert {round(float(value), 4) for value in branch.unique()} == {0.0, round(1 / 0.75, 4)}
    assert torch.equal(branch.amin(1), branch.amax(1))
    assert branch.mean() == pytest.approx(1.0, abs=0.1)
    assert torch.equal(block.eval()(torch.zeros(400, 8, 2, 2)), torch.ones(400, 8, 2, 2))


@pytest.mark.parametrize(
    ("layer", "deviation"),
    [
        (nn.Conv2d(64, 256, 3), math.sqrt(2 / (9 * 256))),
        (nn.Conv2d(512, 512, 5, groups=512), math.sqrt(2 / 25)),
        (nn.Linear(128, 400), 1 / math.sqrt(400) / math.sqrt(3)),
    ],
)
def test_weights_are_drawn_with_efficientnets_deviation(layer, deviation):
    torch.manual_seed(0)
    init_weights(layer)
    assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert torch.count_nonzero(layer.bias) == 0


@pytest.mark.parametrize(("activation", "function"), [("silu", F.silu), ("hardswish", F.hardswish), ("relu", F.relu)])
def test_activations_keep_their_input_only_for_a_gradient(activation, function):
    act = LayerStyle(activation).act()
    values = torch.linspace(-5, 5, 11)
    buffer = values.clone()
    assert act(buffer) is buffer
    torch.testing.assert_close(buffer, function(values))
    normed = values.clone().requires_grad_() * 1
    out = act(normed)
    torch.testing.assert_close(out, function(values))
    assert (out is normed) == (activation == "relu")
