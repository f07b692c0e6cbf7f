"""Anchors and offsets: where they lie, their order, and that encoding and decoding undo each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.detection.boxes.anchors import decode_boxes, encode_boxes, flatten_outputs, make_anchors
from scalesearch.detection.nn.detector import build_detector
from tests.detection.detectors import tiny_spec


def test_the_first_anchors_are_the_sizes_and_shapes_around_the_first_cells_center() -> None:
    anchors = make_anchors(tiny_spec(num_scales=2, anchor_scale=4.0, aspect_ratios=((1.0, 1.0), (1.4, 0.7))))
    half = 4.0 * 8 / 2
    torch.testing.assert_close(anchors[0], torch.tensor([4 - half, 4 - half, 4 + half, 4 + half]))
    torch.testing.assert_close(
        anchors[1], torch.tensor([4 - 1.4 * half, 4 - 0.7 * half, 4 + 1.4 * half, 4 + 0.7 * half])
    )
    larger = half * 2**0.5
    torch.testing.assert_close(anchors[2], torch.tensor([4 - larger, 4 - larger, 4 + larger, 4 + larger]))
    # the next cell is the one to the right
    torch.testing.assert_close(anchors[4], torch.tensor([12 - half, 4 - half, 12 + half, 4 + half]))


@pytest.mark.parametrize("image_size", [64, 72, 100])
def test_there_is_an_anchor_for_each_output_of_the_heads(image_size: int) -> None:
    spec = tiny_spec(image_size=image_size)
    classes, boxes = build_detector(spec).eval()(torch.zeros(2, 3, image_size, image_size))
    anchors = make_anchors(spec)
    assert flatten_outputs(classes, spec.num_anchors).shape == (2, len(anchors), 3)
    assert flatten_outputs(boxes, spec.num_anchors).shape == (2, len(anchors), 4)


def test_outputs_are_flattened_in_the_order_of_the_anchors() -> None:
    spec = tiny_spec(image_size=64)
    number, outputs = 0, []
    for size in spec.sizes:  # numbers as they should come out, put where a head puts them
        cells = torch.arange(number, number + size * size * spec.num_anchors).reshape(size, size, spec.num_anchors)
        outputs.append(cells.permute(2, 0, 1)[None].float())
        number += cells.numel()
    flat = flatten_outputs(outputs, spec.num_anchors)
    torch.testing.assert_close(flat[0, :, 0], torch.arange(number).float())


def test_offsets_of_zero_are_the_anchor_and_vertical_ones_come_first() -> None:
    anchor = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    torch.testing.assert_close(decode_boxes(torch.zeros(1, 4), anchor), anchor)
    moved = decode_boxes(torch.tensor([[0.5, 0.25, 0.0, 0.0]]), anchor)
    torch.testing.assert_close(moved, torch.tensor([[15.0, 40.0, 35.0, 80.0]]))
    grown = decode_boxes(torch.tensor([[0.0, 0.0, 2.0, 1.0]]).log().nan_to_num(0, neginf=0), anchor)
    torch.testing.assert_close(grown, torch.tensor([[10.0, 0.0, 30.0, 80.0]]))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31))
def test_decoding_undoes_encoding(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(20, 2, 2, generator=generator) * 500
    boxes = torch.cat([corners.amin(1), corners.amax(1) + 10], dim=1)
    anchors = boxes[torch.randperm(20, generator=generator)]
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, rtol=1e-4, atol=1e-2)


def test_an_untrained_output_does_not_overflow() -> None:
    assert decode_boxes(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0.0, 8.0, 8.0]])).isfinite().all()
