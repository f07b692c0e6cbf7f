"""Pascal VOC's layout, one xml a picture, or a folder where each xml lies beside its picture.

``ROOT/JPEGImages``, ``ROOT/Annotations`` and ``ROOT/ImageSets/Main/{train,val,test}.txt`` are read where they are
there. Without the first two, pictures and xml lie in ``ROOT`` itself, as labelling tools leave them; without
``ImageSets/Main`` every xml is train. An xml's picture is the one of the same stem.

VOC counts pixels from 1 and includes the last one (VOC2012 development kit, section 4): xmin 1 and xmax 1 is the one
pixel from 0 to 1. Objects marked ``difficult`` are not scored there; here they are crowds, the nearest thing that
COCO's scoring knows. Classes are all names that occur, sorted; their ids for COCO json count from 1.

An xml with a document type is refused and none of its entities reaches the tree: VOC's has none, and entities are how
an xml of a few bytes fills the memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

from scalesearch.data.formats.folder import SUFFIXES
from scalesearch.detection.data.cleaning import NO_ANNOTATION, NO_BOX, StatedBox, Tally, UnusableBoxError, build_truth
from scalesearch.detection.data.pictures import PictureSource, identify, is_below, read_size
from scalesearch.detection.data.sample import SPLITS, BoxSplits
from scalesearch.errors import DataError, shown

_COUNT = re.compile(r"[0-9]{1,9}")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, eq=False)
class _Annotation:
    """A parsed xml, with a number and a picture for it."""

    path: Path
    text: bytes
    root: ElementTree.Element
    image_id: int
    picture: str


def open_voc(root: Path) -> BoxSplits:
    """Read every annotation that the splits list; pictures are opened only where an xml states no size.

    Raises:
        DataError: No annotation; one that is listed but missing, broken or has a document type; an object without a
            name; or a picture that is missing.
    """
    folder, listing = _enter(root, "JPEGImages"), _enter(root, "Annotations")
    pictures = {path.stem: path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    stems = _list_stems(root, listing)
    image_ids = count(1)
    annotations = {
        split: [_read(listing / f"{stem}.xml", next(image_ids), folder, pictures) for stem in listed]
        for split, listed in stems.items()
    }
    class_names = _name_classes(annotations)
    tallies = {split: Tally() for split in annotations}
    sources = {split: _open_split(folder, parsed, class_names, tallies[split]) for split, parsed in annotations.items()}
    if not _lists(root).is_dir():
        tallies["train"].drop(NO_ANNOTATION, len(set(pictures) - set(stems["train"])))
    return BoxSplits(
        train=sources["train"],
        val=sources.get("val"),
        test=sources.get("test"),
        class_names=class_names,
        category_ids=tuple(range(1, len(class_names) + 1)),
        identity=identify([each.text for parsed in annotations.values() for each in parsed], list(sources.values())),
        dropped={split: dict(tally.dropped) for split, tally in tallies.items()},
        clipped={split: tally.clipped for split, tally in tallies.items()},
    )


def _enter(root: Path, name: str) -> Path:
    """Return VOC's own folder of a root, or the root where it has none."""
    folder = root / name if (root / name).is_dir() else root
    if not folder.is_dir():
        raise DataError(f"{root}: root must be a folder in Pascal VOC's layout, got no folder by that name")
    return folder


def _lists(root: Path) -> Path:
    return root / "ImageSets" / "Main"


def _list_stems(root: Path, listing: Path) -> dict[str, list[str]]:
    """Return the names of each split's annotations, without their suffix."""
    if not _lists(root).is_dir():
        stems = {"train": sorted(path.stem for path in listing.glob("*.xml"))}
    else:
        files = {split: _lists(root) / f"{split}.txt" for split in SPLITS}
        stems = {split: _read_list(path) for split, path in files.items() if split == "train" or path.exists()}
    for split, listed in stems.items():
        if not listed:
            raise DataError(f"{root}: {split} must have at least one annotation, got none")
    return stems


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be a text file with a picture's name a line, got {error}") from error
    stems = [line.split()[0] for line in lines if line.strip()]
    outside = next((stem for stem in stems if not is_below(stem)), None)
    if outside is not None:
        raise DataError(f"{path}: every name must stay below the folder of annotations, got {shown(outside)}")
    return stems


class _WithoutDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Refuse a document type, which the parser reports before what it declares."""
        raise ValueError("a document type, which may declare entities")


def _read(path: Path, image_id: int, folder: Path, pictures: Mapping[str, str]) -> _Annotation:
    try:
        text = path.read_bytes()
        root = ElementTree.XML(text, parser=ElementTree.XMLParser(target=_WithoutDoctype()))
    except OSError as error:
        raise DataError(f"{path}: must be an annotation in xml, got {error.strerror or error}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding of no known name
        raise DataError(f"{path}: must be an annotation in plain xml, got {error}") from error
    if root.tag != "annotation":
        raise DataError(f"{path}: the outermost element must be annotation, got {root.tag[:80]}")
    if path.stem not in pictures:
        raise DataError(f"{path}: a picture of the same name must lie in {folder}, got none")
    return _Annotation(path, text, root, image_id, pictures[path.stem])


def _name_classes(annotations: Mapping[str, Sequence[_Annotation]]) -> tuple[str, ...]:
    parsed = [each for part in annotations.values() for each in part]
    names = {_find_name(each.path, entry) for each in parsed for entry in each.root.findall("object")}
    if not names:
        raise DataError(f"{parsed[0].path.parent}: the annotations must hold at least one object, got none")
    return tuple(sorted(names))


def _find_name(path: Path, entry: ElementTree.Element) -> str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{path}: every object must have a name, got one without")
    return name


def _open_split(
    folder: Path, annotations: Sequence[_Annotation], class_names: Sequence[str], tally: Tally
) -> PictureSource:
    labels = {name: label for label, name in enumerate(class_names)}
    truths = []
    for each in annotations:
        size, boxes = _size(each, folder), []
        for entry in each.root.findall("object"):
            try:
                boxes.append(tally.clean(_state(entry, labels[_find_name(each.path, entry)]), size))
            except UnusableBoxError as reason:
                tally.drop(reason)
        truths.append(build_truth(each.image_id, size, boxes))
    return PictureSource(folder, tuple(each.picture for each in annotations), tuple(truths), "its annotation")


def _size(annotation: _Annotation, folder: Path) -> tuple[int, int]:
    """Return height and width as stated, or from the picture's head: some tools state 0, or nothing."""
    stated = [annotation.root.findtext(f"size/{side}", "").strip() for side in ("height", "width")]
    if all(_COUNT.fullmatch(side) and int(side) > 0 for side in stated):
        return int(stated[0]), int(stated[1])
    return read_size(folder / annotation.picture)


def _state(entry: ElementTree.Element, label: int) -> StatedBox:
    try:
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{corner}", "")) for corner in _CORNERS)
    except ValueError as error:
        raise UnusableBoxError(NO_BOX) from error
    return StatedBox(
        # The first pixel is 1, and the last one is part of the box.
        corners=(left - 1.0, top - 1.0, right, bottom),
        label=label,
        is_crowd=entry.findtext("difficult", "0").strip() == "1",
        area=None,
    )
