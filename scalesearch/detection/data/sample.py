"""What every format hands over: pictures with boxes by index, undecoded until asked for.

Boxes are corners in pixels, x to the right and y down, with the picture's own corner at 0: a box around the single
pixel of the first row and column is (0, 0, 1, 1), and its width is ``x2 - x1``. Formats that count otherwise are
converted when they are read. Tensors handed out may be shared with a cache: they are not to be written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import torch

from scalesearch.data.source import Indices
from scalesearch.data.transforms import Normalisation

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxTruth:
    """What the annotation says of one picture.

    Args:
        image_id: The annotation's own number of the picture; one number is one picture of a split.
        original_size: Height and width in pixels of the picture as annotated.
        boxes_xyxy: Corners, float32 (N, 4), inside the picture.
        labels: Class of each box, int64 (N,), from 0.
        is_crowd: Boxes that score neither way and are not trained on, bool (N,): COCO's crowds, VOC's difficult ones.
        areas: Pixels of each object, float32 (N,), by which COCO tells small from large; the box's own where the
            annotation states none.
    """

    image_id: int
    original_size: tuple[int, int]
    boxes_xyxy: torch.Tensor
    labels: torch.Tensor
    is_crowd: torch.Tensor
    areas: torch.Tensor

    def __post_init__(self) -> None:
        count = len(self.labels)
        assert self.boxes_xyxy.shape == (count, 4)
        assert self.is_crowd.shape == self.areas.shape == (count,)
        assert self.is_crowd.dtype == torch.bool


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxSample(BoxTruth):
    """One decoded picture, uint8 (3, H, W), with its boxes in pixels of ``image``.

    ``image`` may be a smaller copy of the annotated picture: ``original_size`` and ``areas`` stay the annotation's.
    """

    image: torch.Tensor

    @classmethod
    def of(cls, image: torch.Tensor, truth: BoxTruth) -> BoxSample:
        """Return a picture with what its annotation says."""
        return cls(image=image, **{each.name: getattr(truth, each.name) for each in fields(BoxTruth)})


class BoxSource(Protocol):
    """The pictures of one split, by index."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> BoxSample:
        """Decode one picture.

        Raises:
            DataError: The picture cannot be read, or is of another size than its annotation says.
        """
        ...

    def read_truth(self, index: int) -> BoxTruth:
        """Return the boxes of one picture, in its original pixels, without decoding it."""
        ...

    def describe(self, index: int) -> str:
        """Name one picture for a message, relative to the data's root."""
        ...


@dataclass(frozen=True, eq=False)
class BoxSubset:
    """Some pictures of another source, in the order of ``indices``; itself a source."""

    source: BoxSource
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> BoxSample:
        """Decode one picture."""
        return self.source.read(int(self.indices[index]))

    def read_truth(self, index: int) -> BoxTruth:
        """Return the boxes of one picture, in its original pixels."""
        return self.source.read_truth(int(self.indices[index]))

    def describe(self, index: int) -> str:
        """Name one picture for a message."""
        return self.source.describe(int(self.indices[index]))


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxSplits:
    """A data set as its format stores it; ``val`` and ``test`` are None where it has no such split.

    ``identity`` covers the annotations and the names and lengths of the picture files, not their places: a folder
    that moves stays the same data. The other fields are told in ``BoxData``.
    """

    train: BoxSource
    val: BoxSource | None = None
    test: BoxSource | None = None
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    identity: str
    dropped: Mapping[str, Mapping[str, int]]
    clipped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxData:
    """A data set as a detector's training and scoring see it.

    Args:
        train: What is trained on.
        val: What decisions are made on.
        test: Read once, by a final report; None where the data have none.
        class_names: Name of each label.
        category_ids: The annotation's own number of each label, for writing COCO json back.
        normalisation: Mean and deviation of the training pictures' channels.
        identity: A hash of the annotations, of the pictures' names and lengths, and of which pictures each split holds.
        dropped: What was left out of each split, by reason; a split without a loss has no reason.
        clipped: Boxes of each split that reached out of their picture and were cut at its edge.
    """

    train: BoxSource
    val: BoxSource
    test: BoxSource | None
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    normalisation: Normalisation
    identity: str
    dropped: Mapping[str, Mapping[str, int]]
    clipped: Mapping[str, int]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
