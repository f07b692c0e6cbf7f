"""A trained detector on anybody's pictures: which files, how they are read, what is found in each.

A picture goes the way of the evaluation: decoded whole, letterboxed, a batch at a time, its boxes mapped back to its
own pixels. EXIF rotation is not applied, neither here nor in training. What cannot be read is left out and said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from scalesearch.data.decoding import decode_image
from scalesearch.data.formats.folder import SUFFIXES
from scalesearch.detection.boxes.decoding import DecodingConfig, Detections
from scalesearch.detection.data.cleaning import build_truth
from scalesearch.detection.data.sample import BoxSample
from scalesearch.detection.nn.trained import TrainedDetector
from scalesearch.detection.scoring import detect
from scalesearch.errors import ConfigError, DataError, DivergenceError
from scalesearch.study.settings import check_at_least, check_device, resolve_device

_logger = logging.getLogger(__name__)

OnPicture = Callable[[str, int, int], None]
"""Told what is counted, how many are done, and of how many; ``StepsDisplay`` is one."""


@dataclass(kw_only=True, slots=True)
class PredictConfig:
    """The keys of ``scalesearch predict``.

    Attributes:
        weights: File of a trained detector, as its training wrote it.
        images: A picture, or a folder, which is searched with all folders in it but hidden ones.
        out: Folder for ``predictions.json`` and, below ``drawn``, the pictures with what was found.
        least_score: Below, a detection is not given.
        nms_iou: Overlap from which the worse of two detections of a class is dropped.
        max_detections: Of a picture.
        batch_size: Pictures that pass the detector, and are in memory, at once.
        device: ``auto`` takes CUDA where there is one; or ``cpu``, ``cuda``, ``cuda:1``.
        pictures: Draw each picture with its detections.
    """

    weights: str = ""
    images: str = ""
    out: str = "predictions"
    least_score: float = 0.3
    nms_iou: float = 0.5
    max_detections: int = 100
    batch_size: int = 8
    device: str = "auto"
    pictures: bool = True

    def __post_init__(self) -> None:
        for key in ("least_score", "nms_iou"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} must be in [0, 1], got {getattr(self, key)}")
        for key in ("max_detections", "batch_size"):
            check_at_least(key, getattr(self, key), 1)
        if self.device != "auto":
            check_device(self.device)

    def check_paths(self) -> None:
        """Refuse an empty path; not at construction, for the help shows the defaults.

        Raises:
            ConfigError: The first key that names nothing.
        """
        for key, what in (
            ("weights", "name the file of a trained detector"),
            ("images", "name a picture or a folder of pictures"),
            ("out", "name a folder to write to"),
        ):
            if not getattr(self, key):
                raise ConfigError(f"{key} must {what}, got an empty text")

    @property
    def decoding(self) -> DecodingConfig:
        """What counts as a detection."""
        return DecodingConfig(least_score=self.least_score, nms_iou=self.nms_iou, max_detections=self.max_detections)

    @property
    def torch_device(self) -> str:
        """The device with ``auto`` resolved."""
        return resolve_device(self.device)


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """Picture files by their names below ``root``, with slashes, sorted."""

    root: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """One picture and what was found in it.

    Attributes:
        name: Of its file, below the folder that was searched.
        image: Uint8 (3, H, W).
        detections: In pixels of ``image``, best first.
    """

    name: str
    image: torch.Tensor
    detections: Detections

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.image.shape[-2:]
        return height, width


def find_pictures(images: str | Path, leave_out: str | Path) -> PictureFiles:
    """Return the picture file, or those in a folder and the folders below, known by their suffix.

    Args:
        images: The file, of any suffix, or the folder.
        leave_out: A folder below that is not searched: what an earlier run has drawn is no input.

    Raises:
        DataError: There is nothing by that name, or no picture in it.
    """
    root = Path(images)
    if root.is_file():
        return PictureFiles(root.parent, (root.name,))
    if not root.is_dir():
        raise DataError(f"{root}: images must be a picture or a folder of pictures, got nothing by that name")
    paths = [path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    searched, left_out = root.resolve(), Path(leave_out).resolve()
    if left_out not in (searched, *searched.parents):
        paths = [path for path in paths if left_out not in (searched / path).parents]
    shown = sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
    if not shown:
        raise DataError(f"{root}: images must hold a picture ({', '.join(sorted(SUFFIXES))}), got none")
    return PictureFiles(root, tuple(shown))


def predict_pictures(
    trained: TrainedDetector, files: PictureFiles, config: PredictConfig, *, on_picture: OnPicture | None = None
) -> Iterator[Prediction]:
    """Give each picture that can be read, in order, with its detections; a warning names each that cannot.

    No more than a batch is in memory.

    Raises:
        ConfigError: An output of the detector is not finite.
    """
    for start in range(0, len(files), config.batch_size):
        names = files.names[start : start + config.batch_size]
        read = {name: sample for name in names if (sample := _read(files.root / name)) is not None}
        found = _detect(trained, list(read.values()), config) if read else []
        for (name, sample), detections in zip(read.items(), found, strict=True):
            yield Prediction(name, sample.image, detections)
        for done in range(start + 1, start + len(names) + 1):
            if on_picture is not None:
                on_picture("pictures", done, len(files))


@dataclass(frozen=True, eq=False)
class _Samples:
    """Decoded pictures without boxes as a source."""

    samples: Sequence[BoxSample]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> BoxSample:
        return self.samples[index]

    def read_truth(self, index: int) -> BoxSample:
        return self.samples[index]

    def describe(self, index: int) -> str:
        return f"picture {index}"


def _read(path: Path) -> BoxSample | None:
    """Return a picture, or nothing and a warning where it cannot be read."""
    try:
        pixels = decode_image(path.read_bytes())
    except DataError:
        raise
    except (OSError, ValueError) as error:
        _logger.warning("%s: left out, it must be a whole picture that Pillow reads: %s", path, error)
        return None
    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    height, width = pixels.shape[:2]
    return BoxSample.of(image, build_truth(0, (height, width), []))


def _detect(trained: TrainedDetector, samples: Sequence[BoxSample], config: PredictConfig) -> list[Detections]:
    try:
        return detect(
            trained.detector,
            trained.detector.spec,
            _Samples(samples),
            trained.normalisation,
            config=config.decoding,
            batch_size=len(samples),
            device=config.torch_device,
        )
    except DivergenceError:
        raise ConfigError(f"{config.weights}: weights must give finite outputs, got some that are not") from None
