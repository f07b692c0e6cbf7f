"""What a process needs to score one candidate, and what it gives back.

A ``Job`` holds everything, so that it can run anywhere the data is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scalesearch.arch import ArchSpec
from scalesearch.data import DataConfig
from scalesearch.measure.memory_floor import training_floor_mib
from scalesearch.measure.scores.config import ScoreConfig
from scalesearch.measure.snapshot import SnapshotConfig, identify_training
from scalesearch.measure.training import TrainConfig


@dataclass(frozen=True, slots=True)
class Sibling:
    """A trained smaller network whose weights another one begins with.

    Attributes:
        arch: It.
        checkpoint: Its weights, of the same seed.
    """

    arch: ArchSpec
    checkpoint: Path


@dataclass(frozen=True, slots=True)
class Job:
    """One training and its evaluation.

    Attributes:
        arch: The network; its ``image_size`` is the size it is trained and scored at.
        seed: Of the weights, the order of the images and the augmentation.
        data: The images.
        train: The training.
        score: By what it is scored.
        cache: Folder of decoded images shared by processes; None decodes in this one.
        device: ``cpu`` or ``cuda``.
        checkpoint: File to which the trained weights are written; None keeps none.
        reads_test: Whether the test split is scored as well: for final networks alone, never in a search.
        latency_batch_size: Images a pass, for the latency that is read with the score.
        rungs: Steps at which the training is read on the search-val split and may be stopped.
        sibling: Whose weights it begins with; None draws fresh ones.
        snapshot: Where its training keeps what it needs to go on after the process died; None keeps nothing.
    """

    arch: ArchSpec
    seed: int
    data: DataConfig
    train: TrainConfig
    score: ScoreConfig = field(default_factory=ScoreConfig)
    cache: Path | None = None
    device: str = "cpu"
    checkpoint: Path | None = None
    reads_test: bool = False
    latency_batch_size: int = 1
    rungs: tuple[int, ...] = ()
    sibling: Sibling | None = None
    snapshot: SnapshotConfig | None = None

    @property
    def memory_floor_mib(self) -> float:
        """What its training takes at least, beside torch itself, without the classifier, whose outputs the data say."""
        return training_floor_mib(self.arch, self.train, self.device)

    @property
    def identity(self) -> str:
        """What its weights follow from, in a line."""
        sibling = self.sibling and self.sibling.arch.arch_id
        return identify_training(self.arch.arch_id, self.seed, self.data, self.train, sibling)


@dataclass(frozen=True, slots=True)
class Score:
    """What was measured; accuracies are top-1 in [0, 1], and what was not measured is NaN.

    ``latency_ms`` (the median) and ``latency_p90_ms`` are of passes on one thread, taken in the process that trained,
    while others may have been training beside it: a reading to rank by, not to quote. A training that was ``stopped``
    at a rung has that rung's accuracy, after ``steps``. ``eval_seconds`` are of the last evaluation, ``train_seconds``
    include those at rungs.
    """

    val_top1: float = math.nan
    val_loss: float = math.nan
    test_top1: float = math.nan
    latency_ms: float = math.nan
    latency_p90_ms: float = math.nan
    train_seconds: float = 0.0
    eval_seconds: float = math.nan
    steps: int = 0
    proxy: float = math.nan
    stopped: bool = False

    @property
    def worth(self) -> float:
        """What a search maximises: the proxy where that is what was measured, else the accuracy."""
        return self.val_top1 if math.isnan(self.proxy) else self.proxy

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without those that were not measured; ``stopped`` is told by the trial's state."""
        return {key: value for key, value in asdict(self).items() if key != "stopped" and not math.isnan(value)}
