"""From encoded bytes to pixels, and from any picture to the square a network sees.

An image that cannot be decoded whole is an error here, never half a picture. Bytes are tried as the few formats of
pictures alone: Pillow knows others, of which one starts a program. A head that claims more pixels than ``MOST_PIXELS``
is refused before any memory is taken. EXIF rotation is not applied, as in
torchvision's ``ImageFolder``; transparency is dropped; of an animation the first frame counts.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin
from torchvision.transforms.v2 import functional as tvf

from scalesearch.data.source import ImageSource, Pixels
from scalesearch.errors import DataError

# The two that are imported are not among those that Pillow loads by itself.
FORMATS = (
    "BMP",
    "GIF",
    "JPEG",
    "PNG",
    "PPM",
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
MOST_PIXELS = 178_956_970
"""Of one picture: what Pillow itself stops at, unless another library has told it not to."""

# What Pillow's readers raise on broken bytes, as found by benchmarks/fuzz_readers.py.
_BROKEN = (
    *(OSError, SyntaxError, EOFError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError),
    *(RuntimeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)

_EXIF_ORIENTATION = 0x0112  # 1, or nothing: as it is stored

# Pillow turns these to RGB by clipping at 255, which would make a 16-bit picture white without a word.
_WIDE_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


def decode_image(data: bytes) -> Pixels:
    """Decode one encoded picture as RGB, shape (H, W, 3).

    Raises:
        ValueError: The bytes are cut short, are no image, or hold more than 8 bits a channel.
        DataError: Another library told Pillow to load half pictures.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        # With this switch on, Pillow fills what is missing with grey and says nothing.
        raise DataError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False, got True")
    with _open(io.BytesIO(data)) as picture:
        return to_rgb(picture)


def read_head(path: Path) -> tuple[int, int]:
    """Return height and width of a picture from its file's head.

    Raises:
        ValueError: The file is missing, or no picture.
    """
    with _open(path) as picture:
        return picture.height, picture.width


class PictureHead(NamedTuple):
    """What a picture's head says beside its size: Pillow's mode, and whether EXIF asks for a rotation."""

    mode: str
    is_rotated: bool


def read_kind(data: bytes) -> PictureHead:
    """Return what the head of an encoded picture says of its colours and its rotation.

    Raises:
        ValueError: The bytes are no picture.
    """
    with _open(io.BytesIO(data)) as picture:
        mode = f"{picture.mode} with transparency" if "transparency" in picture.info else picture.mode
        return PictureHead(mode, picture.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1))


@contextmanager
def _open(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Open a picture; whatever its bytes bring about, in the block too, is a ValueError of one line."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"at most {MOST_PIXELS:,} pixels are read, got {picture.width} x {picture.height}")
            yield picture
    except UnidentifiedImageError as error:
        # Pillow's own sentence holds the address of a buffer: noise, and another one in every run.
        raise ValueError(f"not an image in a format that is read ({', '.join(FORMATS)})") from error
    except _BROKEN as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(" ".join(reason.split())) from error


def to_rgb(picture: Image.Image) -> Pixels:
    """Return a Pillow picture as RGB, shape (H, W, 3).

    Raises:
        ValueError: The picture holds more than 8 bits a channel.
    """
    if picture.mode in _WIDE_MODES:
        raise ValueError(f"pictures of 8 bits a channel are read, got Pillow mode {picture.mode}")
    return np.array(picture.convert("RGB"))


def fit_square(image: Pixels, size: int) -> torch.Tensor:
    """Return the evaluation view of a picture, uint8 (3, size, size).

    The shorter side is resized to ``size`` and the middle is kept: proportions stay, the ends of the longer side go.
    """
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    square: torch.Tensor = tvf.center_crop(tvf.resize(tensor, [size], antialias=True), [size, size])
    return square


def describe_corrupt(source: ImageSource, index: int, error: Exception) -> str:
    """Name a corrupt image and what is wrong with it."""
    return f"{source.describe(index)} ({error})"


def refuse_corrupt(corrupt: Sequence[str], num_images: int, max_share: float) -> None:
    """Refuse a split with too many corrupt images.

    Raises:
        DataError: More than ``max_share`` of ``num_images``; the first few are named.
    """
    if len(corrupt) > max_share * num_images:
        raise DataError(
            f"at most {max_share:.2%} of a split's images may be corrupt (max_corrupt_share), "
            f"got {len(corrupt)} of {num_images}: {'; '.join(corrupt[:3])}{'; ...' if len(corrupt) > 3 else ''}"
        )
