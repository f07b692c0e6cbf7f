"""Predictions are the evaluation's own, of every picture that can be read."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.detection.data.cleaning import build_truth
from scalesearch.detection.data.pictures import PictureSource
from scalesearch.detection.predicting import PictureFiles, PredictConfig, find_pictures, predict_pictures
from scalesearch.detection.scoring import detect
from scalesearch.errors import ConfigError, DataError
from tests.detection.predictors import eager_detector, write_made


def new_config(**changes: Any) -> PredictConfig:
    return PredictConfig(**{"weights": "w.safetensors", "images": "in", "device": "cpu", "batch_size": 2, **changes})


def test_predictions_are_those_of_the_evaluation_in_the_pictures_own_pixels(tmp_path: Path) -> None:
    names = ("a.png", "b.png", "c.png")
    trained, folder = eager_detector(), write_made(tmp_path, names, height=50, width=90)
    predictions = list(predict_pictures(trained, find_pictures(folder, tmp_path / "out"), new_config()))
    truths = tuple(build_truth(number, (50, 90), []) for number in range(3))
    source = PictureSource(folder, names, truths, "the test")
    wanted = detect(
        trained.detector,
        trained.detector.spec,
        source,
        trained.normalisation,
        config=DecodingConfig(least_score=0.3),
        batch_size=2,
    )
    assert [each.name for each in predictions] == list(names)
    for index, each in enumerate(predictions):
        assert each.size == (50, 90)
        assert torch.equal(each.image, source.read(index).image)
        assert len(each.detections.labels) > 1
        assert all(torch.equal(one, other) for one, other in zip(each.detections, wanted[index], strict=True))


def test_the_keys_decide_what_a_detection_is(tmp_path: Path) -> None:
    trained, folder = eager_detector(), write_made(tmp_path, ["a.png"])
    files = find_pictures(folder, tmp_path / "out")
    [loose] = predict_pictures(trained, files, new_config(least_score=0.0, nms_iou=1.0, max_detections=1000))
    [few] = predict_pictures(trained, files, new_config(least_score=0.0, max_detections=3))
    least = float(loose.detections.scores.median())
    [sure] = predict_pictures(trained, files, new_config(least_score=least, nms_iou=1.0, max_detections=1000))
    assert len(few.detections.labels) == 3
    assert 3 < len(sure.detections.labels) < len(loose.detections.labels)
    assert sure.detections.scores.min() >= least


def test_pictures_of_every_size_and_mode_are_read(tmp_path: Path) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "a.png")
    Image.new("P", (500, 3)).save(tmp_path / "b.gif")
    Image.new("RGBA", (3, 700)).save(tmp_path / "c.webp")
    Image.new("CMYK", (40, 30)).save(tmp_path / "d.JPG", format="JPEG")
    found = list(predict_pictures(eager_detector(), find_pictures(tmp_path, tmp_path / "out"), new_config()))
    assert [each.size for each in found] == [(1, 1), (3, 500), (700, 3), (30, 40)]
    for each in found:
        height, width = each.size
        assert (each.detections.boxes_xyxy <= torch.tensor([width, height, width, height])).all()


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_made(tmp_path, ["a.png", "cut.png", "d.png"])
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "b.jpg").write_text("no picture")
    Image.new("I;16", (4, 4)).save(folder / "c.png")
    done: list[tuple[str, int, int]] = []
    files = find_pictures(folder, tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        found = predict_pictures(eager_detector(), files, new_config(), on_picture=lambda *now: done.append(now))
        assert [each.name for each in found] == ["a.png", "d.png"]
    assert done == [("pictures", number, 5) for number in range(1, 6)]
    warned = [record.getMessage() for record in caplog.records]
    assert [re.match(r".*/(\S+): left out, it must be a whole picture", each)[1] for each in warned] == [  # type: ignore[index]
        "b.jpg",
        "c.png",
        "cut.png",
    ]


def test_a_batch_is_read_only_when_it_is_asked_for(tmp_path: Path) -> None:
    folder = write_made(tmp_path, ["a.png", "b.png", "c.png"])
    pictures = predict_pictures(eager_detector(), find_pictures(folder, tmp_path / "out"), new_config(batch_size=1))
    next(pictures)
    write_made(folder, ["b.png"], height=20)
    assert next(pictures).size == (20, 96)


def test_a_folder_is_searched_with_all_below_it_but_what_is_hidden_and_what_was_drawn(tmp_path: Path) -> None:
    names = ["b.png", "a/b.png", "a/c/d.JPEG", ".hidden.png", ".git/x.png", "out/drawn/b.png.png", "out/e.png"]
    folder = write_made(tmp_path, [name.replace(".JPEG", ".jpg") for name in names])
    (folder / "a/c/d.jpg").rename(folder / "a/c/d.JPEG")
    (folder / "notes.txt").write_text("no picture")
    (folder / "folder.png").mkdir()
    assert find_pictures(folder, folder / "out/drawn") == PictureFiles(
        folder, ("a/b.png", "a/c/d.JPEG", "b.png", "out/e.png")
    )
    assert find_pictures(folder / "out/drawn", folder / "out/drawn").names == ("b.png.png",)  # asked for by name


def test_one_picture_may_be_given_whatever_its_suffix(tmp_path: Path) -> None:
    folder = write_made(tmp_path, ["a.png", "b.png"])
    (folder / "a.png").rename(folder / "a.picture")
    files = find_pictures(folder / "a.picture", tmp_path / "out")
    assert (files.root, files.names) == (folder, ("a.picture",))
    assert [each.name for each in predict_pictures(eager_detector(), files, new_config())] == ["a.picture"]


def test_no_pictures_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    sentence = f"{missing}: images must be a picture or a folder of pictures, got nothing by that name"
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        find_pictures(missing, tmp_path / "out")
    with pytest.raises(DataError, match=r": images must hold a picture \(\.bmp, .*\.webp\), got none$"):
        find_pictures(tmp_path, tmp_path / "out")


def test_weights_that_give_no_finite_outputs_are_refused(tmp_path: Path) -> None:
    trained, folder = eager_detector(), write_made(tmp_path, ["a.png"])
    with torch.no_grad():
        trained.detector.box_net.get_parameter("predict.conv_pw.bias").fill_(torch.nan)
    with pytest.raises(ConfigError, match=r"^w\.safetensors: weights must give finite outputs, got some that are not$"):
        list(predict_pictures(trained, find_pictures(folder, tmp_path / "out"), new_config()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"least_score": 1.5}, "least_score must be in [0, 1], got 1.5"),
        ({"least_score": float("nan")}, "least_score must be in [0, 1], got nan"),
        ({"nms_iou": -0.1}, "nms_iou must be in [0, 1], got -0.1"),
        ({"max_detections": 0}, "max_detections must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"device": "gpu"}, "device must be cpu, cuda or cuda:N, got 'gpu'"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        new_config(**changes)


def test_the_device_is_found_where_none_is_named() -> None:
    assert new_config(device="auto").torch_device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert new_config(device="cpu").torch_device == "cpu"
