"""The one way in: a config in, splits with boxes and the facts about them out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tvf

from scalesearch.data.preparing import measure_normalisation
from scalesearch.data.splitting import hold_out, subsample
from scalesearch.data.transforms import Normalisation
from scalesearch.detection.data.coco import CocoFiles, open_coco
from scalesearch.detection.data.config import BoxDataConfig
from scalesearch.detection.data.made import open_made
from scalesearch.detection.data.sample import SPLITS, BoxData, BoxSource, BoxSplits, BoxSubset
from scalesearch.detection.data.storing import StoredSource
from scalesearch.detection.data.voc import open_voc
from scalesearch.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

# So many training pictures, evenly spaced and squeezed into squares of this side, stand for the mean and deviation.
SURVEY_IMAGES = 200
SURVEY_SIZE = 128


def load_box_data(config: BoxDataConfig, *, warns: bool = True) -> BoxData:
    """Open a data set, split it, and measure the mean and deviation of its training pictures.

    Args:
        config: Which data.
        warns: Whether the log is told what was left out, and of a class that train has no box of.

    Raises:
        DataError: Data that are missing, unreadable or too few; see the format's own file.
    """
    opened = open_boxes(config)
    chosen = choose_pictures(opened, config)
    missing = find_missing_classes(chosen["train"], opened.class_names)
    if warns:
        _report_losses(opened)
        _report_missing(missing, opened.class_names)
    total = sum(len(source) for source in chosen.values())
    stored = {
        name: StoredSource(source, config.stored_size, config.memory_mib * 2**20 * len(source) // total)
        for name, source in chosen.items()
    }
    return BoxData(
        train=stored["train"],
        val=stored["val"],
        test=stored.get("test"),
        class_names=opened.class_names,
        category_ids=opened.category_ids,
        normalisation=survey_normalisation(stored["train"]),
        identity=_identify(opened, chosen),
        dropped=opened.dropped,
        clipped=opened.clipped,
    )


def open_boxes(config: BoxDataConfig) -> BoxSplits:
    """Open the data set that the config names, decoding nothing.

    Raises:
        DataError: See the format's own file.
    """
    root = Path(config.root)
    match config.format:
        case "made":
            num_images = {split: getattr(config, f"made_{split}_images") for split in SPLITS}
            return open_made(num_images=num_images, image_size=config.made_image_size, seed=config.seed)
        case "coco":
            files = {
                split: CocoFiles(
                    annotations=root / getattr(config, f"{split}_annotations"),
                    images=root / getattr(config, f"{split}_images"),
                )
                for split in SPLITS
            }
            return open_coco(files)
        case "voc":
            return open_voc(root)
        case _:
            # Config values are checked once, when made; but they may be set afterwards.
            raise ConfigError(f"data.format must be a known one, got {config.format!r}")


def choose_pictures(opened: BoxSplits, config: BoxDataConfig) -> dict[str, BoxSource]:
    """Hold val out of train where the format brings none, and apply the limits.

    Raises:
        DataError: Train has a single picture, and val would have to come from it.
    """
    train, val = opened.train, opened.val
    if val is None:
        # One class of all pictures: what a picture shows has no one label to be stratified by.
        kept, held_out = hold_out(np.zeros(len(train), dtype=np.int64), config.val_fraction, config.seed)
        if len(held_out) == 0:
            raise DataError(f"{config.root}: val needs at least one picture, but train has only {len(train)} to give")
        train, val = BoxSubset(train, kept), BoxSubset(train, held_out)
    sources: dict[str, BoxSource] = {"train": train, "val": val}
    if opened.test is not None:
        sources["test"] = opened.test
    return {
        name: _limit(source, getattr(config, f"max_{name}_images"), config.seed) for name, source in sources.items()
    }


def survey_normalisation(train: BoxSource) -> Normalisation:
    """Measure mean and deviation of the channels over ``SURVEY_IMAGES`` training pictures, evenly spaced."""
    indices = np.linspace(0, len(train) - 1, min(SURVEY_IMAGES, len(train))).astype(np.int64)
    size = [SURVEY_SIZE, SURVEY_SIZE]
    squares = [tvf.resize(train.read(int(index)).image, size, antialias=True) for index in indices]
    return measure_normalisation(torch.stack(squares).numpy())


def _limit(source: BoxSource, limit: int, seed: int) -> BoxSource:
    if len(source) <= limit:
        return source
    return BoxSubset(source, subsample(np.zeros(len(source), dtype=np.int64), limit, seed))


def find_missing_classes(train: BoxSource, class_names: tuple[str, ...]) -> list[str]:
    """Return the classes that train has no box of.

    Raises:
        DataError: It has none at all.
    """
    counts = torch.zeros(len(class_names), dtype=torch.int64)
    for index in range(len(train)):
        truth = train.read_truth(index)
        counts += torch.bincount(truth.labels[~truth.is_crowd], minlength=len(class_names))
    if not counts.any():
        raise DataError(f"train: needs at least one box to train on, got none in {len(train)} pictures")
    return [name for name, count in zip(class_names, counts, strict=True) if count == 0]


def _report_missing(missing: Sequence[str], class_names: Sequence[str]) -> None:
    if missing:
        _logger.warning("train has no box of %d of %d classes: %s", len(missing), len(class_names), ", ".join(missing))


def _report_losses(opened: BoxSplits) -> None:
    for split, reasons in opened.dropped.items():
        for reason, times in reasons.items():
            _logger.warning("%s: left out %d times: %s", split, times, reason)
    for split, count in opened.clipped.items():
        if count:
            _logger.info("%s: cut %d boxes at the edge of their picture", split, count)


def _identify(opened: BoxSplits, chosen: Mapping[str, BoxSource]) -> str:
    digest = hashlib.sha256(opened.identity.encode())
    for name, source in chosen.items():
        image_ids = [source.read_truth(index).image_id for index in range(len(source))]
        digest.update(f"{name} {image_ids}\n".encode())
    return digest.hexdigest()
