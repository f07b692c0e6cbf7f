"""The built detector beside effdet's: the same names, and from the same weights the same outputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scalesearch.detection.detector import build_detector
from scalesearch.detection.published import published_detector
from tests.detection.detectors import tiny_spec

effdet = pytest.importorskip("effdet")


def effdets(name: str, image_size: int) -> torch.nn.Module:
    config = effdet.get_efficientdet_config(name)
    config.image_size = [image_size, image_size]
    torch.manual_seed(0)
    network = effdet.EfficientDet(config, pretrained_backbone=False).eval()
    with (
        torch.no_grad()
    ):  # statistics as a training would leave them: of fresh ones any mistake in their place is unseen
        for key, value in network.named_buffers():
            if key.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
    return network


# d0: weighed fusion; d6: plain sums
@pytest.mark.slow
@pytest.mark.parametrize(("variant", "image_size"), [("d0", 256), ("d6", 128)])
def test_effdets_weights_load_by_name_and_give_its_outputs(variant: str, image_size: int) -> None:
    theirs = effdets(f"tf_efficientdet_{variant}", image_size)
    spec = replace(published_detector(f"efficientdet-{variant}"), image_size=image_size)
    ours = build_detector(spec, padding="same", backbone_bn_eps=1e-3).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(1, 3, image_size, image_size)
    with torch.inference_mode():
        for mine, other in zip(ours(images), theirs(images), strict=True):
            assert len(mine) == len(other) == 5
            for one, two in zip(mine, other, strict=True):
                torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


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
