"""Small data sets with boxes in COCO's and VOC's layout, samples in memory, and the shared data set where it is."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from scalesearch.data.transforms import Normalisation
from scalesearch.detection.data.cleaning import StatedBox, build_truth
from scalesearch.detection.data.sample import BoxSample

CATEGORIES = ({"id": 7, "name": "dog"}, {"id": 3, "name": "cat"})
FOUR_PICTURES = tuple({"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} for number in range(4))


def _write_pictures(folder, names, *, width=40, height=30):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def _write_coco(root, annotations, *, split="train", images=FOUR_PICTURES, categories=CATEGORIES):
    """Write ROOT/instances_SPLIT.json and the pictures it lists, 40 x 30 pixels; return ROOT."""
    _write_pictures(root / "images", [image["file_name"] for image in images])
    content = {"images": list(images), "annotations": list(annotations), "categories": list(categories)}
    (root / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def _annotate(image_id=0, bbox=(10, 5, 20, 8), category_id=3, **others):
    return {"image_id": image_id, "bbox": list(bbox), "category_id": category_id, **others}


def _voc_text(objects, *, width=40, height=30):
    """Return an xml; an object is a name, four corners as VOC counts them, and perhaps more xml."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    parts = []
    for name, box, *more in objects:
        sides = "".join(f"<{side}>{number}</{side}>" for side, number in zip(corners, box, strict=True))
        parts.append(f"<object><name>{name}</name><bndbox>{sides}</bndbox>{''.join(more)}</object>")
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(parts)}</annotation>"


def _write_voc(root, objects_by_stem, *, lists=None):
    """Write VOC's folders, or with ``lists`` None a flat folder; return ROOT."""
    flat = lists is None
    listing = root if flat else root / "Annotations"
    _write_pictures(root if flat else root / "JPEGImages", [f"{stem}.png" for stem in objects_by_stem])
    listing.mkdir(exist_ok=True)
    for stem, objects in objects_by_stem.items():
        (listing / f"{stem}.xml").write_text(_voc_text(objects), encoding="utf-8")
    for split, stems in (lists or {}).items():
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(stems) + "\n", encoding="utf-8")
    return root


def _make_sample(boxes, *, height=30, width=40, labels=None, crowds=(), image_id=1):
    """Return a sample whose pixels are 10 times the label where a box lies, 200 elsewhere."""
    labels = list(range(len(boxes))) if labels is None else labels
    stated = [
        StatedBox(tuple(map(float, box)), label, is_crowd=rank in crowds, area=None)
        for rank, (box, label) in enumerate(zip(boxes, labels, strict=True))
    ]
    truth = build_truth(image_id, (height, width), stated)
    image = torch.full((3, height, width), 200, dtype=torch.uint8)
    for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
        image[:, int(top) : int(bottom), int(left) : int(right)] = 10 * label
    return BoxSample(
        image=image,
        image_id=truth.image_id,
        original_size=truth.original_size,
        boxes_xyxy=truth.boxes_xyxy,
        labels=truth.labels,
        is_crowd=truth.is_crowd,
        areas=truth.areas,
    )


class ListSource:
    """Samples in a list as a source; ``reads`` counts what was decoded."""

    def __init__(self, samples):
        self.samples = samples
        self.reads = []

    def __len__(self):
        return len(self.samples)

    def read(self, index):
        self.reads.append(index)
        return self.samples[index]

    def read_truth(self, index):
        return self.samples[index]

    def describe(self, index):
        return f"sample {index}"


@pytest.fixture
def write_pictures():
    return _write_pictures


@pytest.fixture
def write_coco():
    return _write_coco


@pytest.fixture
def annotate():
    return _annotate


@pytest.fixture
def voc_text():
    return _voc_text


@pytest.fixture
def write_voc():
    return _write_voc


@pytest.fixture
def make_sample():
    return _make_sample


@pytest.fixture
def make_source():
    return ListSource


@pytest.fixture
def grey():
    return Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(scope="session")
def bccd(shared):
    folder = shared / "data" / "bccd"
    if not folder.is_dir():
        pytest.skip(f"the shared data set {folder.name} is not beside this repository")
    return folder
