"""A written form whose outputs are not the network's is found out, whatever the difference is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from scalesearch.detection.boxes.decoding import DecodingConfig, decode_detections
from scalesearch.errors import ExportError
from scalesearch.export.checking import largest_difference
from scalesearch.export.graph import Graph, build_graph
from scalesearch.export.models import build_model
from tests.export.exports import new_detector, new_network

Change = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@pytest.fixture(scope="module")
def boxes_graph() -> Graph:
    return build_graph(build_model(new_detector()), DecodingConfig(least_score=0.5, max_detections=300))


def test_outputs_of_the_network_itself_do_not_differ(boxes_graph: Graph) -> None:
    for graph in (build_graph(build_model(new_network())), build_graph(build_model(new_detector())), boxes_graph):
        assert largest_difference(graph, graph.run, "it") == 0.0
        assert all(output.isfinite().all() for output in graph.run(graph.probe(1)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda out: [out[0] + 1e-3], r"it: outputs must be those of the network within 0\.0001, got 0\.000\d+"),
        (lambda out: [out[0] * torch.nan], r"it: outputs must be .*, got inf"),
        (lambda out: [out[0][:, :2]], "it: logits must have the shape 1 x 3, got 1 x 2"),
    ],
)
def test_other_logits_are_refused(change: Change, sentence: str) -> None:
    graph = build_graph(build_model(new_network()))
    with pytest.raises(ExportError, match=f"^{sentence}$"):
        largest_difference(graph, lambda images: change(graph.run(images)), "it")


def test_the_best_boxes_are_those_of_the_detectors_own_decoding(boxes_graph: Graph) -> None:
    model = build_model(new_detector())
    images = boxes_graph.probe(1)
    boxes, scores, labels = boxes_graph.run(images)
    with torch.no_grad():
        all_boxes, all_scores = model(images)
    centers, sides = (all_boxes[0, :, :2] + all_boxes[0, :, 2:]) / 2, all_boxes[0, :, 2:] - all_boxes[0, :, :2]
    as_anchors = torch.cat([centers - sides / 2, centers + sides / 2], dim=1)  # no offset: the boxes are the anchors
    [expected] = decode_detections(
        all_scores.logit(),
        torch.zeros_like(all_boxes),
        as_anchors,
        image_size=(64, 64),
        config=DecodingConfig(least_score=0.5, max_detections=300),
    )
    assert 10 < len(scores) < 300
    torch.testing.assert_close(scores, expected.scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(boxes, expected.boxes_xyxy, rtol=0, atol=1e-3)
    assert torch.equal(labels, expected.labels)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda out: [out[0] * 1.001, *out[1:]], r"it: outputs must be .*, got 0\.00\d+"),
        (lambda out: [out[0], out[1] * torch.nan, out[2]], "it: (outputs must be .*|a (detection|box) .*)"),
        (lambda out: [out[0], out[1], (out[2] + 1) % 3], "it: (outputs must be .*|a (detection|box) .*)"),
        (lambda out: [each[1:] for each in out], "it: a box is missing that no better one suppresses"),
        (lambda out: [torch.cat([each[:1], each]) for each in out], "it: a detection is given that suppression, .*"),
        (lambda out: [each.flip(0) for each in out], "it: a detection is given that suppression, order or .*"),
    ],
)
def test_other_detections_are_refused(boxes_graph: Graph, change: Change, sentence: str) -> None:
    with pytest.raises(ExportError, match=f"^{sentence}$"):
        largest_difference(boxes_graph, lambda images: change(boxes_graph.run(images)), "it")


def test_the_random_images_are_the_same_each_time_and_draw_nothing() -> None:
    graph = build_graph(build_model(new_network()))
    state = torch.random.get_rng_state()
    assert torch.equal(graph.probe(3), graph.probe(3))
    assert torch.equal(torch.random.get_rng_state(), state)
