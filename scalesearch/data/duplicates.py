"""Pictures that are there twice: the same pixels, by a hash of them; or nearly the same, by a hash of how they look.

The latter is dHash: a picture is shrunk to 9 x 8 grey pixels, and each of 64 bits says whether a pixel is darker than
the one to its right. Pictures that were saved again, resized or made lighter keep nearly all bits; so do some that are
merely alike, as hands before one plain wall. Near duplicates are therefore to be looked at, not believed. Measured, of
300 pictures each: within 3 bits stayed, of 32 px, 95 % saved as JPEG of quality 70, 99 % enlarged by 1.3 and 74 %
shrunk by 0.7 and saved at 60; of 100 px, all of them. Of 3,000 test pictures of CIFAR-10 one came that near to one of
3,000 others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from scalesearch.data.source import Indices, Pixels

NEAR_BITS = 3
"""Bits of 64 by which two near duplicates may differ at most."""

Looks = npt.NDArray[np.float32]
"""Bits of many pictures as -1 and 1, shape (N, 64); a row of zeros is a picture too flat to have any."""

_WIDTH, _HEIGHT = 9, 8
_LEAST_CONTRAST = 12  # of 255, between the lightest and the darkest of the shrunk pixels
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Twins:
    """A picture of one split and one of another that it resembles; ``bits`` is 0 for the same pixels."""

    first: int
    second: int
    bits: int


def hash_pixels(pixels: Pixels) -> bytes:
    """Return 16 bytes that two pictures share only if their pixels (H, W, 3) are the same, however they are stored."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def hash_looks(pixels: Pixels) -> npt.NDArray[np.int8]:
    """Return the 64 bits of dHash as -1 and 1, zeros for a picture that is too flat to be told from others."""
    picture = Image.fromarray(pixels).convert("L")
    shrunk = picture.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
    grey = np.asarray(shrunk, dtype=np.int16)
    if int(np.ptp(grey)) < _LEAST_CONTRAST:
        return np.zeros((_WIDTH - 1) * _HEIGHT, dtype=np.int8)
    return np.where(grey[:, :-1] < grey[:, 1:], 1, -1).astype(np.int8).ravel()


def find_same(first: Sequence[bytes], second: Sequence[bytes]) -> list[Twins]:
    """Return, for each picture of the second split whose pixels the first has too, the first one that has them.

    An empty hash is nobody's twin.
    """
    places: dict[bytes, int] = {}
    for index, content in enumerate(first):
        places.setdefault(content, index)
    return [Twins(places[content], index, 0) for index, content in enumerate(second) if content and content in places]


def find_near(first: Looks, second: Looks, most_bits: int = NEAR_BITS) -> list[Twins]:
    """Return, for each picture of the second split that looks like one of the first, the one that looks most like it.

    Two rows of -1 and 1 that differ in b places have the product 64 - 2 b, so all pairs are compared by products of
    matrices, a block of pictures at a time.
    """
    return list(_find_near(first, second, most_bits)) if len(first) else []


def _find_near(first: Looks, second: Looks, most_bits: int) -> Iterator[Twins]:
    num_bits = first.shape[1]
    for start in range(0, len(second), _BLOCK):
        products = second[start : start + _BLOCK] @ first.T
        nearest: Indices = products.argmax(axis=1)
        for row in np.flatnonzero(products.max(axis=1) >= num_bits - 2 * most_bits):
            bits = round((num_bits - float(products[row, nearest[row]])) / 2)
            yield Twins(int(nearest[row]), start + int(row), bits)
