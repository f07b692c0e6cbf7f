"""The split that is decoded while it is read, for more images than memory holds.

Its training view may be cut from the whole picture (``min_crop_area``), so it sees detail that a stored square has
lost. Every image gets a random seed of its own from torch's global generator before the workers start: the batches
depend on the caller's seed alone, not on the number of workers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from scalesearch.data.augmentation import Augmentation
from scalesearch.data.decoding import describe_corrupt, fit_square, refuse_corrupt
from scalesearch.data.share import Share
from scalesearch.data.source import ImageSource, Pixels
from scalesearch.data.split import check_sizes, order_rows
from scalesearch.data.transforms import Batch, Normalisation, augment, build_mixer, crop_randomly
from scalesearch.errors import DataError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StreamSplit:
    """Images decoded anew in each pass, by ``loader_workers`` processes (0: by the caller's own).

    A corrupt image is named in the log and left out, so its batch is smaller; a pass with more than
    ``max_corrupt_share`` of them ends in an error.
    """

    source: ImageSource
    normalisation: Normalisation
    num_classes: int
    loader_workers: int
    max_corrupt_share: float

    @property
    def labels(self) -> torch.Tensor:
        """Class index of each image, int64 (N,), corrupt ones included."""
        return torch.from_numpy(self.source.labels)

    def __len__(self) -> int:
        return len(self.source)

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
        """Give every image once; see ``Split.batches``.

        Raises:
            DataError: As there; and, while iterating, too many corrupt images.
        """
        check_sizes(len(self), batch_size=batch_size, image_size=image_size, drop_last=drop_last)
        rows = order_rows(len(self), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
        tickets = _draw_tickets(rows, needs_seeds=augmentation is not None)[first:]
        loader = DataLoader(
            _Views(self.source, image_size, augmentation),
            batch_sampler=tickets if share is None else _take_share(tickets, share),
            num_workers=self.loader_workers,
            collate_fn=_collate,
            # The loader draws a number for its workers, which no image uses: from here, not from the caller's stream.
            generator=torch.Generator(),
        )
        return self._give(loader, augmentation, share)

    def _give(
        self, loader: DataLoader[_View], augmentation: Augmentation | None, share: Share | None
    ) -> Iterator[Batch]:
        mix = None if augmentation is None else build_mixer(augmentation, self.num_classes)
        corrupt: list[str] = []
        for decoded in loader:
            for problem in decoded.corrupt:
                _logger.warning("skipped a corrupt image: %s", problem)
            corrupt.extend(decoded.corrupt)
            refuse_corrupt(corrupt, len(self), self.max_corrupt_share)
            if len(decoded.labels):
                batch = self.normalisation(decoded.images), decoded.labels
                with nullcontext() if share is None or mix is None else share.apart():
                    batch = batch if mix is None else mix(*batch)
                yield batch


class _Ticket(NamedTuple):
    """What a worker is asked for: one image, and the seed of its random changes."""

    row: int
    seed: int


class _Decoded(NamedTuple):
    images: torch.Tensor
    labels: torch.Tensor
    corrupt: list[str]


class _Corrupt(NamedTuple):
    problem: str


class _Whole(NamedTuple):
    image: torch.Tensor
    label: int


_View = _Whole | _Corrupt


@dataclass(frozen=True, eq=False)
class _Views(Dataset[_View]):
    """The views of a source's images, uint8 (3, S, S), by ticket."""

    source: ImageSource
    image_size: int
    augmentation: Augmentation | None

    def __getitem__(self, ticket: _Ticket) -> _View:
        try:
            image = self.source.read(ticket.row)
        except DataError:
            raise
        except (OSError, ValueError) as error:
            return _Corrupt(describe_corrupt(self.source, ticket.row, error))
        label = int(self.source.labels[ticket.row])
        if self.augmentation is None:
            return _Whole(fit_square(image, self.image_size), label)
        # The state of the caller's generator is put back: without workers, this is the caller's process.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(ticket.seed)
            return _Whole(self._draw_view(image, self.augmentation), label)

    def _draw_view(self, image: Pixels, augmentation: Augmentation) -> torch.Tensor:
        if augmentation.min_crop_area < 1.0:
            picture = torch.from_numpy(image).permute(2, 0, 1)
            view = crop_randomly(picture, self.image_size, augmentation.min_crop_area)
        else:
            view = fit_square(image, self.image_size)
        return augment(view.unsqueeze(0), augmentation)[0]


def _draw_tickets(rows_of_batches: list[torch.Tensor], *, needs_seeds: bool) -> list[list[_Ticket]]:
    def draw_seeds(count: int) -> list[int]:
        return torch.randint(2**62, (count,)).tolist() if needs_seeds else [0] * count

    return [
        [_Ticket(*pair) for pair in zip(rows.tolist(), draw_seeds(len(rows)), strict=True)] for rows in rows_of_batches
    ]


def _take_share(tickets: list[list[_Ticket]], share: Share) -> list[list[_Ticket]]:
    return [mine for batch in tickets if (mine := batch[share.rank :: share.count])]


def _collate(views: list[_View]) -> _Decoded:
    whole = [view for view in views if isinstance(view, _Whole)]
    return _Decoded(
        images=torch.stack([view.image for view in whole]) if whole else torch.empty(0, dtype=torch.uint8),
        labels=torch.tensor([view.label for view in whole], dtype=torch.int64),
        corrupt=[view.problem for view in views if isinstance(view, _Corrupt)],
    )
