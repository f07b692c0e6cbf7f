"""The built detector beside effdet's: the same names, and from the same weights the same outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from scalesearch.detection.arch.published import EFFICIENTDETS, published_detector
from scalesearch.detection.nn.detector import BN_EPS, build_detector
from scalesearch.errors import ConfigError
from tests.detection.detectors import tiny_spec

effdet = pytest.importorskip("effdet")


def effdets(name: str, image_size: int, **changes: Any) -> nn.Module:
    config = effdet.get_efficientdet_config(name)
    config.update(image_size=[image_size, image_size], **changes)
    config.num_levels = config.max_level - config.min_level + 1
    torch.manual_seed(0)
    network = effdet.EfficientDet(config, pretrained_backbone=False).eval()
    # what a training would leave: of fresh values any mistake in their place is unseen
    with torch.no_grad():
        for name, value in [*network.named_buffers(), *network.named_parameters()]:
            if name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.1)
            elif name.endswith(("running_var", "edge_weights")):
                value.uniform_(0.5, 1.5)
    return network


def assert_same_outputs(ours: nn.Module, theirs: nn.Module, image_size: int, tolerance: float = 1e-4) -> None:
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(1, 3, image_size, image_size)
    with torch.inference_mode():
        for mine, other in zip(ours.eval()(images), theirs(images), strict=True):
            assert len(mine) == len(other)
            assert other[0].std() > 1e-3  # not equal because all are alike
            for one, two in zip(mine, other, strict=True):
                torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", EFFICIENTDETS)
def test_the_state_dict_of_every_released_detector_has_our_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        config = effdet.get_efficientdet_config(f"tf_{name.replace('-', '_')}")
        theirs = effdet.EfficientDet(config, pretrained_backbone=False)
        ours = build_detector(published_detector(name), padding="same", backbone_bn_eps=1e-3)
    expected = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == expected


# d0: weighed fusion, odd sizes at every level; d6: plain sums
@pytest.mark.slow
@pytest.mark.parametrize(("variant", "image_size"), [("d0", 256), ("d0", 203), ("d6", 128)])
def test_effdets_weights_load_by_name_and_give_its_outputs(variant: str, image_size: int) -> None:
    theirs = effdets(f"tf_efficientdet_{variant}", image_size)
    spec = replace(published_detector(f"efficientdet-{variant}"), image_size=image_size)
    assert_same_outputs(build_detector(spec, padding="same", backbone_bn_eps=1e-3), theirs, image_size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("neck", "fusion", "fpn_name", "max_level"),
    [("bifpn", "softmax", "bifpn_attn", 7), ("bifpn", "sum", "bifpn_sum", 8), ("panet", "fast", "pan_fa", 6)],
)
def test_other_necks_give_effdets_outputs_with_symmetric_padding(
    neck: str, fusion: str, fpn_name: str, max_level: int
) -> None:
    # effdet's detectors that were not converted from TensorFlow: its own padding, epsilon and bias are PyTorch's
    theirs = effdets("efficientdet_d0", 150, fpn_name=fpn_name, max_level=max_level, num_classes=5)
    spec = replace(
        published_detector("efficientdet-d0"),
        neck=neck,
        fusion=fusion,
        max_level=max_level,
        num_classes=5,
        redundant_bias=False,
    )
    assert_same_outputs(build_detector(spec), theirs, 150)


@pytest.mark.parametrize("neck", ["fpn", "panet", "bifpn"])
@pytest.mark.parametrize("fusion", ["sum", "softmax", "fast"])
def test_every_neck_and_fusion_runs_at_any_size_and_learns(neck: str, fusion: str) -> None:
    torch.manual_seed(0)
    spec = tiny_spec(neck=neck, fusion=fusion, max_level=6, image_size=75)
    detector = build_detector(spec)
    classes, boxes = detector(torch.randn(2, 3, 75, 75))
    assert [tuple(each.shape[2:]) for each in classes] == [(size, size) for size in spec.sizes]
    sum(each.square().mean() for each in [*classes, *boxes]).backward()  # type: ignore[union-attr]
    # a level that is summed away, or a weight that nothing hears of, would have none
    silent = [name for name, weight in detector.named_parameters() if weight.grad is None]
    assert not silent


def test_an_image_need_not_be_square() -> None:
    detector = build_detector(tiny_spec()).eval()
    classes, boxes = detector(torch.randn(1, 3, 70, 130))
    assert [tuple(each.shape[1:]) for each in classes] == [(27, 9, 17), (27, 5, 9), (27, 3, 5), (27, 2, 3), (27, 1, 2)]
    assert [each.shape[1] for each in boxes] == [36] * 5


def test_batch_norm_is_the_released_models_but_for_the_backbones_epsilon() -> None:
    detector = build_detector(tiny_spec(), backbone_bn_eps=2e-5, bn_momentum=0.03)
    norms = {name: each for name, each in detector.named_modules() if isinstance(each, nn.BatchNorm2d)}
    assert {each.momentum for each in norms.values()} == {0.03}
    assert {(name.startswith("backbone"), each.eps) for name, each in norms.items()} == {(True, 2e-5), (False, BN_EPS)}


def test_fresh_scores_are_near_one_percent() -> None:
    torch.manual_seed(0)
    classes, _ = build_detector(tiny_spec()).eval()(torch.randn(2, 3, 64, 64))
    assert all(0.001 < each.sigmoid().median() < 0.1 for each in classes)


def test_the_same_seed_gives_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_detector(tiny_spec()).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"padding": "valid"}, "padding must be one of symmetric, same, got 'valid'"),
        ({"backbone_bn_eps": 0.0}, "bn_eps must be above 0, got 0.0"),
        ({"bn_momentum": 0.0}, r"bn_momentum must be in \(0, 1\], got 0.0"),
        ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\), got 1.0"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_detector(tiny_spec(), **values)
