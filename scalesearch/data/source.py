"""What every format hands over: images by index, undecoded until asked for.

A format is one file with one ``open_...`` function that returns ``SourceSplits``. Opening lists and labels the
images but decodes none, so that a study whose decoded images are already cached opens in moments. Sources hold
paths and numbers, never open files: they survive a fork and a pickle, as worker processes need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from scalesearch.errors import DataError

MOST_CLASSES = 1_000_000
"""A greater label is no class's number: a tuple of names would fill the memory."""

Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]
Indices: TypeAlias = npt.NDArray[np.int64]


class ImageSource(Protocol):
    """The images of one split, by index."""

    @property
    def labels(self) -> Labels:
        """Class index of each image, shape (N,)."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Pixels:
        """Decode one image as RGB, shape (H, W, 3).

        Raises:
            OSError: The image cannot be read.
            ValueError: Its bytes are no whole image.
        """
        ...

    def describe(self, index: int) -> str:
        """Name one image for a message, relative to the data's root."""
        ...


@dataclass(frozen=True)
class Subset:
    """Some images of another source, in the order of ``indices``; itself a source."""

    source: ImageSource
    indices: Indices
    labels: Labels = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", self.source.labels[self.indices])

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Pixels:
        """Decode one image as RGB, shape (H, W, 3)."""
        return self.source.read(int(self.indices[index]))

    def describe(self, index: int) -> str:
        """Name one image for a message."""
        return self.source.describe(int(self.indices[index]))


@dataclass(frozen=True, kw_only=True)
class SourceSplits:
    """A data set as its format stores it.

    ``val`` and ``test`` are None where the format has no such split; they are then held out of ``train``.
    ``identity`` changes when the stored data change (sizes and times of the files) and names a cache entry.

    Raises:
        DataError: No training image, fewer than two classes in train, or a label that names no class.
    """

    train: ImageSource
    val: ImageSource | None = None
    test: ImageSource | None = None
    class_names: tuple[str, ...]
    identity: str

    def __post_init__(self) -> None:
        for name, source in (("train", self.train), ("val", self.val), ("test", self.test)):
            if source is not None:
                _check_labels(name, source.labels, len(self.class_names))
        if len(np.unique(self.train.labels)) < 2:
            raise DataError(f"train: classification needs images of at least 2 classes, got 1 of {self.class_names}")


def _check_labels(split: str, labels: Labels, num_classes: int) -> None:
    if len(labels) == 0:
        raise DataError(f"{split}: needs at least one image, got none")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"{split}: labels must lie in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}; "
            "-1 usually marks a split that was published without labels"
        )


def number_classes(labels: Labels) -> tuple[str, ...]:
    """Return the numbers up to the greatest label, as the names of classes that a format does not name.

    Raises:
        DataError: A label that counts no classes.
    """
    greatest = int(labels.max(initial=0))
    if greatest >= MOST_CLASSES:
        raise DataError(f"labels must lie below {MOST_CLASSES:,}, got {greatest:,}")
    return tuple(str(number) for number in range(greatest + 1))


def identify_files(paths: Iterable[Path]) -> str:
    """Hash the places, sizes and modification times of files: cheap, and changed whenever one is rewritten."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        # a name that is no UTF-8 comes as half characters, which would not be encoded otherwise
        place = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(place.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
