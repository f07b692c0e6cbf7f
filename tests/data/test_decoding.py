import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from scalesearch.data.decoding import decode_image, fit_square, refuse_corrupt
from scalesearch.errors import DataError


def encode(picture, kind):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_come_back_bit_for_bit(kind, draw_picture):
    picture = draw_picture(0)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(picture), kind)), picture)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert decode_image(encode(Image.new(mode, (6, 4)), kind)).shape == (4, 6, 3)


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(buffer.getvalue())[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
def test_a_jpeg_cut_short_is_corrupt_wherever_it_is_cut(share, draw_picture):
    whole = encode(Image.fromarray(draw_picture(0, 64, 64)), "JPEG")
    with pytest.raises(ValueError, match=r"(?i)truncated|not an image"):
        decode_image(whole[: int(len(whole) * share)])


def test_other_bytes_are_refused_in_a_sentence_without_addresses():
    with pytest.raises(ValueError, match=r"^not an image in a format that is read \(BMP, .*, WEBP\)$"):
        decode_image(b"hello")


def test_a_16_bit_picture_is_refused_rather_than_clipped():
    deep = Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16))
    with pytest.raises(ValueError, match="8 bits a channel are read, got Pillow mode I;16"):
        decode_image(encode(deep, "PNG"))


def test_a_pillow_told_to_load_half_pictures_is_refused(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="LOAD_TRUNCATED_IMAGES must be False"):
        decode_image(b"")


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (10, 12)])
def test_the_square_view_keeps_the_middle(shape):
    picture = np.zeros((*shape, 3), dtype=np.uint8)
    long_axis = int(shape[1] > shape[0])
    middle = [slice(None), slice(None)]
    excess = (max(shape) - min(shape)) // 2
    middle[long_axis] = slice(excess, excess + min(shape))
    picture[tuple(middle)] = 200
    square = fit_square(picture, 16)
    assert square.shape == (3, 16, 16)
    assert square.dtype == torch.uint8
    assert (square[:, :, 2:-2] == 200).all() if long_axis else (square[:, 2:-2] == 200).all()


def test_a_square_of_the_right_size_is_unchanged(draw_picture):
    picture = draw_picture(0, 16, 16)
    np.testing.assert_array_equal(fit_square(picture, 16).permute(1, 2, 0), picture)


def test_corrupt_images_are_refused_above_the_share_alone():
    refuse_corrupt(["a"], 100, 0.01)
    with pytest.raises(DataError, match=r"at most 1\.00%.* got 4 of 100: a; b; c; \.\.\."):
        refuse_corrupt(["a", "b", "c", "d"], 100, 0.01)
