"""Pictures of a few bytes that claim gigabytes, or that another program would have to read: none is opened."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scalesearch.data.decoding import MOST_PIXELS, decode_image
from scalesearch.data.formats.folder import open_folder
from scalesearch.data.formats.parquet import open_parquet
from scalesearch.data.preparing import decode_split
from scalesearch.detection.data.coco import CocoFiles, open_coco
from scalesearch.detection.data.voc import open_voc
from scalesearch.detection.predicting import PredictConfig
from scalesearch.errors import DataError
from scalesearch.report.predictions import run_predict
from tests.detection.predictors import save_eager
from tests.security.attacks import huge_heads, huge_png, little_memory
from tests.security.documents import COCO, encode_picture, write_picture

SIDE = 60_000
CLAIM = "pixels"


@pytest.mark.parametrize("format", sorted(huge_heads(SIDE)))
def test_a_picture_that_declares_gigabytes_is_refused_from_its_head(format: str) -> None:
    with little_memory(), pytest.raises(ValueError, match=rf"{CLAIM}|not an image|truncated"):
        decode_image(huge_heads(SIDE)[format])


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "PPM", "TIFF"])
def test_the_limit_holds_when_another_library_has_lifted_pillows(monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    sentence = rf"^at most {MOST_PIXELS:,} pixels are read, got {SIDE} x {SIDE}$"
    with little_memory(), pytest.raises(ValueError, match=sentence):
        decode_image(huge_heads(SIDE)[format])


def test_postscript_that_calls_itself_a_picture_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript; here its bytes are no picture, whatever the file is called."""
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr("os.system", lambda _: pytest.fail("a program was started"))
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%id) (w) file\n%%EOF\n"
    with pytest.raises(ValueError, match=r"^not an image in a format that is read \(BMP, "):
        decode_image(text)


def test_a_bomb_in_a_folder_or_a_tar_is_counted_as_corrupt(tmp_path: Path) -> None:
    for name in ("cat/0.png", "dog/0.png", "dog/1.png"):
        write_picture(tmp_path / name)
    (tmp_path / "cat" / "bomb.png").write_bytes(huge_png(SIDE))
    with little_memory():
        found = decode_split(open_folder(tmp_path).train, 8, max_corrupt_share=0.5)
    assert len(found.images) == 3
    assert found.corrupt[0].startswith("cat/bomb.png (")
    assert CLAIM in found.corrupt[0]


def test_a_bomb_in_parquet_is_counted_as_corrupt(tmp_path: Path) -> None:
    cells = [{"bytes": content, "path": ""} for content in (encode_picture(), huge_png(SIDE), encode_picture())]
    pq.write_table(pa.table({"image": pa.array(cells), "label": pa.array([0, 1, 1])}), tmp_path / "train.parquet")
    with little_memory():
        found = decode_split(open_parquet(str(tmp_path)).train, 8, max_corrupt_share=0.5)
    assert len(found.corrupt) == 1
    assert CLAIM in found.corrupt[0]


def test_a_bomb_among_the_pictures_of_a_detector_is_refused_with_its_name(tmp_path: Path) -> None:
    for entry in COCO["images"]:
        (tmp_path / entry["file_name"]).write_bytes(huge_png(SIDE))
    (tmp_path / "coco.json").write_text(json.dumps(COCO), encoding="utf-8")
    opened = open_coco({"train": CocoFiles(tmp_path / "coco.json", tmp_path)})
    with little_memory(), pytest.raises(DataError, match=rf"0\.png: must be a whole picture .*{CLAIM}"):
        opened.train.read(0)


def test_a_bomb_whose_size_no_annotation_states_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(huge_png(SIDE))
    (tmp_path / "x.xml").write_text("<annotation><object><name>a</name></object></annotation>", encoding="utf-8")
    with little_memory(), pytest.raises(DataError, match=rf"x\.png: must be a picture .*{CLAIM}"):
        open_voc(tmp_path)


def test_predict_leaves_a_bomb_out_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    write_picture(pictures / "a.png")
    (pictures / "bomb.png").write_bytes(huge_png(SIDE))
    config = PredictConfig(weights=save_eager(tmp_path), images=str(pictures), out=str(out), device="cpu")
    with caplog.at_level(logging.WARNING):
        result = run_predict(config)
    assert (result.num_pictures, result.num_unreadable) == (1, 1)
    assert f"{pictures / 'bomb.png'}: left out" in caplog.text


def test_a_picture_of_the_largest_ordinary_size_is_still_read() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((3000, 4000, 3), np.uint8)).save(file, format="PNG", compress_level=1)
    assert decode_image(file.getvalue()).shape == (3000, 4000, 3)
