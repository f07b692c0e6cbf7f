"""Pictures with boxes as batches that a seed decides.

All randomness is drawn from torch's global generator, which the caller seeds: the same seed gives the same batches,
bit for bit. Without shuffling and augmentation nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from scalesearch.data.split import check_sizes, order_rows
from scalesearch.data.transforms import Normalisation
from scalesearch.detection.data.augmentation import BoxAugmentation
from scalesearch.detection.data.sample import BoxSource
from scalesearch.detection.data.transforms import (
    Colour,
    Letterbox,
    View,
    build_mosaic,
    draw_window,
    jitter_colour,
    letterbox,
    open_view,
)
from scalesearch.errors import DataError

# A mosaic's four pictures need a few pixels each.
LEAST_IMAGE_SIZE = 8


@dataclass(frozen=True, eq=False)
class BoxBatch:
    """A batch of squares on the CPU.

    Args:
        images: Float32 (n, 3, S, S), normalised with the training pictures' mean and deviation.
        boxes_xyxy: Corners in pixels of the squares, a float32 (N, 4) an image; crowds are not among them.
        labels: Class of each box, an int64 (N,) an image.
        image_ids: The annotation's numbers, int64 (n,); of a mosaic, its upper left picture's.
        letterboxes: How to map boxes back to each picture; empty with augmentation, which cannot be undone.
    """

    images: torch.Tensor
    boxes_xyxy: list[torch.Tensor]
    labels: list[torch.Tensor]
    image_ids: torch.Tensor
    letterboxes: list[Letterbox]

    def __len__(self) -> int:
        return len(self.images)


def box_batches(
    source: BoxSource,
    normalisation: Normalisation,
    *,
    batch_size: int,
    image_size: int,
    augmentation: BoxAugmentation | None,
    shuffle: bool,
    drop_last: bool,
    first: int = 0,
) -> Iterator[BoxBatch]:
    """Give every picture once, batch by batch; with mosaic, further ones beside it.

    Args:
        source: The pictures.
        normalisation: Of the training pictures; their mean also fills what no picture covers.
        batch_size: Images a batch; the last one may be smaller.
        image_size: Side of the squares in pixels.
        augmentation: None for evaluation: the whole picture, letterboxed, with all its boxes but the crowds.
        shuffle: Draw the order; otherwise it is the source's.
        drop_last: Leave a smaller last batch out.
        first: Batch to begin with, as in ``scalesearch.data.split.Split.batches``.

    Raises:
        DataError: A size below 1, an ``image_size`` below ``LEAST_IMAGE_SIZE``, or ``drop_last`` would leave no batch;
            and, while iterating, a picture that cannot be read.
    """
    check_sizes(len(source), batch_size=batch_size, image_size=image_size, drop_last=drop_last)
    if image_size < LEAST_IMAGE_SIZE:
        raise DataError(f"image_size must be at least {LEAST_IMAGE_SIZE}, got {image_size}")
    rows = order_rows(len(source), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
    return (_build_batch(source, normalisation, indices.tolist(), image_size, augmentation) for indices in rows[first:])


def _build_batch(
    source: BoxSource,
    normalisation: Normalisation,
    indices: list[int],
    image_size: int,
    augmentation: BoxAugmentation | None,
) -> BoxBatch:
    red, green, blue = (round(255 * mean) for mean in normalisation.mean)
    fill = red, green, blue
    letterboxes = []
    if augmentation is None:
        letterboxes = [Letterbox(source.read_truth(index).original_size, image_size) for index in indices]
        samples = [source.read(index) for index in indices]
        views = [letterbox(open_view(sample), into, fill) for sample, into in zip(samples, letterboxes, strict=True)]
    else:
        views = [_draw_view(source, index, image_size, augmentation, fill) for index in indices]
    return BoxBatch(
        images=normalisation(torch.stack([view.image for view in views])),
        boxes_xyxy=[view.boxes.as_subclass(torch.Tensor) for view in views],
        labels=[view.labels for view in views],
        image_ids=torch.tensor([source.read_truth(index).image_id for index in indices]),
        letterboxes=letterboxes,
    )


def _draw_view(source: BoxSource, index: int, image_size: int, augmentation: BoxAugmentation, fill: Colour) -> View:
    """Draw one training view of a picture."""
    view = open_view(source.read(index))
    if augmentation.mosaic_share and torch.rand(()) < augmentation.mosaic_share:
        others = [open_view(source.read(other)) for other in torch.randint(len(source), (3,)).tolist()]
        view = build_mosaic([view, *others], image_size, augmentation, fill)
    else:
        view = draw_window(view, (image_size, image_size), image_size, augmentation, fill)
    return jitter_colour(view, augmentation.colour_jitter) if augmentation.colour_jitter else view
