"""Pictures with boxes from files to batches: what is kept, what is counted as lost, and where boxes lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scalesearch.detection.data import BoxAugmentation, BoxData, BoxDataConfig, Letterbox, box_batches, load_box_data
from scalesearch.errors import ConfigError, DataError

GOOD = [10, 20, 30, 10]  # x, y, width, height, as COCO states it


def write_coco(root: Path, annotations: list[dict[str, Any]], split: str = "train", num_images: int = 3) -> None:
    (root / "images").mkdir(parents=True, exist_ok=True)
    images = []
    for number in range(1, num_images + 1):
        name = f"{split}{number}.png"
        Image.fromarray(np.full((60, 80, 3), 20 * number, dtype=np.uint8)).save(root / "images" / name)
        images.append({"id": 10 * number, "file_name": name, "height": 60, "width": 80})
    categories = [{"id": 7, "name": "cell"}, {"id": 3, "name": "plate"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")


def stated(bbox: list[float], image: int = 10, category: int = 7, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, **more}


def load(root: Path, **changes: Any) -> BoxData:
    return load_box_data(BoxDataConfig(**{"format": "coco", "root": str(root), "val_fraction": 0.34, **changes}))


def test_categories_are_numbered_by_their_ids_and_keep_them_for_the_way_back(tmp_path: Path) -> None:
    write_coco(tmp_path, [stated(GOOD), stated([0, 0, 5, 5], category=3, iscrowd=1, area=12.5)])
    write_coco(tmp_path, [stated(GOOD)], "val")
    data = load(tmp_path)
    assert (data.class_names, data.category_ids) == (("plate", "cell"), (3, 7))
    truth = data.train.read_truth(0)
    assert truth.boxes_xyxy.tolist() == [[10, 20, 40, 30], [0, 0, 5, 5]]
    assert truth.labels.tolist() == [1, 0]
    assert truth.is_crowd.tolist() == [False, True]
    assert truth.areas.tolist() == [300, 12.5]
    assert (len(data.train), len(data.val), data.test) == (3, 3, None)
    assert data.train.read_truth(2).boxes_xyxy.shape == (0, 4)  # a picture without boxes stays


def test_boxes_that_cannot_be_used_are_counted_by_reason_and_those_that_reach_out_are_cut(tmp_path: Path) -> None:
    bad = [
        stated([5, 5, 0, 10]),
        stated([5, 5, -3, 10]),
        stated([90, 5, 10, 10]),
        stated(GOOD, image=99),
        stated(GOOD, category=99),
        stated([1, 2, 3]),
    ]
    write_coco(tmp_path, [stated(GOOD), stated([70, 50, 30, 30]), *bad])
    write_coco(tmp_path, [stated(GOOD)], "val")
    data = load(tmp_path)
    assert data.train.read_truth(0).boxes_xyxy.tolist() == [[10, 20, 40, 30], [70, 50, 80, 60]]
    assert data.dropped["train"] == {
        "box without area": 2,
        "box outside its picture": 1,
        "annotation of an unknown image": 1,
        "annotation of an unknown category": 1,
        "annotation without four finite numbers": 1,
    }
    assert data.clipped["train"] == 1
    assert data.dropped["val"] == {}


def test_without_a_val_file_val_comes_off_train(tmp_path: Path) -> None:
    write_coco(tmp_path, [stated(GOOD, image=10 * number) for number in range(1, 7)], num_images=6)
    data = load(tmp_path)
    ids = [{source.read_truth(index).image_id for index in range(len(source))} for source in (data.train, data.val)]
    assert ids[0] | ids[1] == {10, 20, 30, 40, 50, 60}
    assert not ids[0] & ids[1]


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances_train\.json: must be a COCO json, got No such file"):
        load(tmp_path)
    (tmp_path / "instances_train.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"instances_train\.json: must be a COCO json, got one that cannot be parsed"):
        load(tmp_path)
    write_coco(tmp_path, [stated([1, 1, 0, 0])])
    with pytest.raises(DataError, match="train: needs at least one box to train on, got none in"):
        load(tmp_path)
    write_coco(tmp_path, [stated(GOOD)])
    (tmp_path / "images" / "train2.png").unlink()
    with pytest.raises(DataError, match=r"train2\.png"):
        load(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.root must say where the coco data are, got an empty one"):
        BoxDataConfig(format="coco")


def test_bccd_has_its_pictures_and_boxes(shared: Path) -> None:
    data = load(shared / "data" / "bccd")
    assert data.test is not None
    sources = (data.train, data.val, data.test)
    assert [len(source) for source in sources] == [205, 87, 72]
    boxes = [sum(len(source.read_truth(index).labels) for index in range(len(source))) for source in sources]
    lost = [sum(data.dropped[name].values()) for name in ("train", "val", "test")]
    assert [kept + gone for kept, gone in zip(boxes, lost, strict=True)] == [2804, 1137, 945]
    assert data.num_classes == 3


@pytest.fixture(scope="module")
def made() -> BoxData:
    return load_box_data(BoxDataConfig(made_train_images=12, made_val_images=4, made_test_images=4, made_image_size=96))


@pytest.mark.parametrize("mosaic_share", [0.0, 1.0])
def test_boxes_of_augmented_batches_lie_inside_and_a_seed_decides_them(made: BoxData, mosaic_share: float) -> None:
    augmentation = BoxAugmentation(min_scale=0.3, max_scale=2.0, mosaic_share=mosaic_share, colour_jitter=0.3)
    batches = []
    for _ in range(2):
        torch.manual_seed(3)
        batches.append(
            next(
                box_batches(
                    made.train,
                    made.normalisation,
                    batch_size=12,
                    image_size=80,
                    augmentation=augmentation,
                    shuffle=True,
                    drop_last=True,
                )
            )
        )
    one, again = batches
    assert torch.equal(one.images, again.images)
    assert one.images.shape == (12, 3, 80, 80)
    for boxes, same, labels in zip(one.boxes_xyxy, again.boxes_xyxy, one.labels, strict=True):
        assert torch.equal(boxes, same)
        assert len(boxes) == len(labels)
        assert (boxes >= 0).all()
        assert (boxes <= 80).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert sum(map(len, one.labels)) > 0


def test_made_pictures_are_the_same_each_time(made: BoxData) -> None:
    again = load_box_data(
        BoxDataConfig(made_train_images=12, made_val_images=4, made_test_images=4, made_image_size=96)
    )
    assert again.identity == made.identity
    assert torch.equal(again.train.read(5).image, made.train.read(5).image)
    other = load_box_data(
        BoxDataConfig(made_train_images=12, made_val_images=4, made_test_images=4, made_image_size=96, seed=1)
    )
    assert other.identity != made.identity


@settings(max_examples=100, deadline=None)
@given(height=st.integers(8, 900), width=st.integers(8, 900), size=st.integers(16, 640), seed=st.integers(0, 2**31))
def test_a_box_comes_back_from_the_square_to_where_it_was(height: int, width: int, size: int, seed: int) -> None:
    box = Letterbox((height, width), size)
    corners = torch.rand(5, 2, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([width, height])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    square = box.to_square(boxes)
    assert (square <= size + 1e-3).all()
    torch.testing.assert_close(box.to_picture(square), boxes, rtol=1e-4, atol=1e-3)
