"""The keys that all studies of detectors share."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from scalesearch.arch.reading import read_arch
from scalesearch.detection.arch.reading import read_detector
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.detection.data import BoxData, BoxDataConfig, load_box_data
from scalesearch.detection.studies.job import DetectorJob, PretrainedConfig, begin_detector, score_detector
from scalesearch.detection.training import DetectorTrainConfig
from scalesearch.errors import ConfigError, DataError
from scalesearch.study.executors import Executor
from scalesearch.study.settings import PartConfig

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class DetectorConfig(PartConfig):
    """The keys that ``detect`` and ``detect-scale`` share.

    Attributes:
        detector: The detector to begin with: ``small``, ``efficientdet-d0`` .. ``d7x``, or a file; keys that are given
            beside it change it.
        backbone: A published network, a file, as the ``base.yaml`` of a search, or block strings joined by commas; the
            detector's own where not given.
        min_level: The finest level of the neck, with 1 / 2^level of the image's resolution; the detector's own where
            not given, and so for the following.
        max_level: The coarsest level of the neck.
        anchor_scale: Side of a level's smallest anchor over the level's stride.
        data: The pictures with boxes.
        train: How a detector is trained.
        decoding: What counts as a detection when it is scored.
        pretrained: Weights to begin with.
    """

    detector: str = "small"
    backbone: str | None = None
    min_level: int | None = None
    max_level: int | None = None
    anchor_scale: float | None = None
    data: BoxDataConfig = field(default_factory=BoxDataConfig)
    train: DetectorTrainConfig = field(default_factory=DetectorTrainConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)

    def read_base(self, num_classes: int) -> DetectorSpec:
        """Return the detector with what the keys say of it, for so many classes.

        Raises:
            ArchError: It cannot be read, or the keys make no detector.
        """
        changes: dict[str, Any] = {
            name: value
            for name in ("min_level", "max_level", "anchor_scale")
            if (value := getattr(self, name)) is not None
        }
        if self.backbone is not None:
            changes["backbone"] = read_arch(self.backbone)
        return replace(read_detector(self.detector), num_classes=num_classes, **changes)

    def load_data(self) -> BoxData:
        """Open the data and say what of them cannot be used.

        Raises:
            DataError: They are missing, unreadable or too few, or val has no box to score by.
        """
        data = load_box_data(self.data)
        if not any((~data.val.read_truth(index).is_crowd).any() for index in range(len(data.val))):
            raise DataError(f"val: needs at least one box to score by, got none in {len(data.val)} pictures")
        return data

    def open_executor(self, data: BoxData) -> Executor:
        """Return what trains the candidates, on these pictures."""
        return self.build_executor(score_detector, data)

    def job(self, arch: DetectorSpec, seed: int, **more: Any) -> DetectorJob:  # noqa: ANN401 (fields of the job)
        """Return what trains and scores one detector."""
        return DetectorJob(
            arch=arch,
            seed=seed,
            data=self.data,
            train=self.train,
            decoding=self.decoding,
            pretrained=self.pretrained,
            device=self.torch_device,
            **more,
        )

    def identity(self, data: BoxData) -> dict[str, Any]:
        """Return what makes two scores comparable: pictures, training, decoding, the weights begun with, the seed.

        Raises:
            ConfigError: The file of weights cannot be read.
        """
        pictures = {
            "classes": data.num_classes,
            "train_images": len(data.train),
            "val_images": len(data.val),
            "fingerprint": data.identity,
        }
        begun = {**asdict(self.pretrained), "path": _fingerprint(self.pretrained.path)}
        training = {"train": asdict(self.train), "decoding": asdict(self.decoding), "pretrained": begun}
        return {"data": pictures, **training, "seed": self.seed}

    def check_pretrained(self, arch: DetectorSpec) -> None:
        """Say what the file of weights gives a detector, before anything is trained; nothing where there is no file.

        Raises:
            ConfigError: It cannot be read, or does not fit.
        """
        if self.pretrained.path:
            with torch.random.fork_rng(devices=[]):
                _, info = begin_detector(self.job(arch, self.seed))
            assert info is not None
            _logger.warning("%s: %s", self.pretrained.path, info.describe())

    def warn_of_upsampling(self, image_size: int) -> None:
        """Warn where detectors are to see more pixels than are kept of the pictures."""
        if self.data.format != "made" and image_size > self.data.stored_size:
            _logger.warning(
                "detectors of up to %d px get pictures of at most %d px (data.stored_size), enlarged: that resolution"
                " is not real",
                image_size,
                self.data.stored_size,
            )


def _fingerprint(path: str) -> str:
    """Return a hash of a file of weights: the same weights in another place are the same."""
    if not path:
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"pretrained.path: {path}: cannot be read ({error.strerror})") from None
