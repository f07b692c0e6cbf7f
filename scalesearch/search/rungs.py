"""Early stopping at rungs, with one objective or several: asynchronous successive halving (ASHA) and Hyperband.

At a rung, which is a number of training steps, a candidate is read and compared with all that have reached that rung
so far. It goes on where it is among the best ``1 / eta`` of them and is stopped for good otherwise. This is the
stopping variant: nothing ever pauses, since workers are processes that train straight on, and what was stopped on the
word of a few early rivals is not promoted later, as ASHA proper would (Li et al. 2020, arXiv 1810.05934, algorithm 2).
Several objectives are ranked by non-dominated sorting, then crowding (Schmucker et al. 2021, arXiv 2106.12639).

Optuna refuses to prune with several objectives, so the decision is ours. It follows from the readings of the record
alone: no clock and no chance, so a study that was interrupted decides as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from scalesearch.errors import ConfigError
from scalesearch.search.dominance import crowded_places

METHODS = ("off", "asha", "hyperband")


@dataclass(kw_only=True, slots=True)
class PrunerConfig:
    """Which candidates are stopped before their training ends; the schema of ``pruner.*`` on the command line.

    Attributes:
        method: ``off`` trains every candidate to the end; ``asha`` stops at every rung; ``hyperband`` divides the
            candidates among brackets that spare them the first rungs, for readings that early rank badly.
        eta: Of those that reach a rung, one in ``eta`` goes on; the next rung is at ``eta`` times the steps.
        min_share: Share of a training's steps at the first rung.
        grace: The first so many to reach a rung go on whatever they read.
    """

    method: str = "off"
    eta: int = 3
    min_share: float = 1 / 9
    grace: int = 3

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"pruner.method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.eta < 2:
            raise ConfigError(f"pruner.eta must be at least 2, got {self.eta}")
        if not 0 < self.min_share < 1:
            raise ConfigError(f"pruner.min_share must be above 0 and below 1, got {self.min_share}")
        if self.grace < 1:
            raise ConfigError(f"pruner.grace must be at least 1, got {self.grace}")


def rung_steps(config: PrunerConfig, num_steps: int) -> tuple[int, ...]:
    """Return the steps at which candidates are read, rising; the last step of a training is no rung.

    Rungs that a short training rounds to one step are one rung.

    Example:
        >>> rung_steps(PrunerConfig(method="asha", eta=3, min_share=1 / 9), num_steps=300)
        (33, 100)
    """
    if config.method == "off":
        return ()
    exact = (num_steps * config.min_share * config.eta**power for power in count())
    steps = (max(1, round(each)) for each in exact)
    return tuple(dict.fromkeys(takewhile(lambda step: step < num_steps, steps)))


class Rungs:
    """The readings of one study at its rungs, and who goes on.

    Args:
        config: Which rungs there are and how many go on.
        num_steps: Of one training.
        directions: ``maximize`` or ``minimize``, one an objective.
    """

    def __init__(self, config: PrunerConfig, num_steps: int, directions: Sequence[str]) -> None:
        self._config = config
        self._steps = rung_steps(config, num_steps)
        self._signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
        self._turns = _bracket_turns(config, len(self._steps))
        self._readings: dict[tuple[int, int], dict[int, list[float]]] = {}

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial, which is the number of rungs that it is spared.

        It follows from the trial's number alone.
        """
        return self._turns[number % len(self._turns)]

    def steps(self, number: int) -> tuple[int, ...]:
        """Return the steps at which a trial is read, rising."""
        return self._steps[self.bracket(number) :]

    def has(self, number: int, steps: int) -> bool:
        """Return whether a trial has been read at a rung."""
        return number in self._readings.get((self.bracket(number), steps), {})

    def record(self, number: int, steps: int, values: Sequence[float]) -> None:
        """Keep what a trial read at a rung, one value an objective."""
        assert len(values) == len(self._signs), f"{len(self._signs)} objectives, got {len(values)} values"
        signed = [sign * value for sign, value in zip(self._signs, values, strict=True)]
        self._readings.setdefault((self.bracket(number), steps), {})[number] = signed

    def keeps_on(self, number: int, steps: int) -> bool:
        """Return whether a trial goes on, by all the readings of its bracket at that rung so far.

        It does where fewer than one in ``eta`` are better: a tie is no reason to stop, and the best never stops.
        """
        readings = self._readings[self.bracket(number), steps]
        if len(readings) <= self._config.grace:
            return True
        places = dict(zip(readings, crowded_places(list(readings.values())), strict=True))
        return bool(places[number] * self._config.eta < len(readings))


def _bracket_turns(config: PrunerConfig, num_rungs: int) -> list[int]:
    """Return the brackets of consecutive trials: a cycle in which each comes as often as Hyperband draws from it.

    A bracket that has ``s`` rungs of ``s_max`` draws ``ceil((s_max + 1) * eta^s / (s + 1))`` candidates, which gives
    all brackets about the same steps (Li et al. 2018, arXiv 1603.06560, algorithm 1); they are interleaved evenly.
    """
    if config.method != "hyperband":
        return [0]
    sizes = [math.ceil((num_rungs + 1) * config.eta**s / (s + 1)) for s in range(num_rungs, -1, -1)]
    turns = sorted(((turn + 0.5) / size, bracket) for bracket, size in enumerate(sizes) for turn in range(size))
    return [bracket for _, bracket in turns]
