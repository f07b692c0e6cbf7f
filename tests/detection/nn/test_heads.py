"""Heads: filters shared by the levels, statistics that are not, the order of outputs, the prior."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scalesearch.detection.nn.heads import PRIOR, Head, init_prior
from scalesearch.detection.nn.layers import init_weights
from scalesearch.nn.layers import LayerStyle
from tests.detection.detectors import tiny_spec

SPEC = tiny_spec(head_depth=2)


@pytest.fixture
def head() -> Head:
    torch.manual_seed(0)
    return Head(SPEC, 3, LayerStyle())


def maps(*sides: int) -> list[torch.Tensor]:
    return [torch.randn(2, SPEC.neck_channels, side, side) for side in sides]


def test_each_level_has_an_output_of_its_size(head):
    assert [tuple(out.shape) for out in head(maps(8, 4, 2, 1, 1))] == [(2, 27, side, side) for side in (8, 4, 2, 1, 1)]


def test_levels_share_filters_and_not_statistics(head):
    x = maps(4)[0]
    alike = head.eval()([x] * 5)
    assert all(torch.equal(out, alike[0]) for out in alike)
    with torch.no_grad():
        head.bn_rep[1][2].bn.bias.add_(1)
    after = head([x] * 5)
    assert [torch.equal(out, alike[0]) for out in after] == [True, True, False, True, True]


def test_a_layer_is_convolution_norm_activation(head):
    x, out = maps(5)[0], None
    for depth in range(2):
        out = F.silu(head.eval().bn_rep[depth][0].bn(head.conv_rep[depth](x if out is None else out)))
    torch.testing.assert_close(head([x])[0], head.predict(out))


def test_a_prediction_follows_no_activation_and_has_a_bias_for_each_output(head):
    with torch.no_grad():
        head.predict.conv_pw.weight.zero_()
        head.predict.conv_pw.bias.copy_(torch.arange(-13.0, 14.0))
    out = head(maps(1))[0].reshape(2, SPEC.num_anchors, 3)
    assert out[0].flatten().tolist() == list(range(-13, 14))  # anchor by anchor


def test_a_fresh_class_head_scores_near_the_prior():
    torch.manual_seed(0)
    head = Head(tiny_spec(neck_channels=64), 3, LayerStyle()).apply(init_weights)
    init_prior(head)
    head.predict.conv_pw.weight.data.mul_(1e-3)
    scores = head([torch.randn(2, 64, 8, 8)])[0].sigmoid()
    assert scores.mean().item() == pytest.approx(PRIOR, rel=1e-2)
