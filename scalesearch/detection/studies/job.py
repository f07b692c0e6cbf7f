"""What a process needs to train and score one detector, what it gives back, and the doing of it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.detection.data import BoxData, BoxDataConfig, load_box_data
from scalesearch.detection.nn.detector import Detector, build_detector
from scalesearch.detection.nn.pretrained import PretrainedInfo, load_pretrained
from scalesearch.detection.nn.trained import TrainedDetector, save_trained
from scalesearch.detection.scoring import DetectionScores, detect, score_detections
from scalesearch.detection.training import DetectorTrainConfig, fit_detector
from scalesearch.errors import ConfigError
from scalesearch.measure.memory_floor import training_floor_mib
from scalesearch.measure.profiling import profile_latency
from scalesearch.measure.scores.brief import Watcher
from scalesearch.measure.snapshot import SnapshotConfig, Snapshots, identify_training
from scalesearch.measure.steps import Callbacks
from scalesearch.nn.layers import PADDINGS, Padding

_LATENCY_REPEATS = 20


@dataclass(kw_only=True, slots=True)
class PretrainedConfig:
    """Weights to begin with, and how their network was built.

    Attributes:
        path: A checkpoint of scalesearch, timm, torchvision (a backbone's) or effdet (a detector's); fresh weights
            where it is empty.
        padding: Of its convolutions: ``symmetric`` (PyTorch), or ``same`` for weights converted from TensorFlow.
        bn_eps: Of the backbone's BatchNorm; 1e-3 for weights converted from TensorFlow.
    """

    path: str = ""
    padding: str = "symmetric"
    bn_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS:
            raise ConfigError(f"pretrained.padding must be one of {', '.join(PADDINGS)}, got {self.padding!r}")
        if not self.bn_eps > 0:
            raise ConfigError(f"pretrained.bn_eps must be above 0, got {self.bn_eps}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorJob:
    """One training of a detector and its scoring.

    Attributes:
        arch: The detector, at the image size it is trained and scored at.
        seed: Of the weights, the order of the pictures and the augmentation.
        data: The pictures.
        train: The training.
        decoding: What counts as a detection.
        pretrained: Weights to begin with.
        device: ``cpu`` or ``cuda``.
        checkpoint: File to which the trained detector is written; None keeps none.
        reads_test: Whether the test split is scored as well: for final detectors alone, never in a search.
        rungs: Steps at which the training is read on the val split and may be stopped.
        snapshot: Where its training keeps what it needs to go on after the process died; None keeps nothing.
    """

    arch: DetectorSpec
    seed: int
    data: BoxDataConfig
    train: DetectorTrainConfig
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    device: str = "cpu"
    checkpoint: Path | None = None
    reads_test: bool = False
    rungs: tuple[int, ...] = ()
    snapshot: SnapshotConfig | None = None

    @property
    def memory_floor_mib(self) -> float:
        """What training its backbone alone takes at least, beside torch itself."""
        return training_floor_mib(replace(self.arch.backbone, image_size=self.arch.image_size), self.train, self.device)

    @property
    def identity(self) -> str:
        """What its weights follow from, in a line."""
        return identify_training(self.arch.arch_id, self.seed, self.data, self.train, asdict(self.pretrained))


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorScore:
    """What was measured; average precisions as ``DetectionScores`` has them, NaN where there was nothing to measure.

    Latencies are of a pass of one image on one thread, without decoding, taken in the process that trained while others
    may have been training beside it: readings to rank by, not to quote. ``num_detections`` are those of the val split.
    """

    val_ap: float = math.nan
    val_ap50: float = math.nan
    val_ap75: float = math.nan
    val_ap_small: float = math.nan
    val_ap_medium: float = math.nan
    val_ap_large: float = math.nan
    val_ap_of_class: tuple[float | None, ...] = ()
    test_ap: float = math.nan
    test_ap50: float = math.nan
    num_detections: int = 0
    latency_ms: float = math.nan
    latency_p90_ms: float = math.nan
    train_seconds: float = 0.0
    eval_seconds: float = math.nan
    steps: int = 0
    stopped: bool = False

    @property
    def worth(self) -> float:
        """What a search maximises: AP on the val split."""
        return self.val_ap

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without those that were not measured; ``stopped`` is told by the trial's state."""
        values = asdict(self)
        del values["stopped"]
        return {key: value for key, value in values.items() if not isinstance(value, float) or not math.isnan(value)}


