"""How long trainings take and what they read: Accel-NASBench's measured seconds and accuracies (Ahmad et al. 2024).

- A network with a row trains as long as the row says (``train_seconds``; the median is 2,082 s). For any other one a
  line through logarithms of seconds over macs says it (R2 0.68), times a deviation as large as that line's own.
- Its true accuracy is that of the ``table`` score's regressor (R2 0.98, leaving one out), with a row or without.
- A reading at the end is the true accuracy and the noise of a seed, 0.31 points, as measured there.
- A reading at a rung is assumed: the true accuracy and that noise over the share of the training that is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
from scalesearch.measure.scores.table import Table

SPACE, MACS_BUDGET = "accel_nasbench", 300_000_000
BEST_KNOWN = 0.66933
"""The best true accuracy known within that budget: 455,000 networks of an evolution on the regressor, from its best."""

NOISE = 0.0031  # deviation of a seed: 0.307 points over the networks that Accel-NASBench trained three times

_NUM_STAGES, _CODES = 7, ("e", "k", "l", "se")


@dataclass(frozen=True)
class MeasuredTrainings:
    """Trainings of the networks of ``SPACE``.

    Attributes:
        space: The space.
        table: Accuracies.
        measured: Seconds of the networks that have a row.
        line: Slope and intercept of the logarithm of seconds over that of macs.
        spread: Deviation of the logarithm from that line.
        speed_up: By which every training is shorter than measured.
    """

    space: SearchSpace
    table: Table
    measured: dict[ArchSpec, float]
    line: tuple[float, float]
    spread: float
    speed_up: float = 1.0

    @classmethod
    def load(cls, path: Path) -> MeasuredTrainings:
        """Read the benchmark's table."""
        space = SearchSpace.load(SPACE)
        measured = _read_seconds(path, space)
        macs = np.log([_macs(arch) for arch in measured])
        seconds = np.log(list(measured.values()))
        slope, intercept = np.polyfit(macs, seconds, 1)
        spread = float(np.std(seconds - slope * macs - intercept))
        table = Table.load(path, space, "fill")
        return cls(space, table, measured, (float(slope), float(intercept)), spread)

    def seconds(self, arch: ArchSpec) -> float:
        """Return the seconds of a network's training to its end."""
        known = self.measured.get(arch)
        if known is None:
            slope, intercept = self.line
            deviation = self.spread * _rng(arch, 0.0).standard_normal()
            known = float(np.exp(slope * np.log(_macs(arch)) + intercept + deviation))
        return known / self.speed_up

    def read(self, arch: ArchSpec, share: float) -> float:
        """Return the accuracy in [0, 1] that is read after so large a share of the training."""
        noise = NOISE / share * _rng(arch, share).standard_normal()
        return float(np.clip(self.true_top1(arch) + noise, 0.0, 1.0))

    def true_top1(self, arch: ArchSpec) -> float:
        """Return the accuracy without the noise of a training."""
        assert self.table.regressor is not None, "the table was loaded to be filled"
        return self.table.regressor.predict(arch)


def _read_seconds(path: Path, space: SearchSpace) -> dict[ArchSpec, float]:
    """Return the seconds of every row; a network with several rows has its last one's."""
    rows = pd.read_csv(path)
    columns = [f"block{stage}_{code}" for stage in range(_NUM_STAGES) for code in _CODES]
    stages = [
        {(each.expand_ratio, each.kernel_size, each.num_blocks, each.se_ratio > 0): each for each in options if each}
        for options in space.stage_options()
    ]
    (network,) = space.network_settings()
    found = {}
    for values, seconds in zip(rows[columns].to_numpy().tolist(), rows.train_seconds, strict=True):
        chosen = (tuple(values[at : at + len(_CODES)]) for at in range(0, len(columns), len(_CODES)))
        blocks = tuple(options[codes] for options, codes in zip(stages, chosen, strict=True))
        found[ArchSpec(blocks, **network)] = float(seconds)
    return found


def _macs(arch: ArchSpec) -> int:
    return network_cost(arch, num_classes=1000).macs


def _rng(arch: ArchSpec, share: float) -> np.random.Generator:
    """Return randomness of one network's own at one point of its training."""
    return np.random.default_rng([int(arch.arch_id, 16), round(1e6 * share)])
