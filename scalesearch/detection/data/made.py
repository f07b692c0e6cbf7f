"""The embedded task: digits pasted into photographs. Made, and named so: its scores say nothing about natural scenes.

The digits are scikit-learn's (Alpaydin and Kaynak 1998, UCI, CC BY 4.0), 8 x 8 pixels of real handwriting; the
pictures ship inside scikit-image, each declared free (see ``scalesearch.data.formats.patches``). Nothing is
downloaded. Each image is a crop of a picture with up to ``MOST_OBJECTS`` digits, 12 to 64 px tall, in a colour that
stands off from what lies under it. Boxes are exact: they bound the pixels that a digit covers by at least half.
Digits do not overlap; one image in twenty holds none. No digit and no picture is in two splits.

A mirrored digit is another sign, a 2 nearly a 5: train on these with ``augmentation.flip`` off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from scalesearch.data.formats.patches import load_picture
from scalesearch.data.source import Indices, Pixels
from scalesearch.detection.data.cleaning import StatedBox, build_truth
from scalesearch.detection.data.sample import SPLITS, BoxSample, BoxSplits, BoxTruth

PICTURES = {
    "train": ("astronaut", "brick", "camera", "cell", "coffee", "grass", "hubble_deep_field"),
    "val": ("chelsea", "retina"),
    "test": ("gravel", "rocket"),
}
# Shares of each digit's 174 to 183 writings.
DIGIT_ENDS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
DIGIT_HEIGHTS = (12, 64)
MOST_OBJECTS = 6
EMPTY_SHARE = 0.05
SMALLEST_CROP = 96
PLACING_TRIES = 20
# Between the grey of a digit and the mean grey under it, of 255.
LEAST_CONTRAST = 60.0

_Floats = npt.NDArray[np.float32]


class Placed(NamedTuple):
    """A digit in its place: how much of each pixel it covers, 0..1 and (h, w), and where its first pixel lies."""

    label: int
    coverage: _Floats
    top: int
    left: int


def open_made(*, num_images: Mapping[str, int], image_size: int, seed: int) -> BoxSplits:
    """Draw where the digits of every image lie; the images are painted when they are read.

    Args:
        num_images: Images of each split. More of them begin with the same ones.
        image_size: Side in pixels. The digits keep their size, as far as half the side allows.
        seed: Of everything drawn. One seed is one fixed data set.
    """
    sources = {split: _draw_source(split, num_images[split], image_size, seed) for split in SPLITS}
    facts = f"made {sorted(num_images.items())} {image_size} {seed}"
    versions = f"scikit-image {version('scikit-image')} scikit-learn {version('scikit-learn')}"
    return BoxSplits(
        train=sources["train"],
        val=sources["val"],
        test=sources["test"],
        class_names=tuple(str(digit) for digit in range(10)),
        category_ids=tuple(range(1, 11)),
        identity=hashlib.sha256(f"{facts} {versions}".encode()).hexdigest(),
        dropped={split: {} for split in SPLITS},
        clipped=dict.fromkeys(SPLITS, 0),
    )


@dataclass(frozen=True, eq=False)
class MadeSource:
    """The made images of one split: what is drawn of each, and the seeds of its background and colours."""

    split: str
    image_size: int
    digits: tuple[tuple[Placed, ...], ...]
    truths: tuple[BoxTruth, ...]
    seeds: tuple[np.random.SeedSequence, ...]

    def __len__(self) -> int:
        return len(self.truths)

    def read(self, index: int) -> BoxSample:
        """Paint one image."""
        rng = np.random.default_rng(self.seeds[index])
        image = _draw_background(self.split, self.image_size, rng)
        for placed in self.digits[index]:
            _paint(image, placed, rng)
        pixels = np.rint(image).astype(np.uint8)
        return BoxSample.of(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), self.truths[index])

    def read_truth(self, index: int) -> BoxTruth:
        """Return the boxes of one image."""
        return self.truths[index]

    def describe(self, index: int) -> str:
        """Name one image for a message."""
        return f"made {self.split}[{index}]"


@cache
def load_digits() -> tuple[_Floats, Indices]:
    """Return scikit-learn's digits with a rim of paper, float32 (1797, 10, 10) in 0..1, and what they say."""
    from sklearn import datasets  # type: ignore[import-untyped]

    stored = datasets.load_digits()
    framed = np.pad(stored.images / 16.0, ((0, 0), (1, 1), (1, 1)))
    return framed.astype(np.float32), stored.target.astype(np.int64)


def choose_digits(split: str, seed: int) -> list[Indices]:
    """Return the positions of a split's digits, class by class; no two splits share one."""
    labels = load_digits()[1]
    rng = np.random.default_rng(seed)
    first, last = DIGIT_ENDS[split]
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in range(10)]
    return [members[round(first * len(members)) : round(last * len(members))] for members in shuffled]


