"""What is found, missed and wrongly claimed, as pycocotools counts it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from scalesearch.detection.boxes.decoding import Detections
from scalesearch.detection.boxes.matched import Outcomes, rank_pictures, sort_detections
from scalesearch.detection.data.sample import BoxTruth
from tests.detection.detectors import Truths

Box = tuple[float, float, float, float]
A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 70.0)


def truth(*boxes: tuple[Box, int] | tuple[Box, int, bool]) -> BoxTruth:
    corners = torch.tensor([box for box, *_ in boxes], dtype=torch.float32).reshape(-1, 4)
    return BoxTruth(
        image_id=7,
        original_size=(100, 100),
        boxes_xyxy=corners,
        labels=torch.tensor([label for _, label, *_ in boxes], dtype=torch.int64),
        is_crowd=torch.tensor([any(crowd) for _, _, *crowd in boxes], dtype=torch.bool),
        areas=(corners[:, 2:] - corners[:, :2]).prod(dim=1),
    )


def claims(*boxes: tuple[Box, int, float]) -> Detections:
    return Detections(
        torch.tensor([box for box, *_ in boxes], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([score for *_, score in boxes]),
        torch.tensor([label for _, label, _ in boxes], dtype=torch.int64),
    )


def counts(outcomes: Outcomes) -> tuple[int, int, int]:
    """Found, false alarms, missed."""
    return len(outcomes.found.labels), len(outcomes.false_alarms.labels), len(outcomes.missed_labels)


def test_a_box_found_a_box_missed_and_a_false_alarm_are_told_apart() -> None:
    nowhere = (70.0, 0.0, 80.0, 10.0)
    outcomes = sort_detections(claims((nowhere, 1, 0.9), (A, 0, 0.8)), truth((A, 0), (B, 1)))
    assert outcomes.found.boxes_xyxy.tolist() == [list(A)]
    assert outcomes.found.scores.tolist() == pytest.approx([0.8])
    assert outcomes.false_alarms.boxes_xyxy.tolist() == [list(nowhere)]
    assert (outcomes.missed_xyxy.tolist(), outcomes.missed_labels.tolist()) == ([list(B)], [1])
    assert outcomes.num_mistakes == 2


def test_the_wrong_class_is_a_false_alarm_and_a_miss() -> None:
    assert counts(sort_detections(claims((A, 1, 0.9)), truth((A, 0)))) == (0, 1, 1)


def test_of_two_detections_of_a_box_the_better_score_has_found_it_in_whatever_order() -> None:
    near = (11.0, 10.0, 31.0, 30.0)
    for both in ([(A, 0, 0.5), (near, 0, 0.9)], [(near, 0, 0.9), (A, 0, 0.5)]):
        outcomes = sort_detections(claims(*both), truth((A, 0)))
        assert outcomes.found.boxes_xyxy.tolist() == [list(near)]
        assert outcomes.false_alarms.boxes_xyxy.tolist() == [list(A)]


def test_a_detection_takes_the_box_that_it_overlaps_most_and_leaves_the_other() -> None:
    between = (12.0, 10.0, 32.0, 30.0)
    outcomes = sort_detections(claims((between, 0, 0.9)), truth((A, 0), ((13.0, 10.0, 33.0, 30.0), 0)))
    assert outcomes.missed_xyxy.tolist() == [list(A)]


def test_an_overlap_of_exactly_the_threshold_is_enough() -> None:
    half = (10.0, 10.0, 30.0, 20.0)
    assert counts(sort_detections(claims((half, 0, 0.9)), truth((A, 0)), iou=0.5)) == (1, 0, 0)
    assert counts(sort_detections(claims((half, 0, 0.9)), truth((A, 0)), iou=0.51)) == (0, 1, 1)
    assert counts(sort_detections(claims((A, 0, 0.9)), truth((A, 0)), iou=1.0)) == (1, 0, 0)


def test_a_score_below_the_least_is_no_detection() -> None:
    weak = claims((A, 0, 0.29), (B, 0, 0.3))
    assert counts(sort_detections(weak, truth((A, 0)))) == (0, 1, 1)
    assert counts(sort_detections(weak, truth((A, 0)), least_score=0.1)) == (1, 1, 0)


def test_a_crowd_is_neither_missed_nor_are_detections_on_it_false_alarms() -> None:
    crowd = truth(((0.0, 0.0, 50.0, 50.0), 0, True))
    assert counts(sort_detections(claims(), crowd)) == (0, 0, 0)
    inside, partly = (A, 0, 0.9), ((45.0, 10.0, 75.0, 30.0), 0, 0.8)
    assert counts(sort_detections(claims(inside, inside, partly), crowd)) == (0, 1, 0)
    assert counts(sort_detections(claims((A, 1, 0.9)), crowd)) == (0, 1, 0)  # another class's crowd


def test_nothing_to_find_and_nothing_found_is_no_mistake() -> None:
    assert counts(sort_detections(claims(), truth())) == (0, 0, 0)
    assert counts(sort_detections(claims((A, 0, 0.9)), truth())) == (0, 1, 0)


def test_pictures_with_most_mistakes_come_first_and_equals_in_their_order() -> None:
    source = Truths([truth((A, 0)), truth((A, 0), (B, 1)), truth((B, 1)), truth()])
    found = [claims((A, 0, 0.9)), claims((A, 1, 0.9)), claims(), claims((A, 0, 0.9))]
    ranked = rank_pictures(found, source)
    assert [(index, outcomes.num_mistakes) for index, outcomes in ranked] == [(1, 3), (2, 1), (3, 1), (0, 0)]
    assert [index for index, _ in rank_pictures(found, source, least_score=0.95)] == [1, 0, 2, 3]


# Few places on a coarse grid, so that boxes coincide, overlaps tie and thresholds are met exactly.
_sides = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3), st.integers(1, 3))
_boxes = _sides.map(lambda box: (8.0 * box[0], 8.0 * box[1], 8.0 * (box[0] + box[2]), 8.0 * (box[1] + box[3])))
_truths = st.lists(st.tuples(_boxes, st.integers(0, 1), st.booleans()), max_size=6)
_claims = st.lists(st.tuples(_boxes, st.integers(0, 1), st.sampled_from([0.3, 0.5, 0.5, 0.7, 0.9])), max_size=8)


@settings(max_examples=150)
@given(boxes=_truths, made=_claims)
def test_the_counts_are_pycocotools_own(
    boxes: Sequence[tuple[Box, int, bool]], made: Sequence[tuple[Box, int, float]]
) -> None:
    assert counts(sort_detections(claims(*made), truth(*boxes))) == pycocotools_counts(boxes, made)


def pycocotools_counts(
    boxes: Sequence[tuple[Box, int, bool]], made: Sequence[tuple[Box, int, float]]
) -> tuple[int, int, int]:
    truths = [describe(box, label, number, iscrowd=int(crowd)) for number, (box, label, crowd) in enumerate(boxes, 1)]
    found = [describe(box, label, number, score=score, iscrowd=0) for number, (box, label, score) in enumerate(made, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(index(truths), index(found), "bbox")
        evaluation.params.iouThrs = evaluation.params.iouThrs[:1]
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.evaluate()
    right = alarms = missed = 0
    for each in filter(None, evaluation.evalImgs):
        counted = ~each["dtIgnore"][0].astype(bool)
        right += int((each["dtMatches"][0][counted] > 0).sum())
        alarms += int((each["dtMatches"][0][counted] == 0).sum())
        missed += int((each["gtMatches"][0][~each["gtIgnore"].astype(bool)] == 0).sum())
    return right, alarms, missed


def describe(box: Box, label: int, number: int, **others: Any) -> dict[str, Any]:
    left, top, right, bottom = box
    size = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
    return {"id": number, "image_id": 1, "category_id": label, **size, **others}


def index(annotations: list[dict[str, Any]]) -> COCO:
    api = COCO()
    api.dataset = {"images": [{"id": 1}], "annotations": annotations, "categories": [{"id": 0}, {"id": 1}]}
    api.createIndex()
    return api
