"""The loss: by hand where that can be done, and that perfect outputs have none."""

from __future__ import annotations

import math

import pytest
import torch

from scalesearch.detection.boxes.anchors import encode_boxes
from scalesearch.detection.boxes.loss import BOX_LOSSES, detection_loss
from scalesearch.detection.boxes.matching import match_anchors

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [40.0, 40, 50, 50], [80.0, 80, 90, 90]])
BOXES = torch.tensor([[1.0, 0, 10, 10]])
MATCH = match_anchors(ANCHORS, BOXES, torch.tensor([1]))


def test_focal_loss_is_the_papers_formula_over_the_positives_plus_one() -> None:
    logits = torch.tensor([[[0.3, -1.0], [0.7, -2.0], [-4.0, 0.0]]])
    loss = detection_loss(logits, torch.zeros(1, 3, 4), ANCHORS, [MATCH])
    p = logits.sigmoid()[0]
    expected = 0.0
    for anchor in range(3):
        for label in range(2):
            is_it = (anchor, label) == (0, 1)
            right = p[anchor, label] if is_it else 1 - p[anchor, label]
            expected -= (0.25 if is_it else 0.75) * (1 - right) ** 1.5 * math.log(right)
    assert loss.classes.item() == pytest.approx(float(expected) / 2)


def test_huber_loss_is_of_the_offsets_of_positives_alone() -> None:
    offsets = torch.full((1, 3, 4), 9.0)
    offsets[0, 0] = encode_boxes(BOXES, ANCHORS[:1])[0] + torch.tensor([0.05, 0.0, 0.3, 0.0])
    loss = detection_loss(torch.zeros(1, 3, 2), offsets, ANCHORS, [MATCH])
    expected = 0.5 * 0.05**2 + 0.1 * (0.3 - 0.05)  # within delta a square, beyond it a line
    assert loss.boxes.item() == pytest.approx(50 / 4 * expected / 2, rel=1e-4)


@pytest.mark.parametrize("box_loss", BOX_LOSSES)
def test_perfect_outputs_lose_nothing(box_loss: str) -> None:
    logits, offsets = torch.full((1, 3, 2), -30.0), torch.full((1, 3, 4), 9.0)
    logits[0, 0, 1] = 30.0
    offsets[0, 0] = encode_boxes(BOXES, ANCHORS[:1])[0]
    loss = detection_loss(logits, offsets, ANCHORS, [MATCH], box_loss=box_loss)
    assert loss.total.item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("box_loss", BOX_LOSSES)
def test_a_batch_without_a_box_has_a_loss_and_a_gradient(box_loss: str) -> None:
    nothing = match_anchors(ANCHORS, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    logits, offsets = torch.zeros(2, 3, 2, requires_grad=True), torch.zeros(2, 3, 4, requires_grad=True)
    loss = detection_loss(logits, offsets, ANCHORS, [nothing, nothing], box_loss=box_loss)
    loss.total.backward()
    assert loss.boxes.item() == 0
    assert loss.classes.item() > 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad > 0).all()
