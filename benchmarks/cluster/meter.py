"""Where the driver's seconds go: proposing, the storage, or the rest.

Methods are wrapped while a simulation runs. A call's seconds are its own: what a call inside it takes is the inner
one's, so the parts add up.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage  # Optuna wraps every RDBStorage in it

from scalesearch.search.samplers import PredictorSampler
from scalesearch.study.cache import TrialCache

PROPOSING, STORAGE = "proposing", "storage"

_SAMPLERS = (PredictorSampler, RandomSampler, TPESampler, NSGAIISampler)
_ASKED = ("infer_relative_search_space", "sample_relative", "sample_independent", "before_trial", "after_trial")
_STORAGES = (TrialCache, _CachedStorage, RDBStorage)
_STORED = [name for name in dir(BaseStorage) if not name.startswith("_")]


class Meter:
    """Counts seconds by name.

    Args:
        stopwatch: Reads seconds.

    Attributes:
        seconds: Of each part, without those of the parts inside it.
    """

    def __init__(self, stopwatch: Callable[[], float]) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stopwatch = stopwatch
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens meanwhile as ``name``."""
        self._charge()
        self._stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def _charge(self) -> None:
        now = self._stopwatch()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Count all calls of the samplers and of Optuna's database storage, its cache of finished trials included."""
        with ExitStack() as patches:
            for part, owners, names in ((PROPOSING, _SAMPLERS, _ASKED), (STORAGE, _STORAGES, _STORED)):
                for owner in owners:
                    for name in set(names) & set(vars(owner)):
                        patches.enter_context(patch.object(owner, name, self._wrap(part, vars(owner)[name])))
            yield

    def _wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def metered(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 (whatever Optuna passes)
            with self.part(part):
                return function(*arguments, **named)

        return metered
