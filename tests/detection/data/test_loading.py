"""Pictures with boxes from files to batches: what is kept, what is counted as lost, and where boxes lie."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scalesearch.detection.data import (
    BoxData,
    BoxDataConfig,
    BoxSource,
    load_box_data,
)
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


def test_without_a_val_file_val_comes_off_train(tmp_path: Path) -> None:
    write_coco(tmp_path, [stated(GOOD, image=10 * number) for number in range(1, 7)], num_images=6)
    data = load(tmp_path)
    ids = [{source.read_truth(index).image_id for index in range(len(source))} for source in (data.train, data.val)]
    assert ids[0] | ids[1] == {10, 20, 30, 40, 50, 60}
    assert not ids[0] & ids[1]


@pytest.fixture(scope="module")
def made() -> BoxData:
    return load_box_data(BoxDataConfig(made_train_images=12, made_val_images=4, made_test_images=4, made_image_size=96))


def ids_of(source: BoxSource) -> list[int]:
    return [source.read_truth(index).image_id for index in range(len(source))]


def six_pictures(root: Path, **changes: Any) -> BoxData:
    if not (root / "instances_train.json").exists():
        write_coco(root, [stated(GOOD, image=10 * number) for number in range(1, 7)], num_images=6)
        write_coco(root, [stated(GOOD)], "test")
    return load(root, **changes)


def test_importing_the_package_loads_neither_scikit_learn_nor_scikit_image() -> None:
    program = "import sys, scalesearch.detection.data; print({'sklearn', 'skimage'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_default_needs_no_files_and_brings_three_splits(made: BoxData) -> None:
    assert made.test is not None
    assert [len(source) for source in (made.train, made.val, made.test)] == [12, 4, 4]
    assert made.num_classes == 10
    assert made.clipped == {"train": 0, "val": 0, "test": 0}


def test_the_seed_decides_which_pictures_val_takes_and_the_identity_tells(tmp_path: Path) -> None:
    loaded = [six_pictures(tmp_path, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert ids_of(loaded[0].val) == ids_of(loaded[1].val)
    assert loaded[0].identity == loaded[1].identity
    by_val = {tuple(ids_of(data.val)): data.identity for data in loaded}
    assert len(by_val) > 1
    assert len(set(by_val.values())) == len(by_val)
    assert all(len(data.val) == 2 for data in loaded)


def test_limits_choose_by_the_seed_and_a_larger_one_chooses_the_same_and_more(tmp_path: Path) -> None:
    small, large, other = (
        six_pictures(tmp_path, max_train_images=limit, max_test_images=1, seed=seed)
        for limit, seed in ((2, 0), (3, 0), (2, 1))
    )
    assert (len(small.train), len(large.train), len(small.val)) == (2, 3, 2)
    assert small.test is not None
    assert len(small.test) == 1
    assert set(ids_of(small.train)) < set(ids_of(large.train))
    assert ids_of(small.train) != ids_of(other.train)
    assert len({small.identity, large.identity, other.identity}) == 3


def test_other_paths_can_be_named_as_cocos_own_are(tmp_path: Path) -> None:
    write_coco(tmp_path, [stated(GOOD)])
    write_coco(tmp_path, [stated(GOOD)], "val")
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / f"instances_{split}.json").rename(tmp_path / "annotations" / f"instances_{split}2017.json")
        (tmp_path / f"{split}2017").mkdir()
        for picture in (tmp_path / "images").glob(f"{split}*"):
            picture.rename(tmp_path / f"{split}2017" / picture.name)
    paths = {f"{split}_annotations": f"annotations/instances_{split}2017.json" for split in ("train", "val")}
    folders = {f"{split}_images": f"{split}2017" for split in ("train", "val")}
    data = load(tmp_path, **paths, **folders)
    assert (len(data.train), len(data.val), data.test) == (3, 3, None)


def test_what_is_lost_and_a_class_without_boxes_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = stated(GOOD, category=3, iscrowd=1)
    write_coco(tmp_path, [stated(GOOD), crowd, stated([5, 5, 0, 10]), stated([70, 5, 30, 10])])
    write_coco(tmp_path, [stated(GOOD)], "val")
    with caplog.at_level(logging.INFO):
        load(tmp_path)
    assert "train has no box of 1 of 2 classes: plate" in caplog.text
    assert "train: left out 1 times: box without area" in caplog.text
    assert "train: cut 1 boxes at the edge of their picture" in caplog.text


def test_a_single_picture_cannot_give_a_val_split(tmp_path: Path) -> None:
    write_coco(tmp_path, [stated(GOOD)], num_images=1)
    with pytest.raises(DataError, match="val needs at least one picture, but train has only 1 to give"):
        load(tmp_path)


def test_a_format_set_afterwards_is_still_checked() -> None:
    config = BoxDataConfig()
    config.format = "yolo"
    with pytest.raises(ConfigError, match=r"data\.format must be a known one, got 'yolo'"):
        load_box_data(config)


def test_the_mean_and_deviation_are_the_training_pictures(tmp_path: Path) -> None:
    data = six_pictures(tmp_path)
    # Picture n is one grey of 20 n, and its id 10 n.
    greys = 2 * np.array(ids_of(data.train)) / 255
    np.testing.assert_allclose(data.normalisation.mean, [greys.mean()] * 3, atol=1e-6)
    np.testing.assert_allclose(data.normalisation.std, [greys.std()] * 3, atol=1e-6)


def test_pictures_are_stored_no_larger_than_asked_for(tmp_path: Path) -> None:
    data = six_pictures(tmp_path, stored_size=40)
    sample = data.train.read(0)
    assert sample.image.shape == (3, 30, 40)
    assert sample.boxes_xyxy.tolist() == [[5.0, 10.0, 20.0, 15.0]]
    assert data.train.read(0) is sample


def test_vocs_layout_loads(tmp_path: Path, write_voc: Any) -> None:
    root = write_voc(tmp_path, {stem: [("dog", (1, 1, 9, 9))] for stem in "abcd"})
    data = load_box_data(BoxDataConfig(format="voc", root=str(root), val_fraction=0.5))
    assert (len(data.train), len(data.val), data.test) == (2, 2, None)
    assert (data.class_names, data.category_ids) == (("dog",), (1,))
