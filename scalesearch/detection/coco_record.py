"""Detections as COCO json, written picture by picture: the layout that ``scalesearch.detection.data.coco`` reads.

``images``, ``categories`` and ``annotations`` as in https://cocodataset.org/#format-data, each annotation with a
``score``; category ids and names are the training data's own. Numbers are rounded to a thousandth of a pixel, scores to
a millionth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from scalesearch.atomic import replacing
from scalesearch.detection.boxes.decoding import Detections


@dataclass(slots=True, eq=False)
class CocoRecord:
    """A json that is being written: annotations go to the file at once, a line each; pictures follow at the end."""

    file: TextIO
    category_ids: tuple[int, ...]
    images: list[dict[str, Any]] = field(default_factory=list)
    num_annotations: int = 0

    def add(self, name: str, size: tuple[int, int], detections: Detections) -> None:
        """Write the detections of one picture.

        Args:
            name: Of its file, below the folder of pictures.
            size: Height and width in pixels.
            detections: In these pixels.
        """
        height, width = size
        image_id = len(self.images) + 1
        self.images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for box, score, label in zip(*(part.tolist() for part in detections), strict=True):
            self.num_annotations += 1
            entry = {"id": self.num_annotations, "image_id": image_id, "category_id": self.category_ids[label]}
            self.file.write(",\n" if self.num_annotations > 1 else "\n")
            self.file.write(json.dumps({**entry, **_describe(box), "score": round(score, 6), "iscrowd": 0}))


@contextmanager
def write_coco(path: Path, class_names: tuple[str, ...], category_ids: tuple[int, ...]) -> Iterator[CocoRecord]:
    """Open a record; the file is there when the block has ended without an error, whole, and else as it was."""
    categories = [{"id": number, "name": name} for number, name in zip(category_ids, class_names, strict=True)]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        record = CocoRecord(file, category_ids)
        file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')
        yield record
        file.write(f'\n],\n"images": {json.dumps(record.images)}}}\n')


def _describe(box: list[float]) -> dict[str, Any]:
    left, top, right, bottom = box
    corner_and_size = [round(number, 3) for number in (left, top, right - left, bottom - top)]
    return {"bbox": corner_and_size, "area": round(corner_and_size[2] * corner_and_size[3], 3)}
