"""Pictures with boxes for training and scoring detectors: one file a format, splits, batches that a seed decides."""

from scalesearch.detection.data.augmentation import BoxAugmentation
from scalesearch.detection.data.batches import BoxBatch, box_batches
from scalesearch.detection.data.config import BoxDataConfig
from scalesearch.detection.data.loading import load_box_data
from scalesearch.detection.data.sample import BoxData, BoxSample, BoxSource, BoxTruth
from scalesearch.detection.data.transforms import Letterbox

__all__ = [
    "BoxAugmentation",
    "BoxBatch",
    "BoxData",
    "BoxDataConfig",
    "BoxSample",
    "BoxSource",
    "BoxTruth",
    "Letterbox",
    "box_batches",
    "load_box_data",
]
