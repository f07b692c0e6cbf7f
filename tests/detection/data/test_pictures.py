import re

import pytest
import torch

from scalesearch.detection.data.cleaning import build_truth
from scalesearch.detection.data.pictures import PictureSource, check_present, identify, read_size
from scalesearch.errors import DataError


@pytest.fixture
def folder(tmp_path, write_pictures):
    return write_pictures(tmp_path / "images", ["a.png", "b.png"])


def open_pictures(folder, *, size=(30, 40), names=("a.png", "b.png")):
    truths = tuple(build_truth(number, size, []) for number, _ in enumerate(names))
    return PictureSource(folder, names, truths, "instances_train.json")


def test_a_picture_is_read_as_bytes_of_three_channels(folder):
    sample = open_pictures(folder).read(1)
    assert (sample.image.shape, sample.image.dtype) == ((3, 30, 40), torch.uint8)
    assert sample.image.is_contiguous()
    assert (sample.image_id, sample.original_size) == (1, (30, 40))


def test_a_picture_of_another_size_than_annotated_is_refused(folder):
    sentence = f"{folder / 'a.png'}: must have the 80 x 60 pixels that instances_train.json states, got 40 x 30"
    with pytest.raises(DataError, match=re.escape(sentence)):
        open_pictures(folder, size=(60, 80)).read(0)


@pytest.mark.parametrize(("damage", "got"), [(b"broken", "not an image"), (None, "No such file")])
def test_a_picture_that_cannot_be_read_is_named(folder, damage, got):
    path = folder / "a.png"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(DataError, match=rf"a\.png: must be a whole picture that Pillow reads, got .*{got}"):
        open_pictures(folder).read(0)


def test_a_picture_cut_short_is_refused(folder):
    path = folder / "a.png"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"a\.png: must be a whole picture that Pillow reads"):
        open_pictures(folder).read(0)


def test_missing_pictures_are_counted_and_the_first_is_named(folder):
    sentence = f"instances_val.json: every picture must lie in {folder}, got 2 missing, first c.png"
    with pytest.raises(DataError, match=re.escape(sentence)):
        check_present(folder, ["a.png", "c.png", "d.png"], "instances_val.json")


def test_a_size_is_read_as_height_and_width(folder):
    assert read_size(folder / "a.png") == (30, 40)


@pytest.mark.parametrize("damage", [b"broken", None])
def test_a_size_needs_a_picture(folder, damage):
    path = folder / "a.png"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(DataError, match=r"a\.png: must be a picture that Pillow reads, got"):
        read_size(path)


def test_the_identity_follows_annotation_names_and_lengths_but_not_the_place(folder, tmp_path):
    source = open_pictures(folder)
    first = identify([b"text"], [source])
    moved = folder.rename(tmp_path / "moved")
    assert identify([b"text"], [open_pictures(moved)]) == first
    assert identify([b"other"], [open_pictures(moved)]) != first
    assert identify([b"text"], [open_pictures(moved, names=("b.png", "a.png"))]) != first
    (moved / "a.png").write_bytes((moved / "a.png").read_bytes() + b"\0")
    assert identify([b"text"], [open_pictures(moved)]) != first
