"""``scalesearch predict``: a trained detector's boxes on a folder of pictures, as COCO json and drawn.

Pictures are read, detected, written and forgotten a batch at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scalesearch.detection.coco_record import CocoRecord, write_coco
from scalesearch.detection.nn.trained import load_trained
from scalesearch.detection.predicting import OnPicture, PredictConfig, Prediction, find_pictures, predict_pictures
from scalesearch.errors import ConfigError, DataError
from scalesearch.report.plot_detections import draw_detections, save_picture

RECORD, DRAWN = "predictions.json", "drawn"
_LONGEST_NAME = 200
"""Bytes of a drawn picture's file name; file systems end at 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult:
    """What was written.

    Attributes:
        files: The COCO json and, where pictures were drawn, their folder.
        num_pictures: That were read.
        num_detections: In all of them.
        num_unreadable: Pictures that were left out; the log names them.
    """

    files: tuple[Path, ...]
    num_pictures: int
    num_detections: int
    num_unreadable: int

    def describe(self) -> str:
        """Return one sentence with the counts.

        Example:
            >>> PredictResult(files=(), num_pictures=3, num_detections=1, num_unreadable=0).describe()
            '1 detection in 3 pictures'
        """
        said = f"{_count(self.num_detections, 'detection')} in {_count(self.num_pictures, 'picture')}"
        return said + (f"; left out {_count(self.num_unreadable, 'unreadable picture')}" if self.num_unreadable else "")


def run_predict(config: PredictConfig, *, on_picture: OnPicture | None = None) -> PredictResult:
    """Detect in all pictures, and write ``predictions.json`` and, below ``drawn``, a PNG for each.

    Args:
        config: Which detector, which pictures, where to.
        on_picture: Told of each picture that is done; ``StepsDisplay`` shows it.

    Raises:
        ConfigError: A path is empty, the weights are no trained detector's, or ``out`` cannot be written.
        DataError: There is no picture, or none that can be read.
    """
    config.check_paths()
    out = Path(config.out)
    trained = load_trained(config.weights)
    files = find_pictures(config.images, leave_out=out / DRAWN)
    _make_folder(out)
    with write_coco(out / RECORD, trained.class_names, trained.category_ids) as record:
        for prediction in predict_pictures(trained, files, config, on_picture=on_picture):
            record.add(prediction.name, prediction.size, prediction.detections)
            if config.pictures:
                _draw(prediction, trained.class_names, out / DRAWN)
        _check_some(record, len(files), config)
    return PredictResult(
        files=(out / RECORD, *([out / DRAWN] if config.pictures else [])),
        num_pictures=len(record.images),
        num_detections=record.num_annotations,
        num_unreadable=len(files) - len(record.images),
    )


def drawn_name(name: str) -> PurePosixPath:
    """Return where a picture is drawn below the folder of drawn ones: in its own subfolder, with its whole name.

    A name too long for a file system is cut, and told from others by a hash.

    Example:
        >>> str(drawn_name("cells/a.jpg"))
        'cells/a.jpg.png'
    """
    path = PurePosixPath(name)
    assert not {"/", ".."} & set(path.parts), "names are below the folder that was searched"
    encoded = path.name.encode(errors="surrogateescape")
    if len(encoded) > _LONGEST_NAME:
        kept = encoded[:_LONGEST_NAME].decode(errors="ignore")
        return path.with_name(f"{kept}-{hashlib.sha256(encoded).hexdigest()[:12]}.png")
    return path.with_name(f"{path.name}.png")


def _draw(prediction: Prediction, class_names: Sequence[str], folder: Path) -> None:
    image = draw_detections(prediction.image, prediction.detections, class_names)
    save_picture(image, folder / drawn_name(prediction.name))


def _check_some(record: CocoRecord, num_files: int, config: PredictConfig) -> None:
    if not record.images:
        raise DataError(
            f"{config.images}: images must hold a picture that can be read, got {num_files} of which none can be;"
            " the log says why"
        )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out must be a folder that can be made, got {out} ({error.strerror})") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise ConfigError(f"out must be a folder that can be written to, got {out}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
