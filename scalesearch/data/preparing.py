"""From sources to what a search needs of its data: pixels in memory where they fit, and the facts about them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.data.decoding import describe_corrupt, fit_square, refuse_corrupt
from scalesearch.data.source import ImageSource, Indices, Labels, Pixels, Subset
from scalesearch.data.transforms import Normalisation
from scalesearch.errors import DataError

_logger = logging.getLogger(__name__)

# Streaming data are not decoded in advance; so many training images stand for them in the facts.
SURVEY_IMAGES = 500


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set after its images (or a survey of them) were decoded."""

    normalisation: Normalisation
    native_size: int
    fingerprint: str
    corrupt: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DecodedSplit:
    """Square uint8 images (N, 3, S, S) and what came up while they were decoded.

    ``shorter_sides`` are those of the pictures as stored, in pixels. ``corrupt`` images are in no array.
    """

    images: Pixels
    labels: Labels
    shorter_sides: Indices
    corrupt: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Decoded images and labels by split, both empty where the data stream; and the facts."""

    images: Mapping[str, Pixels]
    labels: Mapping[str, Labels]
    facts: DataFacts


def prepare_in_memory(
    sources: Mapping[str, ImageSource], class_names: Sequence[str], *, size: int, max_corrupt_share: float
) -> Prepared:
    """Decode every split into squares of ``size`` pixels.

    Raises:
        DataError: Too many corrupt images in a split.
    """
    decoded = {
        name: decode_split(source, size, max_corrupt_share=max_corrupt_share) for name, source in sources.items()
    }
    return Prepared(
        images={name: split.images for name, split in decoded.items()},
        labels={name: split.labels for name, split in decoded.items()},
        facts=_gather_facts(decoded, _fingerprint_pixels(decoded, class_names)),
    )


def survey_stream(
    sources: Mapping[str, ImageSource], class_names: Sequence[str], *, size: int, max_corrupt_share: float
) -> Prepared:
    """Decode ``SURVEY_IMAGES`` training images, evenly spaced, for the facts alone.

    The fingerprint then covers the names and labels of all images, and the pixels of these.

    Raises:
        DataError: Too many corrupt images among them.
    """
    train = sources["train"]
    count = min(SURVEY_IMAGES, len(train))
    sample = Subset(train, np.linspace(0, len(train) - 1, count).astype(np.int64))
    decoded = {"train": decode_split(sample, size, max_corrupt_share=max_corrupt_share)}
    digest = hashlib.sha256(_fingerprint_pixels(decoded, class_names).encode())
    for name, source in sources.items():
        digest.update(f"{name} {len(source)}\n".encode())
        digest.update(np.ascontiguousarray(source.labels).tobytes())
        names = "\n".join(source.describe(index) for index in range(len(source)))
        digest.update(names.encode("utf-8", "surrogateescape"))
    return Prepared(images={}, labels={}, facts=_gather_facts(decoded, digest.hexdigest()))


def decode_split(source: ImageSource, size: int, *, max_corrupt_share: float) -> DecodedSplit:
    """Decode one split, skipping and naming corrupt images.

    Raises:
        DataError: More than ``max_corrupt_share`` of the images are corrupt.
    """
    images = np.empty((len(source), 3, size, size), dtype=np.uint8)
    kept: list[int] = []
    shorter_sides: list[int] = []
    corrupt: list[str] = []
    for index in range(len(source)):
        try:
            image = source.read(index)
        except DataError:
            raise
        except (OSError, ValueError) as error:
            corrupt.append(describe_corrupt(source, index, error))
            continue
        images[len(kept)] = fit_square(image, size).numpy()
        kept.append(index)
        shorter_sides.append(min(image.shape[:2]))
    refuse_corrupt(corrupt, len(source), max_corrupt_share)
    for problem in corrupt:
        _logger.warning("skipped a corrupt image: %s", problem)
    return DecodedSplit(images[: len(kept)], source.labels[kept], np.array(shorter_sides), tuple(corrupt))


def measure_normalisation(images: Pixels) -> Normalisation:
    """Return mean and deviation of each channel of uint8 images (N, 3, S, S).

    They come from whole-number counts of the 256 values, so no order of summation can change their bits.
    """
    values = np.arange(256) / 255.0
    means, deviations = [], []
    for channel in range(3):
        shares = _count_values(images, channel) / (images.size // 3)
        mean = float(shares @ values)
        means.append(mean)
        # A channel of one value has no deviation; one grey level stands in, so that normalising stays finite.
        deviations.append(max(float(np.sqrt(shares @ (values - mean) ** 2)), 1 / 255))
    return Normalisation((means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2]))


def _count_values(images: Pixels, channel: int) -> Indices:
    # In blocks: bincount turns its input into 8-byte integers.
    blocks = (images[start : start + 1024, channel] for start in range(0, len(images), 1024))
    return sum((np.bincount(block.ravel(), minlength=256) for block in blocks), start=np.zeros(256, dtype=np.int64))


def _gather_facts(decoded: Mapping[str, DecodedSplit], fingerprint: str) -> DataFacts:
    return DataFacts(
        normalisation=measure_normalisation(decoded["train"].images),
        native_size=int(np.median(decoded["train"].shorter_sides)),
        fingerprint=fingerprint,
        corrupt=tuple(problem for split in decoded.values() for problem in split.corrupt),
    )


def _fingerprint_pixels(decoded: Mapping[str, DecodedSplit], class_names: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(class_names).encode())
    for name, split in decoded.items():
        digest.update(f"{name} {split.images.shape}\n".encode())
        digest.update(split.labels.tobytes())
        digest.update(split.images.data)
    return digest.hexdigest()
