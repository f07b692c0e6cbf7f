"""COCO's layout: one json a split, pictures in folders.

Of the json, ``images``, ``annotations`` and ``categories`` are read (https://cocodataset.org/#format-data). Labels are
the ranks of the category ids, which need not be consecutive: COCO's own go to 90 for 80 classes. The ids are kept for
writing predictions back. Boxes of ``iscrowd`` are kept for scoring and marked; pictures without a box are kept.
A box that is malformed, empty or outside its picture is left out, one that reaches out is cut, and both are counted;
an annotation of a picture or category that the json does not list is left out likewise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from scalesearch.data.decoding import MOST_PIXELS
from scalesearch.detection.data.cleaning import (
    NO_BOX,
    UNKNOWN_CATEGORY,
    UNKNOWN_IMAGE,
    StatedBox,
    Tally,
    UnusableBoxError,
    build_truth,
)
from scalesearch.detection.data.pictures import PictureSource, check_present, identify, read_size
from scalesearch.detection.data.sample import BoxSplits
from scalesearch.errors import DataError, is_text, shown

_Entry = Mapping[str, Any]
# Category ids and names, in the order of the ids.
_Categories = dict[int, str]


@dataclass(frozen=True)
class CocoFiles:
    """Where one split lies; without the annotation file there is no such split."""

    annotations: Path
    images: Path


@dataclass(frozen=True, eq=False)
class _Document:
    """A parsed json; the pictures by their ids."""

    path: Path
    text: bytes
    images: dict[int, _Entry]
    annotations: list[_Entry]
    categories: _Categories


def open_coco(files: Mapping[str, CocoFiles]) -> BoxSplits:
    """Read the splits whose annotation file exists, of ``train``, ``val`` and ``test``.

    Raises:
        DataError: No file for train; a file that is no COCO json; two pictures or categories of one id; a picture
            that is missing; or categories that differ between the splits.
    """
    found = {name: split for name, split in files.items() if name == "train" or split.annotations.exists()}
    documents = {name: _read(split.annotations) for name, split in found.items()}
    categories = documents["train"].categories
    for document in documents.values():
        _check_categories(document, categories)
    tallies = {name: Tally() for name in found}
    sources = {name: _open_split(document, found[name].images, tallies[name]) for name, document in documents.items()}
    return BoxSplits(
        train=sources["train"],
        val=sources.get("val"),
        test=sources.get("test"),
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        identity=identify([document.text for document in documents.values()], list(sources.values())),
        dropped={name: dict(tally.dropped) for name, tally in tallies.items()},
        clipped={name: tally.clipped for name, tally in tallies.items()},
    )


def _read(path: Path) -> _Document:
    try:
        text = path.read_bytes()
        content = json.loads(text)
    except OSError as error:
        raise DataError(f"{path}: must be a COCO json, got {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be a COCO json, got one that cannot be parsed: {error}") from error
    named = _by_id(path, "categories", _find_list(path, content, "categories"), "name")
    return _Document(
        path=path,
        text=text,
        images=_by_id(path, "images", _find_list(path, content, "images"), "file_name"),
        annotations=_find_list(path, content, "annotations"),
        categories={number: named[number]["name"] for number in sorted(named)},
    )


def _find_list(path: Path, content: object, key: str) -> list[_Entry]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        got = f"the keys {shown(sorted(content))}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise DataError(f"{path}: must hold a list of objects as {key}, got {got}")
    return entries


def _by_id(path: Path, key: str, entries: list[_Entry], name: str) -> dict[int, _Entry]:
    """Return a list's entries by their ids; ``name`` is the other key that each must have."""
    numbered: dict[int, _Entry] = {}
    for rank, entry in enumerate(entries):
        if not isinstance(entry.get("id"), int) or not is_text(entry.get(name)):
            raise DataError(
                f"{path}: {key}[{rank}] must have a whole number as id and a {name}, got {shown(dict(entry))}"
            )
        if entry["id"] in numbered:
            raise DataError(f"{path}: {key} must have an id of its own each, got {entry['id']} twice")
        numbered[entry["id"]] = entry
    if not numbered:
        raise DataError(f"{path}: {key} must hold at least one entry, got none")
    return numbered


def _check_categories(document: _Document, expected: _Categories) -> None:
    if document.categories != expected:
        raise DataError(
            f"{document.path}: categories must be train's, {_name(expected)}, got {_name(document.categories)}"
        )


def _name(categories: _Categories) -> str:
    shown = [f"{number} {name}" for number, name in list(categories.items())[:5]]
    return ", ".join(shown) + (", ..." if len(categories) > 5 else "")


def _open_split(document: _Document, folder: Path, tally: Tally) -> PictureSource:
    names = tuple(str(image["file_name"]) for image in document.images.values())
    check_present(folder, names, str(document.path))
    sizes = {number: _size(image, folder) for number, image in document.images.items()}
    labels = {number: label for label, number in enumerate(document.categories)}
    boxes: dict[int, list[StatedBox]] = {number: [] for number in sizes}
    for annotation in document.annotations:
        try:
            number = _find_image(annotation, sizes)
            boxes[number].append(tally.clean(_state(annotation, labels), sizes[number]))
        except UnusableBoxError as reason:
            tally.drop(reason)
    truths = tuple(build_truth(number, size, boxes[number]) for number, size in sizes.items())
    return PictureSource(folder, names, truths, document.path.name)


def _find_image(annotation: _Entry, sizes: Mapping[int, tuple[int, int]]) -> int:
    number = annotation.get("image_id")
    if not isinstance(number, int) or number not in sizes:
        raise UnusableBoxError(UNKNOWN_IMAGE)
    return number


def _size(image: _Entry, folder: Path) -> tuple[int, int]:
    """Return height and width as stated, or from the file's head where they are not."""
    stated = image.get("height"), image.get("width")
    if all(isinstance(side, int) and 0 < side <= MOST_PIXELS for side in stated):
        return int(image["height"]), int(image["width"])
    return read_size(folder / image["file_name"])


def _state(annotation: _Entry, labels: Mapping[int, int]) -> StatedBox:
    category = annotation.get("category_id")
    if not isinstance(category, int) or category not in labels:
        raise UnusableBoxError(UNKNOWN_CATEGORY)
    box, area = annotation.get("bbox"), annotation.get("area")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_finite(number) for number in box):
        raise UnusableBoxError(NO_BOX)
    left, top, width, height = (float(number) for number in box)
    return StatedBox(
        corners=(left, top, left + width, top + height),
        label=labels[category],
        is_crowd=bool(annotation.get("iscrowd", 0)),
        area=float(area) if _is_finite(area) and area > 0 else None,
    )


def _is_finite(number: object) -> TypeGuard[float]:
    # A json's whole number may have a thousand digits, which no float holds.
    return isinstance(number, int | float) and abs(number) <= sys.float_info.max
