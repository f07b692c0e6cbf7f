"""Projection, pooling and resampling by 2, against arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scalesearch.detection.nn.layers import Halve, Resample, init_weights, project, separable_conv
from scalesearch.nn.layers import LayerStyle


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 1), (2, 2), (5, 4), (7, 7), (8, 8)])
def test_pooling_halves_and_rounds_up(padding, height, width):
    out = Halve(padding)(torch.randn(2, 3, height, width))
    assert out.shape == (2, 3, math.ceil(height / 2), math.ceil(width / 2))


@pytest.mark.parametrize(
    ("padding", "side", "expected"),
    [
        # the maximum of a row that rises is its window's last cell
        ("symmetric", 6, [1, 3, 5]),  # windows begin a cell before: (-1, 0, 1), (1, 2, 3), (3, 4, 5)
        ("same", 6, [2, 4, 5]),  # (0, 1, 2), (2, 3, 4), (4, 5, 6)
        ("symmetric", 5, [1, 3, 4]),
        ("same", 5, [1, 3, 4]),
    ],
)
def test_windows_lie_as_the_padding_says(padding, side, expected):
    row = torch.arange(float(side)).expand(1, 1, side, side)
    assert Halve(padding)(row)[0, 0, 0].tolist() == expected


def test_the_padding_of_the_pooling_never_wins():
    for padding in ("symmetric", "same"):
        assert (Halve(padding)(torch.full((1, 1, 4, 4), -3.0)) == -3).all()


@pytest.mark.parametrize(("side", "repeats"), [(6, [0, 0, 1, 1, 2, 2]), (5, [0, 0, 1, 1, 2])])
def test_a_coarser_map_repeats_the_nearest_cell(side, repeats):
    coarse = torch.arange(3.0).expand(1, 8, 3, 3)
    out = Resample(8, 8, 1, LayerStyle(), bias=True)(coarse, torch.Size((side, side)))
    assert out[0, 0, 0].tolist() == repeats


def test_a_map_of_the_right_channels_and_level_stays_as_it_is():
    resample = Resample(8, 8, 0, LayerStyle(), bias=True)
    images = torch.randn(1, 8, 5, 5)
    assert resample(images, images.shape[-2:]) is images
    assert not list(resample.parameters())


@pytest.mark.parametrize("bias", [True, False])
def test_a_projection_changes_the_channels_before_the_size(bias):
    resample = Resample(6, 8, -1, LayerStyle(), bias=bias).eval()
    images = torch.randn(2, 6, 5, 5)
    expected = F.max_pool2d(resample.conv(images), 3, 2, 1)
    assert torch.equal(resample(images, torch.Size((3, 3))), expected)
    names = {"conv.conv.weight", "conv.bn.weight", "conv.bn.bias"} | ({"conv.conv.bias"} if bias else set())
    assert {name for name, _ in resample.named_parameters()} == names


def test_equal_channels_are_not_projected():
    assert isinstance(project(8, 8, LayerStyle(), bias=True), nn.Identity)


@pytest.mark.parametrize(("bias", "norm"), [(True, True), (False, True), (True, False)])
def test_a_separable_convolution_filters_and_then_mixes(bias, norm):
    conv = separable_conv(4, 6, LayerStyle(), bias=bias, norm=norm).eval()
    images = torch.randn(1, 4, 7, 5)
    depthwise = F.conv2d(images, conv.conv_dw.weight, padding=1, groups=4)
    expected = F.conv2d(depthwise, conv.conv_pw.weight, conv.conv_pw.bias)
    expected = conv.bn(expected) if norm else expected
    torch.testing.assert_close(conv(images), expected)
    assert (conv.conv_pw.bias is not None, conv.conv_dw.bias) == (bias, None)


def test_fresh_weights_keep_the_size_of_a_signal():
    torch.manual_seed(0)
    conv = separable_conv(256, 256, LayerStyle(), bias=True, norm=False).apply(init_weights)
    out = conv(torch.randn(1, 256, 32, 32))[..., 1:-1, 1:-1]
    assert 0.8 < out.std() < 1.25
    assert not conv.conv_pw.bias.any()
