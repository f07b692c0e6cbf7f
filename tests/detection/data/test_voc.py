import re
import time

import pytest

from scalesearch.detection.data.cleaning import NO_ANNOTATION, NO_AREA, NO_BOX, OUTSIDE
from scalesearch.detection.data.voc import open_voc
from scalesearch.errors import DataError

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "laugh">'
    + "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    + "]><annotation>&e12;</annotation>"
)
FILE = '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/hostname">]><annotation>&f;</annotation>'


def three_pictures(write_voc, root, **settings):
    objects = {"a": [("dog", (1, 1, 1, 1))], "b": [("cat", (5, 6, 10, 12)), ("dog", (1, 1, 40, 30))], "c": []}
    return write_voc(root, objects, **settings)


def test_pixels_counted_from_one_with_the_last_become_corners(tmp_path, write_voc):
    train = open_voc(three_pictures(write_voc, tmp_path)).train
    assert train.read(0).boxes_xyxy.tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert train.read(1).boxes_xyxy.tolist() == [[4.0, 5.0, 10.0, 12.0], [0.0, 0.0, 40.0, 30.0]]
    assert train.read_truth(1).areas.tolist() == [42.0, 1200.0]


def test_classes_are_the_sorted_names_and_count_from_one_in_json(tmp_path, write_voc):
    opened = open_voc(three_pictures(write_voc, tmp_path))
    assert (opened.class_names, opened.category_ids) == (("cat", "dog"), (1, 2))
    assert [opened.train.read_truth(index).labels.tolist() for index in range(3)] == [[1], [0, 1], []]


def test_difficult_objects_are_crowds(tmp_path, write_voc):
    objects = [("a", (1, 1, 9, 9), "<difficult>1</difficult>"), ("a", (1, 1, 9, 9), "<difficult>0</difficult>")]
    train = open_voc(write_voc(tmp_path, {"x": objects})).train
    assert train.read_truth(0).is_crowd.tolist() == [True, False]


def test_the_splits_are_those_of_the_lists(tmp_path, write_voc):
    opened = open_voc(three_pictures(write_voc, tmp_path, lists={"train": ["b"], "val": ["a", "c"]}))
    assert [opened.train.describe(0), opened.val.describe(0), opened.val.describe(1)] == ["b.png", "a.png", "c.png"]
    assert opened.test is None
    assert [opened.train.read_truth(0).image_id, opened.val.read_truth(0).image_id] == [1, 2]
    assert opened.dropped == {"train": {}, "val": {}}


def test_a_class_that_only_val_has_is_a_class(tmp_path, write_voc):
    root = write_voc(
        tmp_path,
        {"a": [("dog", (1, 1, 9, 9))], "b": [("cat", (1, 1, 9, 9))]},
        lists={"train": ["a"], "val": ["b"]},
    )
    assert open_voc(root).class_names == ("cat", "dog")


def test_every_loss_is_counted_by_its_reason(tmp_path, write_voc, write_pictures):
    objects = [
        ("a", (9, 1, 8, 9)),
        ("a", (50, 1, 60, 9)),
        ("a", ("left", 1, 60, 9)),
        ("a", (0, 1, 9.5, 9)),
    ]
    write_voc(tmp_path, {"x": objects})
    write_pictures(tmp_path, ["unlabelled.png"])
    without_box = "<annotation><object><name>a</name></object></annotation>"
    write_pictures(tmp_path, ["y.png"])
    (tmp_path / "y.xml").write_text(without_box, encoding="utf-8")
    opened = open_voc(tmp_path)
    assert opened.dropped == {"train": {NO_AREA: 1, OUTSIDE: 1, NO_BOX: 2, NO_ANNOTATION: 1}}
    assert opened.clipped == {"train": 1}
    assert opened.train.read_truth(0).boxes_xyxy.tolist() == [[0.0, 0.0, 9.5, 9.0]]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_an_xml_without_a_size_takes_the_pictures(tmp_path, write_voc, voc_text, size):
    root = write_voc(tmp_path, {"x": [("a", (1, 1, 9, 9))]})
    text = re.sub("<size>.*</size>", size, voc_text([("a", (1, 1, 99, 99))]))
    (root / "x.xml").write_text(text, encoding="utf-8")
    assert open_voc(root).train.read(0).boxes_xyxy.tolist() == [[0.0, 0.0, 40.0, 30.0]]


@pytest.mark.parametrize("text", [BOMB, FILE, BOMB.replace("?>", ' encoding="utf-16"?>', 1)])
def test_an_xml_with_a_document_type_is_refused_at_once(tmp_path, write_voc, text):
    root = write_voc(tmp_path, {"x": [("a", (1, 1, 9, 9))]})
    (root / "x.xml").write_text(text, encoding="utf-16" if "utf-16" in text else "utf-8")
    start = time.process_time()
    with pytest.raises(DataError, match=r"x\.xml: must be an annotation in plain xml, got a document type"):
        open_voc(root)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation>", "must be an annotation in plain xml, got no element found"),
        ("<page/>", "the outermost element must be annotation, got page"),
        ("<annotation><object/></annotation>", "every object must have a name, got one without"),
    ],
)
def test_an_xml_that_is_no_annotation_is_refused(tmp_path, write_voc, text, sentence):
    root = write_voc(tmp_path, {"x": []})
    (root / "x.xml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(f"{root / 'x.xml'}: {sentence}")):
        open_voc(root)


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere: root must be a folder in Pascal VOC's layout, got no folder"):
        open_voc(tmp_path / "nowhere")


def test_a_folder_without_annotations_is_refused(tmp_path, write_pictures):
    with pytest.raises(DataError, match="train must have at least one annotation, got none"):
        open_voc(write_pictures(tmp_path, ["a.png"]))


def test_annotations_without_an_object_are_refused(tmp_path, write_voc):
    with pytest.raises(DataError, match="the annotations must hold at least one object, got none"):
        open_voc(write_voc(tmp_path, {"x": [], "y": []}))


def test_an_annotation_without_its_picture_is_refused(tmp_path, write_voc):
    root = three_pictures(write_voc, tmp_path)
    (root / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.xml: a picture of the same name must lie in .*, got none"):
        open_voc(root)


def test_a_listed_annotation_that_is_missing_is_refused(tmp_path, write_voc):
    root = three_pictures(write_voc, tmp_path, lists={"train": ["a", "z"]})
    with pytest.raises(DataError, match=r"z\.xml: must be an annotation in xml, got No such file or directory"):
        open_voc(root)


def test_lists_without_one_for_train_are_refused(tmp_path, write_voc):
    root = three_pictures(write_voc, tmp_path, lists={"val": ["a"]})
    with pytest.raises(DataError, match=r"train\.txt: must be a text file with a picture's name a line, got"):
        open_voc(root)
