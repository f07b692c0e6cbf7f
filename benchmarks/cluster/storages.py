"""What a driver reads again of its own trials: what has changed, or, as Optuna's own cache does, all that run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from optuna.storages._cached_storage import _CachedStorage

STORAGES = ("changed", "running")


@contextmanager
def storages_opened_as(rereads: str) -> Iterator[None]:
    """Let studies read again the ``changed`` trials alone, or every one that is ``running``, as without our cache."""
    if rereads == "changed":
        yield
        return
    with patch("scalesearch.study.store.TrialCache", _CachedStorage):
        yield
