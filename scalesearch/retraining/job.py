"""What a process needs to train one network to its end, what it gives back, and the doing of it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor

from scalesearch.arch import ArchSpec
from scalesearch.atomic import write_atomically
from scalesearch.data import DataConfig, ImageData, Split, load_data
from scalesearch.measure.memory_floor import training_floor_mib
from scalesearch.measure.profiling import profile_latency
from scalesearch.measure.scores.reading import save_weights
from scalesearch.measure.snapshot import SnapshotConfig, Snapshots, identify_training
from scalesearch.measure.steps import Callbacks, OnStep
from scalesearch.measure.team import Team, TeamSnapshots
from scalesearch.measure.training import EvalInfo, TrainConfig, evaluate, fit
from scalesearch.nn import build_network
from scalesearch.nn.layers import Padding
from scalesearch.nn.network import Network
from scalesearch.nn.pretrained import load_fitting
from scalesearch.retraining.history import History

_LATENCY_REPEATS = 20


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a network is built, and the weights it begins with.

    Attributes:
        path: Of the weights; fresh ones where it is empty.
        digest: SHA-256 of the file.
        keeps: One of ``nn.pretrained.KEEPS``.
        padding: Of convolutions.
        bn_eps: BatchNorm's epsilon.
    """

    path: str = ""
    digest: str = ""
    keeps: str = "all"
    padding: str = "symmetric"
    bn_eps: float = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainJob:
    """One training and its evaluation.

    Attributes:
        arch: The network; its ``image_size`` is the size it is trained and scored at.
        seed: Of the weights, the order of the images and the augmentation.
        data: The images.
        train: The training.
        begin: What it begins with.
        evaluate_every: Steps between two readings of the search-val split; 0 for about a pass over the images.
        cache: Folder of decoded images shared by processes; None decodes in this one.
        device: ``cpu`` or ``cuda``.
        checkpoint: File to which the trained weights are written; None keeps none.
        readings: Stem of the files of what it read: ``STEM.csv`` and ``STEM-confusion.csv``; None writes none.
        snapshot: Where its training keeps what it needs to go on after the process died; None keeps nothing.
    """

    arch: ArchSpec
    seed: int
    data: DataConfig
    train: TrainConfig
    begin: Beginning = field(default_factory=Beginning)
    evaluate_every: int = 0
    cache: Path | None = None
    device: str = "cpu"
    checkpoint: Path | None = None
    readings: Path | None = None
    snapshot: SnapshotConfig | None = None

    @property
    def history(self) -> Path | None:
        """The file of what was read on the way."""
        return self.readings and self.readings.with_name(f"{self.readings.name}.csv")

    @property
    def confusion(self) -> Path | None:
        """The file of counts on the test split: a row a class, a column a prediction."""
        return self.readings and self.readings.with_name(f"{self.readings.name}-confusion.csv")

    @property
    def memory_floor_mib(self) -> float:
        """What its training takes at least, beside torch itself, without the classifier, whose outputs the data say."""
        return training_floor_mib(self.arch, self.train, self.device)

    @property
    def identity(self) -> str:
        """What its weights follow from, in a line."""
        begin = {key: value for key, value in asdict(self.begin).items() if key != "path"}
        return identify_training(self.arch.arch_id, self.seed, self.data, self.train, self.arch.image_size, begin)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainScore:
    """What was measured at the end of a training; accuracies are in [0, 1].

    ``latency_ms`` is of passes on one thread, while others may have been training: a reading to rank by. ``init`` says
    what came of the weights it began with, ``history`` names the file of what was read on the way.
    """

    val_top1: float
    val_top5: float
    val_loss: float
    test_top1: float
    test_top5: float
    test_loss: float
    latency_ms: float
    latency_p90_ms: float
    train_seconds: float
    eval_seconds: float
    steps: int
    init: str = ""
    history: str = ""
    stopped: bool = False

    @property
    def worth(self) -> float:
        """Top-1 on the search-val split: the test split decides nothing."""
        return self.val_top1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without those that were not measured."""
        values = asdict(self)
        del values["stopped"]
        return {key: value for key, value in values.items() if not isinstance(value, float) or not math.isnan(value)}


def train_network(
    job: RetrainJob, on_step: OnStep | None = None, data: ImageData | None = None, team: Team | None = None
) -> RetrainScore:
    """Train one network to its end, read the search-val split on the way, and once, at the end, the test split.

    Args:
        job: The training.
        on_step: Told of each step.
        data: The images, where they are not to be loaded as the job says.
        team: The processes that train it together; all of them call this, and the first one writes.

    Raises:
        DivergenceError: A loss or an output is not finite.
        ConfigError: The weights to begin with cannot be read, or none fits.
    """
    data = data or load_data(job.data, job.cache)
    network, init = begin_network(job, data.num_classes)
    torch.manual_seed(job.seed)  # the same images in the same order, whatever a network's weights have drawn
    device = job.device if team is None else team.device
    reader = _Reader(job, data, device, team)
    num_steps, every = job.train.num_steps(len(data.train)), _interval(job, len(data.train))
    history = History(
        job.history if reader.writes else None, job.train, num_steps, lambda network: reader.read(network, data.val)
    )
    callbacks = Callbacks(
        on_step=on_step,
        on_loss=history,
        rungs=range(every, num_steps, every),
        keep_on=history.keep_on,
        snapshots=_open_snapshots(job, team),
    )
    size = job.arch.image_size
    fitted = fit(network, data.train, job.train, image_size=size, device=device, callbacks=callbacks, team=team)
    started = time.perf_counter()
    val = reader.read(network, data.val)
    history.add(num_steps, val)
    accuracy = {**_named("val", val), **_named("test", reader.read_test(network))}
    eval_seconds = time.perf_counter() - started
    latency = profile_latency(network, size, repeats=_LATENCY_REPEATS, device=device, num_threads=1)
    if reader.writes:
        save_weights(network, data, job.arch, job.checkpoint)
    return RetrainScore(
        **accuracy,
        latency_ms=latency.p50_ms,
        latency_p90_ms=latency.p90_ms,
        train_seconds=fitted.train_seconds,
        eval_seconds=eval_seconds,
        steps=fitted.steps,
        init=init,
        history="" if job.history is None else job.history.name,
    )


def begin_network(job: RetrainJob, num_classes: int) -> tuple[Network, str]:
    """Return the network as its training begins, and what came of the file of weights, where there is one.

    Raises:
        ConfigError: The weights cannot be read, or none fits.
    """
    torch.manual_seed(job.seed)
    network = build_network(
        job.arch,
        num_classes,
        dropout=job.train.dropout,
        drop_path=job.train.drop_path,
        padding=cast(Padding, job.begin.padding),
        bn_eps=job.begin.bn_eps,
    )
    if not job.begin.path:
        return network, ""
    return network, load_fitting(network, job.begin.path, job.begin.keeps).describe()


def _interval(job: RetrainJob, num_images: int) -> int:
    return job.evaluate_every or max(1, num_images // job.train.batch_size)


def _open_snapshots(job: RetrainJob, team: Team | None) -> Snapshots | None:
    if job.snapshot is None:
        return None
    return Snapshots(job.snapshot, job.identity) if team is None else TeamSnapshots(job.snapshot, job.identity, team)


def _named(split: str, info: EvalInfo) -> dict[str, Any]:
    return {f"{split}_{name}": getattr(info, name) for name in ("top1", "top5", "loss")}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a network on the images, with the others of a team; the first of them writes."""

    job: RetrainJob
    data: ImageData
    device: str
    team: Team | None

    @property
    def writes(self) -> bool:
        """Whether files are this process's to write."""
        return self.team is None or self.team.is_first

    def read(self, network: torch.nn.Module, split: Split, confusion: Tensor | None = None) -> EvalInfo:
        size = self.job.arch.image_size
        return evaluate(network, split, image_size=size, device=self.device, confusion=confusion, team=self.team)

    def read_test(self, network: torch.nn.Module) -> EvalInfo:
        """Read the test split, and write what it took for what."""
        confusion = torch.zeros(self.data.num_classes, self.data.num_classes, dtype=torch.int64)
        info = self.read(network, self.data.test, confusion)
        if self.writes and self.job.confusion is not None:
            write_atomically(self.job.confusion, pd.DataFrame(confusion.numpy()).to_csv(index=False, header=False))
        return info
