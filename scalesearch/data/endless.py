"""Pass after pass over a split, which can be left at any batch and taken up there again.

All that is random is drawn from torch's global generator. A pass draws its order at once, so it is begun again from
what the generator was then; where the generator stands now is the caller's to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch

B = TypeVar("B")
"""A batch."""


class EndlessBatches(Generic[B]):
    """An iterator without end.

    Args:
        begin_pass: Begins a pass with the batch of this number, counted from 0; it draws the order when it is called,
            and gives at least one batch from 0 on.
    """

    def __init__(self, begin_pass: Callable[[int], Iterator[B]]) -> None:
        self._begin_pass = begin_pass
        self._begin(0)

    def __iter__(self) -> Iterator[B]:
        return self

    def __next__(self) -> B:
        batch = next(self._pass, None)
        if batch is None:
            self._begin(0)
            batch = next(self._pass)
        self._given += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return where in its pass it is, and from what the pass's order was drawn."""
        return {"generator": self._generator, "given": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batch that was given last; torch's generator is left as after the order was drawn."""
        torch.set_rng_state(state["generator"])
        self._begin(state["given"])

    def _begin(self, first: int) -> None:
        self._generator = torch.get_rng_state()
        self._pass = self._begin_pass(first)
        self._given = first
