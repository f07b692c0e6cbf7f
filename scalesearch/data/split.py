"""One split of a data set as batches: the contract, and the split that lives in memory.

All randomness is drawn from torch's global generator, which the caller seeds: the same seed gives the same batches,
bit for bit. Without shuffling and augmentation nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch

from scalesearch.data.augmentation import Augmentation
from scalesearch.data.share import Share
from scalesearch.data.source import Pixels
from scalesearch.data.transforms import Batch, Normalisation, augment, build_mixer, crop_randomly, resize
from scalesearch.errors import DataError


class Split(Protocol):
    """The images of one split, with their labels."""

    @property
    def labels(self) -> torch.Tensor:
        """Class index of each image, int64 (N,)."""
        ...

    def __len__(self) -> int: ...

    def batches(
        self,
        *,
        batch_size: int,
        image_size: int,
        augmentation: Augmentation | None,
        shuffle: bool,
        drop_last: bool,
        first: int = 0,
        share: Share | None = None,
    ) -> Iterator[Batch]:
        """Give every image once: images and targets, batch by batch, on the CPU.

        Images are float32 (n, 3, image_size, image_size), normalised with the training split's mean and deviation.
        Targets are class indices, int64 (n,); with MixUp or CutMix shares of the classes, float32 (n, num_classes).

        Args:
            batch_size: Images a batch; the last one may be smaller.
            image_size: Side in pixels.
            augmentation: None for evaluation: the middle square of each picture, resized.
            shuffle: Draw the order; otherwise it is that of ``labels``.
            drop_last: Leave a smaller last batch out.
            first: Batch to begin with, counted from 0: those before it are neither decoded nor augmented. What is
                drawn at once for the whole pass is drawn all the same.
            share: The part of each batch that this process takes; None takes them whole.

        Raises:
            DataError: A size below 1, or ``drop_last`` would leave no batch at all.
        """
        ...


@dataclass(frozen=True, eq=False)
class MemorySplit:
    """Square images in memory, or in a file mapped into memory, uint8 (N, 3, S, S).

    An ``image_size`` other than S is interpolated from the S pixels; above S that adds no detail.
    """

    images: Pixels
    labels: torch.Tensor
    normalisation: Normalisation
    num_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self,
        *,
        batch_size: int,
        image_size: int,
        augmentation: Augmentation | None,
        shuffle: bool,
        drop_last: bool,
        first: int = 0,
        share: Share | None = None,
    ) -> Iterator[Batch]:
        """Give every image once; see ``Split.batches``."""
        check_sizes(len(self), batch_size=batch_size, image_size=image_size, drop_last=drop_last)
        rows = order_rows(len(self), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
        return self._give(rows[first:] if share is None else share.of(rows[first:]), image_size, augmentation, share)

    def _give(
        self,
        rows_of_batches: list[torch.Tensor],
        image_size: int,
        augmentation: Augmentation | None,
        share: Share | None,
    ) -> Iterator[Batch]:
        mix = None if augmentation is None else build_mixer(augmentation, self.num_classes)
        for rows in rows_of_batches:
            # Indexed by numpy, which copies just these rows: torch cannot hold a read-only mapped array.
            stored = torch.from_numpy(self.images[rows.numpy()])
            with nullcontext() if share is None or augmentation is None else share.apart():
                views = _view(stored, image_size, augmentation)
                batch = self.normalisation(views), self.labels[rows]
                batch = batch if mix is None else mix(*batch)
            yield batch


def _view(stored: torch.Tensor, image_size: int, augmentation: Augmentation | None) -> torch.Tensor:
    if augmentation is None:
        return resize(stored, image_size)
    if augmentation.min_crop_area < 1.0:
        crops = [crop_randomly(image, image_size, augmentation.min_crop_area) for image in stored]
        return augment(torch.stack(crops), augmentation)
    return augment(resize(stored, image_size), augmentation)


def check_sizes(num_images: int, *, batch_size: int, image_size: int, drop_last: bool) -> None:
    """Refuse a pass that cannot be made.

    Raises:
        DataError: A size below 1, or ``drop_last`` would leave no batch at all.
    """
    if batch_size < 1 or image_size < 1:
        raise DataError(f"batch_size and image_size must be at least 1, got {batch_size} and {image_size}")
    if drop_last and num_images < batch_size:
        raise DataError(f"batch_size must be at most the {num_images} images when drop_last is on, got {batch_size}")


def order_rows(num_images: int, *, batch_size: int, shuffle: bool, drop_last: bool) -> list[torch.Tensor]:
    """Return the positions of each batch's images; a shuffled order is drawn here, at once for the whole pass."""
    order = torch.randperm(num_images) if shuffle else torch.arange(num_images)
    end = num_images - num_images % batch_size if drop_last else num_images
    return list(torch.split(order[:end], batch_size))
