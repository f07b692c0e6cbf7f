"""The json of predictions is one that COCO's readers, and our own, take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO

from scalesearch.detection.boxes.decoding import Detections
from scalesearch.detection.coco_record import write_coco
from scalesearch.detection.data.coco import CocoFiles, open_coco
from tests.detection.predictors import write_made

NAMES, IDS = ('<b>"cat"</b>\n', "größe"), (7, 90)
NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
TWO = Detections(
    torch.tensor([[1.0, 2.0, 30.5, 40.25], [0.0, 0.0, 1 / 3, 60.0]]), torch.tensor([0.9, 1 / 3]), torch.tensor([1, 0])
)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "predictions.json"
    with write_coco(path, NAMES, IDS) as record:
        for name, detections in (("a.png", TWO), ("sub/b.png", NOTHING), ("c.png", TWO)):
            record.add(name, (60, 96), detections)
    return path


def test_every_field_is_as_coco_has_it(written: Path) -> None:
    content = json.loads(written.read_text(encoding="utf-8"))
    assert set(content) == {"images", "categories", "annotations"}
    assert content["categories"] == [{"id": 7, "name": NAMES[0]}, {"id": 90, "name": NAMES[1]}]
    assert content["images"][1] == {"id": 2, "file_name": "sub/b.png", "width": 96, "height": 60}
    assert content["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 90,
        "bbox": [1.0, 2.0, 29.5, 38.25],
        "area": 1128.375,
        "score": 0.9,
        "iscrowd": 0,
    }
    assert [each["image_id"] for each in content["annotations"]] == [1, 1, 3, 3]
    assert [each["id"] for each in content["annotations"]] == [1, 2, 3, 4]
    assert content["annotations"][1]["bbox"] == [0.0, 0.0, 0.333, 60.0]


def test_pycocotools_reads_it(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = COCO(str(written))
    assert (len(api.getImgIds()), len(api.getAnnIds()), sorted(api.getCatIds())) == (3, 4, [7, 90])
    assert len(api.loadRes(api.dataset["annotations"]).getAnnIds()) == 4


def test_it_is_a_data_set_that_a_detector_can_be_trained_on(written: Path) -> None:
    folder = write_made(written.parent / "images", ["a.png", "sub/b.png", "c.png"])
    opened = open_coco({"train": CocoFiles(written, folder)})
    assert (opened.class_names, opened.category_ids) == (NAMES, IDS)
    assert [len(opened.train.read(index).labels) for index in range(3)] == [2, 0, 2]
    truth = opened.train.read_truth(2)
    assert torch.allclose(truth.boxes_xyxy, TWO.boxes_xyxy, atol=1e-3)
    assert truth.labels.tolist() == [1, 0]


def test_a_record_without_a_detection_is_valid_too(tmp_path: Path) -> None:
    with write_coco(tmp_path / "p.json", NAMES, IDS) as record:
        record.add("a.png", (1, 1), NOTHING)
    assert json.loads((tmp_path / "p.json").read_text())["annotations"] == []


def test_an_error_leaves_the_old_file_and_nothing_beside_it(written: Path) -> None:
    before = written.read_bytes()

    def stop_halfway() -> None:
        with write_coco(written, NAMES, IDS) as record:
            record.add("a.png", (60, 96), TWO)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_halfway()
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["predictions.json"]
