"""``predict``, end to end: weights and pictures in, json and drawn pictures out."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scalesearch.detection.predicting import PredictConfig
from scalesearch.errors import ConfigError, DataError
from scalesearch.report.predictions import drawn_name, run_predict
from scalesearch.study.progress import StepsDisplay
from tests.detection.predictors import IDS, NAMES, save_eager, write_made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_eager(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_made(tmp_path / "in", ["a.png", "a.jpg", "sub/a.png", "sub/deep/a.png"])


def new_config(weights: str, folder: Path, /, **changes: Any) -> PredictConfig:
    out = str(folder.parent / "out")
    return PredictConfig(**{"weights": weights, "images": str(folder), "out": out, "device": "cpu", **changes})


def test_every_picture_is_in_the_json_and_drawn_under_a_name_of_its_own(weights: str, pictures: Path) -> None:
    result = run_predict(new_config(weights, pictures))
    out = pictures.parent / "out"
    assert result.files == (out / "predictions.json", out / "drawn")
    content = json.loads((out / "predictions.json").read_text())
    assert [each["file_name"] for each in content["images"]] == ["a.jpg", "a.png", "sub/a.png", "sub/deep/a.png"]
    assert [(each["id"], each["name"]) for each in content["categories"]] == sorted(
        zip(IDS, NAMES, strict=True), key=lambda pair: IDS.index(pair[0])
    )
    assert (result.num_pictures, result.num_unreadable) == (4, 0)
    assert result.num_detections == len(content["annotations"]) > 4
    drawn = sorted(path.relative_to(out / "drawn").as_posix() for path in (out / "drawn").rglob("*.png"))
    assert drawn == ["a.jpg.png", "a.png.png", "sub/a.png.png", "sub/deep/a.png.png"]
    with Image.open(out / "drawn" / "a.png.png") as image:
        assert image.size == (320, 200)  # of 96 x 60


def test_a_second_run_gives_the_same_and_does_not_take_what_the_first_has_drawn(weights: str, pictures: Path) -> None:
    config = new_config(weights, pictures, out=str(pictures))
    first = run_predict(config)
    files = {path: path.read_bytes() for path in pictures.rglob("*") if path.is_file()}
    assert run_predict(config) == first
    assert {path: path.read_bytes() for path in pictures.rglob("*") if path.is_file()} == files


def test_nothing_is_drawn_where_that_is_off(weights: str, pictures: Path) -> None:
    result = run_predict(new_config(weights, pictures, pictures=False))
    assert [path.name for path in (pictures.parent / "out").iterdir()] == ["predictions.json"]
    assert result.files == (pictures.parent / "out" / "predictions.json",)


def test_unreadable_pictures_are_counted_and_all_of_them_are_an_error(
    weights: str, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "b.png").write_text("no picture")
    with caplog.at_level(logging.WARNING):
        result = run_predict(new_config(weights, pictures))
    assert (result.num_pictures, result.num_unreadable) == (4, 1)
    assert result.describe().endswith("detections in 4 pictures; left out 1 unreadable picture")
    assert "b.png: left out" in caplog.text
    bad = pictures.parent / "bad"
    bad.mkdir()
    (bad / "b.png").write_text("no picture")
    with pytest.raises(DataError, match=r"bad: images must hold a picture that can be read, got 1 of which none can"):
        run_predict(new_config(weights, bad, out=str(bad / "out")))
    assert not list((bad / "out").iterdir())


def test_the_display_of_steps_shows_the_progress(
    weights: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StepsDisplay() as display:
        run_predict(new_config(weights, pictures, batch_size=3), on_picture=display)
    assert "pictures 4/4" in capsys.readouterr().err


def test_weights_that_are_missing_are_refused_before_anything_is_made(weights: str, pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"^none\.safetensors: weights must be a file .*, got no file by that name$"):
        run_predict(new_config("none.safetensors", pictures))
    assert not (pictures.parent / "out").exists()


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("weights", "the file of a trained detector"),
        ("images", "a picture or a folder of pictures"),
        ("out", "a folder to write to"),
    ],
)
def test_a_path_that_is_not_given_is_refused(
    weights: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, key: str, wanted: str
) -> None:
    monkeypatch.chdir(pictures)  # an empty path must not mean this folder
    with pytest.raises(ConfigError, match=f"^{key} must name {wanted}, got an empty text$"):
        run_predict(new_config(weights, pictures, **{key: ""}))
    assert not list(pictures.rglob("predictions.json"))


def test_an_out_that_cannot_be_a_folder_is_refused(weights: str, pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"^out must be a folder that can be made, got .*/a\.png/x \(.*\)$"):
        run_predict(new_config(weights, pictures, out=str(pictures / "a.png" / "x")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_out_that_cannot_be_written_is_refused(weights: str, pictures: Path) -> None:
    (pictures.parent / "out").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match=r"^out must be a folder that can be written to, got "):
        run_predict(new_config(weights, pictures))


def test_a_name_too_long_for_a_file_system_is_cut_and_stays_its_own(weights: str, tmp_path: Path) -> None:
    names = ["ä" * 120 + f"{number}.png" for number in range(2)]
    folder = write_made(tmp_path / "in", names)
    assert run_predict(new_config(weights, folder)).num_pictures == 2
    assert len(list((tmp_path / "out" / "drawn").iterdir())) == 2
    assert all(len(drawn_name(name).name.encode()) <= 255 for name in names)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b.png"])
def test_a_name_that_leads_out_of_the_folder_is_a_mistake_of_ours(name: str) -> None:
    with pytest.raises(AssertionError, match="below the folder"):
        drawn_name(name)
