"""How far the network that has read best so far is from the best one known, over the time of a study."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scalesearch.arch import ArchSpec

from .ledger import Floats, Ledger


class Regret(NamedTuple):
    """Points of accuracy at the end of each training that became the best so far, and when that was."""

    seconds: Floats
    points: Floats


def regret_of(ledger: Ledger, true_top1: Callable[[ArchSpec], float], best_known: float) -> Regret:
    """Return a study's regret, by the networks' true accuracies: what was read has the noise of a training.

    Trainings that were stopped at a rung are not chosen from.
    """
    seconds, points, best = [], [], -np.inf
    for ended in sorted((each for each in ledger.ended if not each.stopped), key=lambda each: each.seconds):
        if ended.worth > best:
            best = ended.worth
            seconds.append(ended.seconds)
            points.append(100 * (best_known - true_top1(ended.arch)))
    return Regret(np.array(seconds), np.array(points))
