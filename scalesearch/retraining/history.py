"""What a training reads on its way: loss, learning rate and the search-val split, a row a reading, on disk at once."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from torch import nn

from scalesearch.atomic import write_atomically
from scalesearch.measure.optimisation import learning_rate_factor
from scalesearch.measure.training import EvalInfo, TrainConfig

COLUMNS = ("step", "loss", "learning_rate", "val_top1", "val_top5", "val_loss")

Read = Callable[[nn.Module], EvalInfo]
"""Evaluates a network on the search-val split."""


class History:
    """Follows a training; an ``OnLoss``, and at its readings a ``KeepOn`` that never stops it.

    ``loss`` is the mean over the steps since the reading before, ``learning_rate`` that of the step. A training that
    goes on after its process died ends with the rows of one that never did: the losses are told again, and the readings
    up to there are in the file.

    Args:
        path: Of the CSV; None writes none.
        config: How it is trained.
        num_steps: Of the training.
        read: How a network is read.
    """

    def __init__(self, path: Path | None, config: TrainConfig, num_steps: int, read: Read) -> None:
        self._path, self._config, self._num_steps, self._read = path, config, num_steps, read
        self._losses: list[float] = []
        self._rows: dict[int, dict[str, float]] = {}
        self._earlier = load_history(path)

    def __call__(self, step: int, loss: float) -> None:
        """Take note of a step's loss; where it was read before the process died, that stands."""
        self._losses.append(loss)

    def keep_on(self, step: int, network: nn.Module) -> bool:
        """Read the network, as it would be evaluated now."""
        self.add(step, self._read(network))
        return True

    def add(self, step: int, reading: EvalInfo) -> None:
        """Keep a reading and write the file."""
        self._take_up(step)
        since = self._losses[max(self._rows, default=0) : step]
        factor = learning_rate_factor(step - 1, self._num_steps, self._config)
        self._rows[step] = {
            "step": step,
            "loss": sum(since) / len(since),
            "learning_rate": self._config.learning_rate * factor,
            "val_top1": reading.top1,
            "val_top5": reading.top5,
            "val_loss": reading.loss,
        }
        if self._path is not None:
            write_atomically(self._path, pd.DataFrame(list(self._rows.values())).to_csv(index=False))

    def _take_up(self, step: int) -> None:
        """Put the rows of the process before in front of the first reading of this one."""
        self._rows |= {int(row["step"]): row for row in self._earlier if row["step"] < step}
        self._earlier = []


def load_history(path: Path | None) -> list[dict[str, float]]:
    """Return the rows of a history's file, exact to the last bit; none where it is missing or another's."""
    if path is None or not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            return []
        return [{name: int(text) if name == "step" else float(text) for name, text in row.items()} for row in reader]
