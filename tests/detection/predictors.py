"""A small detector that claims things, in a file, and pictures for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.transforms.v2.functional import to_pil_image

from scalesearch.data.transforms import Normalisation
from scalesearch.detection.data.made import open_made
from scalesearch.detection.nn.detector import build_detector
from scalesearch.detection.nn.trained import TrainedDetector, save_trained
from tests.detection.detectors import tiny_spec

NAMES, IDS = ("cat", "<script>alert(1)</script>\n", "dog"), (7, 90, 3)


def eager_detector(**changes: Any) -> TrainedDetector:
    """Return an untrained detector whose scores lie around a half."""
    torch.manual_seed(0)
    detector = build_detector(tiny_spec(**changes))
    nn.init.zeros_(detector.class_net.predict.get_parameter("conv_pw.bias"))
    normalisation = Normalisation(mean=(0.5, 0.45, 0.4), std=(0.25, 0.2, 0.3))
    return TrainedDetector(detector.eval(), NAMES, IDS, normalisation)


def save_eager(folder: Path) -> str:
    """Write an eager detector and return its file."""
    path = folder / "detector.safetensors"
    save_trained(eager_detector(), path)
    return str(path)


def write_made(folder: Path, names: Iterable[str], *, height: int = 60, width: int = 96) -> Path:
    """Write made pictures below a folder, which is returned."""
    named = list(names)
    counts = {"train": len(named), "val": 1, "test": 1}
    source = open_made(num_images=counts, image_size=96, seed=3).train
    for index, name in enumerate(named):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(source.read(index).image[:, :height, :width]).save(folder / name)
    return folder