def score_detector(job: DetectorJob, watcher: Watcher | None = None, data: BoxData | None = None) -> DetectorScore:
    """Build, train and score one detector, on the data that the job names where they are not given.

    One that is stopped at a rung writes no checkpoint and does not read the test split.

    Raises:
        DivergenceError: A loss or an output is not finite.
        ConfigError: The weights to begin with do not fit.
    """
    data = data or load_box_data(job.data, warns=False)
    torch.manual_seed(job.seed)
    detector, _ = begin_detector(job)
    torch.manual_seed(job.seed)  # the same pictures in the same order, whatever a detector's weights have drawn
    ladder = None if watcher is None else _Ladder(job, data, watcher)
    fitted = fit_detector(
        detector,
        data,
        job.train,
        device=job.device,
        callbacks=Callbacks(
            on_step=watcher,
            rungs=job.rungs,
            keep_on=ladder,
            snapshots=None if job.snapshot is None else Snapshots(job.snapshot, job.identity),
        ),
    )
    stopped = None if ladder is None else ladder.stopped
    started = time.perf_counter()
    accuracy = _read_val(detector, data, job) if stopped is None else stopped
    eval_seconds = time.perf_counter() - started
    if stopped is None:
        accuracy |= _read_test(detector, data, job)
    latency = profile_latency(detector, job.arch.image_size, repeats=_LATENCY_REPEATS, device=job.device, num_threads=1)
    if stopped is None and job.checkpoint is not None:
        save_trained(TrainedDetector(detector, data.class_names, data.category_ids, data.normalisation), job.checkpoint)
    return DetectorScore(
        **accuracy,
        latency_ms=latency.p50_ms,
        latency_p90_ms=latency.p90_ms,
        train_seconds=fitted.train_seconds,
        eval_seconds=eval_seconds,
        steps=fitted.steps,
        stopped=stopped is not None,
    )


def begin_detector(job: DetectorJob) -> tuple[Detector, PretrainedInfo | None]:
    """Return the detector as its training begins, and what came of the file of weights, where there is one.

    Raises:
        ConfigError: The weights cannot be read, or do not fit.
    """
    begun = job.pretrained
    detector = build_detector(
        job.arch,
        padding=cast(Padding, begun.padding),
        backbone_bn_eps=begun.bn_eps,
        bn_momentum=job.train.bn_momentum,
        drop_path=job.train.drop_path,
    )
    return detector, load_pretrained(detector, begun.path) if begun.path else None


def _read_val(detector: nn.Module, data: BoxData, job: DetectorJob) -> dict[str, Any]:
    found = detect(detector, job.arch, data.val, data.normalisation, config=job.decoding, device=job.device)
    scores = score_detections(found, data.val, data.num_classes)
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    return {
        **{f"val_{name}": getattr(scores, name) for name in names},
        "val_ap_of_class": _plain(scores),
        "num_detections": sum(len(each.scores) for each in found),
    }


def _read_test(detector: nn.Module, data: BoxData, job: DetectorJob) -> dict[str, Any]:
    if not job.reads_test or data.test is None:
        return {}
    found = detect(detector, job.arch, data.test, data.normalisation, config=job.decoding, device=job.device)
    scores = score_detections(found, data.test, data.num_classes)
    return {"test_ap": scores.ap, "test_ap50": scores.ap50}


def _plain(scores: DetectionScores) -> tuple[float | None, ...]:
    """Return the classes' AP, None for a class without boxes: a database's JSON has no NaN."""
    return tuple(None if math.isnan(ap) else ap for ap in scores.ap_of_class)


class _Ladder:
    """Reads a detector at each rung on all of the val split, and asks the watcher; a ``KeepOn``."""

    def __init__(self, job: DetectorJob, data: BoxData, watcher: Watcher) -> None:
        self._job, self._data, self._watcher = job, data, watcher
        self.stopped: dict[str, Any] | None = None
        """The reading at which the training was told to stop."""

    def __call__(self, steps: int, network: nn.Module) -> bool:
        reading = _read_val(network, self._data, self._job)
        goes_on = self._watcher.reached(self._job.rungs.index(steps), steps, reading["val_ap"])
        if not goes_on:
            self.stopped = reading
        return goes_on
