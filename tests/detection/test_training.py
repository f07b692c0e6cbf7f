"""Training of a detector, end to end on made pictures."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from scalesearch.detection.data import BoxAugmentation, BoxData, BoxDataConfig, load_box_data
from scalesearch.detection.data.sample import BoxSubset
from scalesearch.detection.nn.detector import Detector, build_detector
from scalesearch.detection.scoring import detect, score_detections
from scalesearch.detection.training import DetectorTrainConfig, fit_detector
from scalesearch.errors import ConfigError, DivergenceError
from tests.detection.detectors import tiny_spec

AS_IT_IS = BoxAugmentation(flip=False, min_scale=1.0, max_scale=1.0)


@pytest.fixture(scope="module")
def data() -> BoxData:
    return load_box_data(BoxDataConfig(made_train_images=8, made_val_images=2, made_test_images=2, made_image_size=64))


def new_detector(data: BoxData, seed: int = 0, **changes: Any) -> Detector:
    torch.manual_seed(seed)
    return build_detector(tiny_spec(**{"num_classes": data.num_classes, "max_level": 5, **changes}), bn_momentum=0.1)


def train(data: BoxData, seed: int = 0, **changes: Any) -> Detector:
    detector = new_detector(data, seed)
    fit_detector(detector, data, DetectorTrainConfig(**{"steps": 3, "batch_size": 2, **changes}))
    return detector


@pytest.mark.slow
@pytest.mark.parametrize("box_loss", ["huber", "ciou"])
def test_one_picture_is_learnt_to_an_ap_of_one(data: BoxData, box_loss: str) -> None:
    picture = BoxSubset(data.train, np.zeros(4, dtype=np.int64))  # a few times: BatchNorm needs a batch
    one = replace(data, train=picture, val=picture)
    detector = new_detector(data, neck_channels=32, anchor_scale=2.0, max_level=4)
    config = DetectorTrainConfig(
        steps=250, batch_size=4, learning_rate=1e-2, ema_decay=0.0, box_loss=box_loss, augmentation=AS_IT_IS
    )
    fit_detector(detector, one, config)
    found = detect(detector, detector.spec, picture, one.normalisation)
    assert score_detections(found, picture, one.num_classes).ap == pytest.approx(1.0)


def test_one_seed_gives_one_set_of_weights_bit_for_bit(data: BoxData) -> None:
    one, again, other = train(data), train(data), train(data, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_a_frozen_backbone_stays_as_it_was_statistics_included(data: BoxData) -> None:
    fresh, trained = new_detector(data), train(data, frozen_backbone=True)
    for name, value in trained.backbone.state_dict().items():
        assert torch.equal(value, fresh.backbone.state_dict()[name]), name
    assert not torch.equal(next(trained.box_net.parameters()), next(fresh.box_net.parameters()))


def test_pictures_without_boxes_are_trained_on(data: BoxData) -> None:
    class Empty(BoxSubset):
        def read(self, index: int) -> Any:
            sample = super().read(index)
            nothing = torch.zeros(0, dtype=torch.int64)
            return replace(
                sample,
                boxes_xyxy=torch.zeros(0, 4),
                labels=nothing,
                is_crowd=nothing.bool(),
                areas=nothing.float(),
            )

    empty = replace(data, train=Empty(data.train, np.arange(4)))
    trained = train(empty)
    assert all(value.isfinite().all() for value in trained.state_dict().values())


def test_detecting_changes_neither_mode_nor_weights(data: BoxData) -> None:
    detector = new_detector(data).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    found = detect(detector, detector.spec, data.val, data.normalisation, batch_size=1)
    assert len(found) == len(data.val)
    assert detector.training
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_detections_lie_within_the_picture(data: BoxData) -> None:
    detector = new_detector(data)
    for index, found in enumerate(detect(detector, detector.spec, data.val, data.normalisation)):
        height, width = data.val.read_truth(index).original_size
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= torch.tensor([width, height, width, height])).all()


def test_outputs_that_are_not_finite_are_no_detections(data: BoxData) -> None:
    detector = new_detector(data)
    with torch.no_grad():
        detector.box_net.get_parameter("predict.conv_pw.bias").fill_(torch.nan)
    with pytest.raises(DivergenceError, match="not finite"):
        detect(detector, detector.spec, data.val, data.normalisation)


def test_a_batch_of_one_cell_is_refused_before_anything_is_trained(data: BoxData) -> None:
    torch.manual_seed(0)
    detector = build_detector(tiny_spec(num_classes=data.num_classes))
    sentence = r"train\.batch_size must be at least 2 where level 7 is a single cell, at image_size 64; got 1, of 8"
    with pytest.raises(ConfigError, match=sentence):
        fit_detector(detector, data, DetectorTrainConfig(steps=1, batch_size=1))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"box_loss": "l1"}, "train.box_loss must be one of huber, ciou, got 'l1'"),
        ({"drop_path": 1.0}, "train.drop_path must be in [0, 1), got 1.0"),
        ({"optimizer": "adam"}, "train.optimizer must be one of adamw, rmsprop, sgd, got 'adam'"),
    ],
)
def test_a_value_outside_its_range_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        DetectorTrainConfig(**changes)
