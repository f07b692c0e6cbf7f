"""From raw outputs to detections."""

from __future__ import annotations

import pytest
import torch

from scalesearch.detection.boxes.decoding import DecodingConfig, decode_detections
from scalesearch.errors import ConfigError

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [40.0, 40, 60, 60], [-8.0, -8, -2, -2]])


def decode(logits: list[list[float]], **changes: float) -> tuple[list, list, list]:
    [found] = decode_detections(
        torch.tensor([logits]), torch.zeros(1, 4, 4), ANCHORS, image_size=(50, 64), config=DecodingConfig(**changes)
    )
    return found.boxes_xyxy.tolist(), found.scores.sigmoid().tolist(), found.labels.tolist()


def test_the_best_first_and_cut_at_the_image() -> None:
    boxes, _, labels = decode([[-9.0, 1.0], [-9.0, -9.0], [2.0, -9.0], [-9.0, -9.0]], least_score=0.5)
    assert boxes == [[40, 40, 60, 50], [0, 0, 10, 10]]
    assert labels == [0, 1]


def test_of_overlapping_boxes_of_one_class_the_best_stays_and_other_classes_do_not_matter() -> None:
    boxes, _, labels = decode([[1.0, 1.0], [2.0, -9.0], [-9.0, -9.0], [-9.0, -9.0]], least_score=0.5)
    assert boxes == [[1, 0, 11, 10], [0, 0, 10, 10]]
    assert labels == [0, 1]
    assert len(decode([[1.0, 1.0], [2.0, -9.0], [-9.0, -9.0], [-9.0, -9.0]], least_score=0.5, nms_iou=1.0)[0]) == 3


def test_what_lies_outside_the_image_is_no_detection() -> None:
    assert decode([[-9.0, -9.0], [-9.0, -9.0], [-9.0, -9.0], [5.0, -9.0]], least_score=0.5)[0] == []


def test_nothing_may_be_found() -> None:
    boxes, scores, labels = decode([[-9.0, -9.0]] * 4, least_score=0.5)
    assert boxes == scores == labels == []


def test_no_more_than_asked_for() -> None:
    assert len(decode([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [-9.0, -9.0]], max_detections=2)[0]) == 2
    assert decode([[1.0, 0.9], [2.0, 2.0], [3.0, 3.0], [-9.0, -9.0]], max_candidates=2)[0] == [[40, 40, 60, 50]] * 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"least_score": 1.5}, r"decoding\.least_score must be in \[0, 1\], got 1\.5"),
        ({"nms_iou": -0.1}, r"decoding\.nms_iou must be in \[0, 1\], got -0\.1"),
        ({"max_detections": 0}, r"decoding\.max_detections must be at least 1, got 0"),
    ],
)
def test_a_value_outside_its_range_is_refused(changes: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DecodingConfig(**changes)