def scale_digit(digit: _Floats, height: int) -> _Floats:
    """Enlarge a digit to a crisp shape of about ``height`` pixels, cut to the pixels it covers by half."""
    rows, columns = np.nonzero(digit)
    # With the rim around it: strokes end round there instead of cut.
    ink = digit[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2]
    factor = height / (ink.shape[0] - 2)
    size = round(ink.shape[1] * factor), round(ink.shape[0] * factor)
    smooth = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC))
    # The outline lies where the smooth enlargement passes 0.425; a quarter of grey around it softens the edge.
    coverage = ((smooth - 0.3) / 0.25).clip(0.0, 1.0)
    rows, columns = np.nonzero(coverage >= 0.5)
    return np.asarray(coverage[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], dtype=np.float32)


def _draw_source(split: str, count: int, image_size: int, seed: int) -> MadeSource:
    members = choose_digits(split, seed)
    first_id = 1 + 1_000_000 * SPLITS.index(split)
    digits, truths, seeds = [], [], []
    for index in range(count):
        layout_seed, paint_seed = np.random.SeedSequence((seed, SPLITS.index(split), index)).spawn(2)
        placed = _place_digits(members, image_size, np.random.default_rng(layout_seed))
        digits.append(placed)
        seeds.append(paint_seed)
        truths.append(build_truth(first_id + index, (image_size, image_size), [_bound(each) for each in placed]))
    return MadeSource(split, image_size, tuple(digits), tuple(truths), tuple(seeds))


def _bound(placed: Placed) -> StatedBox:
    height, width = placed.coverage.shape
    corners = (placed.left, placed.top, placed.left + width, placed.top + height)
    return StatedBox(corners, placed.label, is_crowd=False, area=None)


def _place_digits(members: Sequence[Indices], image_size: int, rng: np.random.Generator) -> tuple[Placed, ...]:
    """Draw an image's digits; one that finds no free place in ``PLACING_TRIES`` is left out."""
    if rng.random() < EMPTY_SHARE:
        return ()
    taken = np.zeros((image_size, image_size), dtype=bool)
    placed = []
    for _ in range(rng.integers(1, MOST_OBJECTS, endpoint=True)):
        label = int(rng.integers(10))
        digit = load_digits()[0][rng.choice(members[label])]
        # Log-uniform: as many from 12 to 24 as from 24 to 48.
        lowest, highest = np.log(DIGIT_HEIGHTS[0]), np.log(min(DIGIT_HEIGHTS[1], image_size // 2))
        coverage = scale_digit(digit, round(float(np.exp(rng.uniform(lowest, highest)))))
        height, width = coverage.shape
        for _ in range(PLACING_TRIES):
            top, left = (int(rng.integers(image_size - side, endpoint=True)) for side in (height, width))
            area = taken[top : top + height, left : left + width]
            if not area.any():
                area[:] = True
                placed.append(Placed(label, coverage, top, left))
                break
    return tuple(placed)


def _draw_background(split: str, image_size: int, rng: np.random.Generator) -> _Floats:
    """Cut a square from a picture and resize, re-light and wash it out at random, (image_size, image_size, 3)."""
    picture = load_picture(PICTURES[split][rng.integers(len(PICTURES[split]))])
    height, width = picture.shape[:2]
    side = int(rng.integers(SMALLEST_CROP, min(height, width), endpoint=True))
    top, left = rng.integers(height - side, endpoint=True), rng.integers(width - side, endpoint=True)
    crop: Pixels = picture[top : top + side, left : left + side]
    resized = Image.fromarray(crop).resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, dtype=np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    coloured = grey + np.float32(rng.uniform(0.3, 1.0)) * (pixels - grey)
    lit = coloured * np.float32(rng.uniform(0.6, 1.1)) + np.float32(rng.uniform(-20.0, 40.0))
    return np.asarray(lit.clip(0.0, 255.0), dtype=np.float32)


def _paint(image: _Floats, placed: Placed, rng: np.random.Generator) -> None:
    height, width = placed.coverage.shape
    under = image[placed.top : placed.top + height, placed.left : placed.left + width]
    cover = placed.coverage[..., np.newaxis] * np.float32(rng.uniform(0.8, 1.0))
    under += cover * (_draw_colour(float(under.mean()), rng) - under)


def _draw_colour(grey: float, rng: np.random.Generator) -> _Floats:
    """Draw red, green and blue whose mean is at least ``LEAST_CONTRAST`` from a grey, towards the wider side or not."""
    room_below, room_above = grey - LEAST_CONTRAST, 255.0 - grey - LEAST_CONTRAST
    is_darker = rng.random() * (max(room_below, 0.0) + max(room_above, 0.0)) < room_below
    target = rng.uniform(0.0, room_below) if is_darker else rng.uniform(grey + LEAST_CONTRAST, 255.0)
    tint = rng.uniform(-60.0, 60.0, 3)
    return np.asarray((target + tint - tint.mean()).clip(0.0, 255.0), dtype=np.float32)
