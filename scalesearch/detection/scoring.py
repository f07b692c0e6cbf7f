"""Average precision as COCO defines it, counted by pycocotools.

Detections and boxes are compared in the annotated picture's pixels. Crowds are ignored as COCO does: what overlaps them
counts neither way. AP is the mean over overlaps of 0.50 to 0.95, small is an area under 32^2 pixels, large one of 96^2
or more.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from scalesearch.data.transforms import Normalisation
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.boxes.anchors import flatten_outputs, make_anchors
from scalesearch.detection.boxes.decoding import DecodingConfig, Detections, decode_detections
from scalesearch.detection.data.batches import box_batches
from scalesearch.detection.data.sample import BoxSource
from scalesearch.errors import DivergenceError
from scalesearch.measure.training import evaluating

_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")  # pycocotools' first six, in its order


@dataclass(frozen=True, slots=True)
class DetectionScores:
    """Average precisions in [0, 1]; NaN where there is no box to find.

    Attributes:
        ap: Mean over ten overlaps.
        ap50: At an overlap of 0.50.
        ap75: At an overlap of 0.75.
        ap_small: Of boxes under 32^2 pixels.
        ap_medium: Of those between.
        ap_large: Of boxes of 96^2 pixels or more.
        ap_of_class: Of each class, over ten overlaps.
        num_images: Pictures that were looked at.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ap_of_class: tuple[float, ...]
    num_images: int


def detect(
    detector: nn.Module,
    spec: DetectorSpec,
    source: BoxSource,
    normalisation: Normalisation,
    *,
    config: DecodingConfig | None = None,
    batch_size: int = 16,
    device: str = "cpu",
) -> list[Detections]:
    """Return the detections of each picture, in pixels of the picture as annotated, in the order of the source.

    The detector runs in eval mode; every part of it is put back into its own.

    Raises:
        DivergenceError: An output is not finite.
    """
    config = config or DecodingConfig()
    anchors, size = make_anchors(spec), (spec.image_size, spec.image_size)
    detector.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    found: list[Detections] = []
    with evaluating(detector), torch.inference_mode():
        for batch in box_batches(
            source,
            normalisation,
            batch_size=batch_size,
            image_size=spec.image_size,
            augmentation=None,
            shuffle=False,
            drop_last=False,
        ):
            outputs = detector(batch.images.to(device, memory_format=torch.channels_last))
            logits, offsets = (flatten_outputs(each, spec.num_anchors).float().cpu() for each in outputs)
            if not (logits.isfinite().all() and offsets.isfinite().all()):
                raise DivergenceError("the detector's outputs on the evaluation images are not finite")
            boxes = decode_detections(logits, offsets, anchors, image_size=size, config=config)
            found += [
                Detections(box.to_picture(each.boxes_xyxy), each.scores, each.labels)
                for box, each in zip(batch.letterboxes, boxes, strict=True)
            ]
    return found


def score_detections(detections: Sequence[Detections], source: BoxSource, num_classes: int) -> DetectionScores:
    """Return how well the detections of each picture of the source, in its order, find the boxes."""
    assert len(detections) == len(source), "one list of detections for each picture"
    truths = _truths(source, num_classes)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        found = _index({**truths, "annotations": _results(detections)})
        evaluation = COCOeval(_index(truths), found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][..., 0, -1]  # (overlaps, recalls, classes) of all areas, 100 detections
    return DetectionScores(
        **{name: _or_nan(value) for name, value in zip(_NAMES, evaluation.stats, strict=False)},
        ap_of_class=tuple(_mean(precision[:, :, label]) for label in range(num_classes)),
        num_images=len(source),
    )


def _index(dataset: Any) -> COCO:  # noqa: ANN401 (pycocotools reads json)
    """Return the API over a data set that is in memory; its own way in fails on a set without detections."""
    api = COCO()
    api.dataset = dataset
    api.createIndex()
    return api


def _truths(source: BoxSource, num_classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    images = []
    for index in range(len(source)):
        truth = source.read_truth(index)
        height, width = truth.original_size
        images.append({"id": index, "height": height, "width": width})
        for box, label, is_crowd, area in zip(
            truth.boxes_xyxy.tolist(), truth.labels.tolist(), truth.is_crowd.tolist(), truth.areas.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 means unmatched to pycocotools
                    "image_id": index,
                    "category_id": label,
                    "bbox": _corner_and_size(box),
                    "area": area,
                    "iscrowd": int(is_crowd),
                }
            )
    return {"images": images, "annotations": annotations, "categories": [{"id": each} for each in range(num_classes)]}


def _results(detections: Sequence[Detections]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for index, found in enumerate(detections):
        for box, score, label in zip(*(part.tolist() for part in found), strict=True):
            x, y, width, height = _corner_and_size(box)
            results.append(
                {
                    "id": len(results) + 1,
                    "image_id": index,
                    "category_id": label,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return results


def _corner_and_size(box: Sequence[float]) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]


def _mean(precision: np.ndarray[Any, Any]) -> float:
    seen = precision[precision > -1]
    return float(seen.mean()) if seen.size else math.nan


def _or_nan(value: float) -> float:
    return math.nan if value < 0 else float(value)
