"""Each way of training a network to its end is a series of its own: from scratch, or from somebody's weights."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from optuna.trial import FrozenTrial

from scalesearch.retraining.running import PART as TRAIN


def by_way(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of networks with such a series for each way, ``train scratch`` say, in place of the part."""
    ways = trials.part + " " + trials.label.astype(str)
    return trials.assign(part=trials.part.where(trials.part != TRAIN, ways))


def split_ways(part: str, trials: Sequence[FrozenTrial]) -> list[tuple[str, list[FrozenTrial]]]:
    """Return the series of a part, by the same names, with the trials of each."""
    if part != TRAIN:
        return [(part, list(trials))]
    series: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        series.setdefault(f"{part} {trial.user_attrs.get('label')}", []).append(trial)
    return list(series.items())
