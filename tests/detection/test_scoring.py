"""Average precision on boxes whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from scalesearch.detection.boxes.decoding import Detections
from scalesearch.detection.data import BoxTruth
from scalesearch.detection.scoring import DetectionScores, score_detections
from tests.detection.detectors import Truths


def truth(boxes: list[list[float]], labels: list[int], crowds: list[bool] | None = None) -> BoxTruth:
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return BoxTruth(
        image_id=7,
        original_size=(200, 300),
        boxes_xyxy=corners,
        labels=torch.tensor(labels, dtype=torch.int64),
        is_crowd=torch.tensor(crowds or [False] * len(labels), dtype=torch.bool),
        areas=(corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]),
    )


def found(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels, dtype=torch.int64),
    )


NOTHING = found([], [], [])
SMALL, LARGE = [10.0, 10, 30, 30], [50.0, 50, 190, 170]


def score(detections: list[Detections], truths: list[BoxTruth], num_classes: int = 2) -> DetectionScores:
    return score_detections(detections, Truths(truths), num_classes)


def test_perfect_detections_have_an_ap_of_one_and_a_size_without_boxes_has_none() -> None:
    scores = score([found([SMALL, LARGE], [0.9, 0.8], [0, 1])], [truth([SMALL, LARGE], [0, 1])])
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx((1.0, 1.0, 1.0))
    assert (scores.ap_small, scores.ap_large) == pytest.approx((1.0, 1.0))
    assert math.isnan(scores.ap_medium)
    assert scores.ap_of_class == pytest.approx((1.0, 1.0))
    assert scores.num_images == 1


def test_no_detections_at_all_are_an_ap_of_zero() -> None:
    scores = score([NOTHING, NOTHING], [truth([SMALL], [0]), truth([], [])])
    assert (scores.ap, scores.ap50) == (0.0, 0.0)
    assert scores.ap_of_class[0] == 0.0
    assert math.isnan(scores.ap_of_class[1])  # a class without a box


def test_without_a_box_to_find_there_is_no_score() -> None:
    assert math.isnan(score([found([SMALL], [0.5], [0])], [truth([], [])]).ap)


def test_a_box_that_overlaps_by_two_thirds_counts_up_to_that_overlap() -> None:
    shifted = [10.0, 10, 30, 26]  # 16 of 20 rows: an overlap of 0.8
    scores = score([found([shifted], [0.9], [0])], [truth([SMALL], [0])])
    assert (scores.ap50, scores.ap75) == pytest.approx((1.0, 1.0))
    assert scores.ap == pytest.approx(0.7, abs=1e-6)  # 0.50 to 0.80, of ten overlaps


def test_the_wrong_class_and_a_second_detection_of_one_box_are_wrong() -> None:
    assert score([found([SMALL], [0.9], [1])], [truth([SMALL], [0])]).ap_of_class[0] == 0.0
    twice = score([found([SMALL, SMALL, LARGE], [0.9, 0.8, 0.7], [0, 0, 0])], [truth([SMALL, LARGE], [0, 0])])
    once = score([found([SMALL, LARGE], [0.9, 0.7], [0, 0])], [truth([SMALL, LARGE], [0, 0])])
    assert twice.ap < once.ap == pytest.approx(1.0)


def test_what_lies_on_a_crowd_counts_neither_way() -> None:
    crowd = truth([SMALL, LARGE], [0, 0], [False, True])
    with_extra = score([found([LARGE, SMALL], [0.9, 0.8], [0, 0])], [crowd])
    assert with_extra.ap == pytest.approx(1.0)
    assert score([found([SMALL], [0.8], [0])], [crowd]).ap == pytest.approx(1.0)
