import json
import re

import pytest
import torch

from scalesearch.detection.data.cleaning import NO_AREA, NO_BOX, OUTSIDE, UNKNOWN_CATEGORY, UNKNOWN_IMAGE
from scalesearch.detection.data.coco import CocoFiles, open_coco
from scalesearch.errors import DataError


def open_root(root):
    splits = ("train", "val", "test")
    return open_coco({name: CocoFiles(root / f"instances_{name}.json", root / "images") for name in splits})


def test_boxes_labels_crowds_and_areas_are_exact(tmp_path, write_coco, annotate):
    root = write_coco(
        tmp_path,
        [
            annotate(2, (10.5, 5, 20, 8.25), 7, area=99.5),
            annotate(2, (0, 0, 40, 30), 3, iscrowd=1),
            annotate(0, (1, 2, 3, 4), 3, area=0),
        ],
    )
    train = open_root(root).train
    assert len(train) == 4
    sample = train.read(2)
    assert sample.boxes_xyxy.tolist() == [[10.5, 5.0, 30.5, 13.25], [0.0, 0.0, 40.0, 30.0]]
    assert sample.labels.tolist() == [1, 0]
    assert sample.is_crowd.tolist() == [False, True]
    assert sample.areas.tolist() == [99.5, 1200.0]
    assert train.read_truth(0).areas.tolist() == [12.0]
    assert torch.equal(train.read_truth(2).boxes_xyxy, sample.boxes_xyxy)
    assert train.describe(2) == "2.png"


def test_labels_are_the_ranks_of_the_category_ids_which_are_kept(tmp_path, write_coco, annotate):
    opened = open_root(write_coco(tmp_path, [annotate()]))
    assert opened.class_names == ("cat", "dog")
    assert opened.category_ids == (3, 7)


def test_pictures_without_annotation_are_kept(tmp_path, write_coco, annotate):
    train = open_root(write_coco(tmp_path, [annotate(1)])).train
    assert [len(train.read_truth(index).labels) for index in range(4)] == [0, 1, 0, 0]
    assert train.read(3).boxes_xyxy.shape == (0, 4)


def test_splits_without_a_file_are_none(tmp_path, write_coco, annotate):
    opened = open_root(write_coco(write_coco(tmp_path, [annotate()]), [annotate()], split="test"))
    assert opened.val is None
    assert len(opened.test) == 4


def test_every_loss_is_counted_by_its_reason(tmp_path, write_coco, annotate):
    annotations = [
        annotate(bbox=(10, 5, 0, 8)),
        annotate(bbox=(10, 5, -4, 8)),
        annotate(bbox=(40, 5, 9, 8)),
        annotate(bbox=(-5, 5, 10, 100)),
        annotate(bbox=(10, 5, 20)),
        annotate(bbox="10 5 20 8"),
        annotate(bbox=(10, 5, float("nan"), 8)),
        annotate(bbox=(10**400, 5, 20, 8)),
        annotate(image_id=99),
        annotate(image_id=None),
        annotate(category_id=4),
        {"image_id": 0, "category_id": 3},
        annotate(),
    ]
    opened = open_root(write_coco(tmp_path, annotations))
    assert opened.dropped == {
        "train": {NO_AREA: 2, OUTSIDE: 1, NO_BOX: 5, UNKNOWN_IMAGE: 2, UNKNOWN_CATEGORY: 1},
    }
    assert opened.clipped == {"train": 1}
    assert opened.train.read_truth(0).boxes_xyxy.tolist() == [[0.0, 5.0, 5.0, 30.0], [10.0, 5.0, 30.0, 13.0]]


def test_a_json_without_sizes_takes_them_from_the_pictures(tmp_path, write_coco, annotate):
    images = [{"id": 0, "file_name": "0.png"}, {"id": 1, "file_name": "1.png", "width": 0, "height": 0}]
    train = open_root(write_coco(tmp_path, [annotate(bbox=(30, 20, 99, 99))], images=images)).train
    assert [train.read_truth(index).original_size for index in range(2)] == [(30, 40), (30, 40)]
    assert train.read_truth(0).boxes_xyxy.tolist() == [[30.0, 20.0, 40.0, 30.0]]


