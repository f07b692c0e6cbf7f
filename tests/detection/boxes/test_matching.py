"""Which anchor answers for which box."""

from __future__ import annotations

import torch

from scalesearch.detection.boxes.matching import BACKGROUND, match_anchors

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 20], [40, 40, 50, 50], [60, 60, 64, 64]])


def test_an_anchor_answers_for_the_box_that_it_overlaps_most_from_the_threshold_on() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 8], [0, 0, 18, 20]])
    labels, owners = match_anchors(ANCHORS, boxes, torch.tensor([2, 0]))
    assert labels.tolist() == [2, 0, BACKGROUND, BACKGROUND]
    torch.testing.assert_close(owners[:2], boxes)


def test_a_box_that_no_anchor_overlaps_enough_has_its_best_one() -> None:
    labels, owners = match_anchors(ANCHORS, torch.tensor([[46.0, 46, 60, 60]]), torch.tensor([1]))
    assert labels.tolist() == [BACKGROUND, BACKGROUND, 1, BACKGROUND]
    torch.testing.assert_close(owners[2], torch.tensor([46.0, 46, 60, 60]))


def test_of_two_boxes_with_one_best_anchor_the_closer_one_has_it() -> None:
    far, near = [41.0, 41, 43, 43], [40.0, 40, 44, 44]
    for boxes, closer in ((torch.tensor([far, near]), 1), (torch.tensor([near, far]), 0)):
        labels, _ = match_anchors(ANCHORS, boxes, torch.tensor([0, 1]))
        assert labels[2] == closer


def test_an_image_without_boxes_is_background() -> None:
    labels, owners = match_anchors(ANCHORS, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert labels.tolist() == [BACKGROUND] * 4
    assert owners.shape == (4, 4)
