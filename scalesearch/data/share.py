"""The part of every batch that one of several processes takes, where they train one network together.

All of them draw the same order from generators that stand alike, and each takes every n-th image of a batch. What
belongs to an image, as its crop, is drawn apart, or image 0 of one process would be changed as image 0 of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Share:
    """Which of so many processes this one is.

    Attributes:
        rank: Counted from 0.
        count: Processes in all.
    """

    rank: int
    count: int

    def of(self, rows: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return what this process takes of each batch's rows; a batch of which it takes nothing is left out.

        Example:
            >>> [rows.tolist() for rows in Share(1, 2).of([torch.arange(4), torch.arange(4, 5)])]
            [[1, 3]]
        """
        mine = (batch[self.rank :: self.count] for batch in rows)
        return [batch for batch in mine if len(batch)]

    @contextmanager
    def apart(self, device: str = "cpu") -> Iterator[None]:
        """Draw what is drawn inside as this process alone; after it the generators stand alike in all of them."""
        seed = int(torch.randint(2**62, ()))
        on_cuda = torch.device(device).type == "cuda"
        with torch.random.fork_rng(devices=[device] if on_cuda else []):
            torch.manual_seed(seed + self.rank)
            yield