def test_the_identity_is_the_datas_not_the_places(tmp_path, write_coco, annotate):
    first = open_root(write_coco(tmp_path / "a", [annotate()])).identity
    assert open_root(write_coco(tmp_path / "b", [annotate()])).identity == first
    assert open_root(write_coco(tmp_path / "c", [annotate(bbox=(1, 1, 2, 2))])).identity != first


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "must be a COCO json, got one that cannot be parsed: "),
        ("[" * 100_000, "must be a COCO json, got one that cannot be parsed: "),
        ("[]", "must hold a list of objects as categories, got a list"),
        ('{"categories": [3], "b": 0}', "must hold a list of objects as categories, got the keys ['b', 'categories']"),
        ('{"categories": []}', "categories must hold at least one entry, got none"),
        (
            '{"categories": [{"id": "3", "name": "cat"}]}',
            "categories[0] must have a whole number as id and a name, got",
        ),
        (
            '{"categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]}',
            "categories must have an id of its own each, got 3 twice",
        ),
        (
            '{"categories": [{"id": 3, "name": "cat"}], "images": [{"id": 1}]}',
            "images[0] must have a whole number as id and a file_name, got {'id': 1}",
        ),
        ('{"categories": [{"id": 3, "name": "cat"}], "images": []}', "images must hold at least one entry, got none"),
        (
            '{"categories": [{"id": 3, "name": "cat"}], "images": [{"id": 1, "file_name": "0.png"}]}',
            "must hold a list of objects as annotations, got the keys ['categories', 'images']",
        ),
    ],
)
def test_a_json_that_is_not_cocos_is_refused(tmp_path, text, sentence):
    path = tmp_path / "instances_train.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(f"{path}: {sentence}")):
        open_root(tmp_path)


def test_a_missing_train_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"instances_train\.json: must be a COCO json, got No such file or directory"):
        open_root(tmp_path)


def test_a_missing_picture_is_refused(tmp_path, write_coco, annotate):
    root = write_coco(tmp_path, [annotate()])
    (root / "images" / "2.png").unlink()
    with pytest.raises(
        DataError, match=r"instances_train\.json: every picture must lie in .*images, got 1 missing, first"
    ):
        open_root(root)


def test_categories_that_differ_between_splits_are_refused(tmp_path, write_coco, annotate):
    root = write_coco(tmp_path, [annotate()])
    write_coco(root, [annotate()], split="val", categories=[{"id": 3, "name": "cow"}])
    sentence = r"instances_val\.json: categories must be train's, 3 cat, 7 dog, got 3 cow"
    with pytest.raises(DataError, match=sentence):
        open_root(root)


def test_a_long_list_of_categories_is_named_briefly(tmp_path, write_coco, annotate):
    many = [{"id": number, "name": f"c{number}"} for number in range(8)]
    root = write_coco(write_coco(tmp_path, [annotate()], categories=many), [annotate()], split="val")
    with pytest.raises(DataError, match=r"train's, 0 c0, 1 c1, 2 c2, 3 c3, 4 c4, \.\.\., got 3 cat"):
        open_root(root)


def test_bccd_has_its_known_pictures_and_boxes(bccd):
    opened = open_root(bccd)
    splits = [opened.train, opened.val, opened.test]
    assert [len(source) for source in splits] == [205, 87, 72]
    assert [sum(len(truth.labels) for truth in source.truths) for source in splits] == [2804, 1137, 945]
    assert opened.class_names == ("RBC", "WBC", "Platelets")
    assert opened.dropped == {"train": {}, "val": {}, "test": {}}
    assert opened.clipped == {"train": 0, "val": 0, "test": 0}
    assert opened.val.read(0).image.shape == (3, 480, 640)


def test_bccds_boxes_are_those_of_its_json(bccd):
    content = json.loads((bccd / "instances_val.json").read_text(encoding="utf-8"))
    val = open_root(bccd).val
    for index, image in enumerate(content["images"]):
        boxes = [each["bbox"] for each in content["annotations"] if each["image_id"] == image["id"]]
        truth = val.read_truth(index)
        assert truth.image_id == image["id"]
        assert [[x, y, x + w, y + h] for x, y, w, h in boxes] == truth.boxes_xyxy.tolist()
