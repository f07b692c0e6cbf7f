"""Studies of tiny detectors: keys, and an executor that scores them by a formula; all but the training is real."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torchvision.transforms.v2.functional import to_pil_image

from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.data import BoxAugmentation, BoxDataConfig
from scalesearch.detection.data.made import open_made
from scalesearch.detection.studies import DetectConfig, DetectorJob, DetectorScore, DetectScaleConfig, run_detect
from scalesearch.detection.training import DetectorTrainConfig
from scalesearch.study.executors import Executor
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record, load_records
from tests.study.stand_ins import FormulaExecutor

NUM_CLASSES = 10
BLOCKS = "ds_r1_k3_s1_c8,ir_r1_k3_s2_e2_c8,ir_r1_k3_s2_e2_c16,ir_r1_k3_s2_e2_c16"
TINY_BOXES = BoxDataConfig(made_train_images=8, made_val_images=4, made_test_images=4, made_image_size=64)
TINY_TRAINING = DetectorTrainConfig(steps=2, batch_size=4, augmentation=BoxAugmentation(flip=False))


def worth(job: DetectorJob) -> float:
    """Return an AP that rises with width, depth and image size, and by a hair with the seed."""
    spec = job.arch
    size = spec.neck_channels * spec.neck_cells + spec.head_depth + spec.image_size / 8
    return size / (size + 100) + job.seed * 1e-4


class DetectorFormulaExecutor(FormulaExecutor):
    """A ``FormulaExecutor`` of detectors; the first class has no box in val."""

    def __init__(self, formula: Any = worth, num_workers: int = 1, last: int = 1_000_000) -> None:
        super().__init__(formula, num_workers, last)

    def score(self, job: DetectorJob, value: float, **facts: Any) -> DetectorScore:
        return DetectorScore(
            val_ap=value,
            val_ap50=min(1.0, value * 1.5),
            val_ap_of_class=(None, *[value] * (job.arch.num_classes - 1)),
            test_ap=value / 2 if job.reads_test else math.nan,
            latency_ms=detector_cost(job.arch).total.macs / 1e6,
            **facts,
        )


class FormulaDetect(DetectConfig):
    """A comparison whose detectors are scored by an executor that is handed in."""

    __slots__ = ("used",)

    def open_executor(self, data: object) -> Executor:
        return self.used


class FormulaDetectScale(DetectScaleConfig):
    """A search whose detectors are scored by an executor that is handed in."""

    __slots__ = ("used",)

    def open_executor(self, data: object) -> Executor:
        return self.used


def keys(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the keys that both studies of detectors share, for a study ``mine`` below ``folder``."""
    shared = {"study": "mine", "results": str(folder), "workers": 1, "threads": 1, "device": "cpu", "backbone": BLOCKS}
    return {**shared, "max_level": 4, "data": TINY_BOXES, "train": TINY_TRAINING, **changes}


def detect_keys(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the keys of a comparison of the smallest detectors."""
    small = {"neck_channels": 8, "neck_cells": 1, "head_depth": 1, "image_size": 64, "seeds": 1}
    return keys(folder, **{**small, **changes})


def scale_keys(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the keys of a search over sixteen of the smallest detectors."""
    choices = {"neck_channels": "8,16", "neck_cells": "1,2", "head_depth": "1,2", "image_size": "48,64"}
    return keys(folder, **{**choices, "trials": 4, **changes})


def new_detect(folder: Path, executor: FormulaExecutor | None = None, **changes: Any) -> FormulaDetect:
    config = FormulaDetect(**detect_keys(folder, **changes))
    config.used = executor or DetectorFormulaExecutor()
    return config


def new_detect_scale(folder: Path, executor: FormulaExecutor | None = None, **changes: Any) -> FormulaDetectScale:
    config = FormulaDetectScale(**scale_keys(folder, **changes))
    config.used = executor or DetectorFormulaExecutor()
    return config


def write_coco(root: Path, class_names: Sequence[str], *, has_val_boxes: bool = True) -> BoxDataConfig:
    """Write COCO data of six train and two val pictures without a test split, all boxes of the first class."""
    (root / "images").mkdir(parents=True)
    counts = {"train": 6, "val": 2}
    made = open_made(num_images={**counts, "test": 1}, image_size=64, seed=1)
    for split, count in counts.items():
        source = getattr(made, split)
        names = [f"{split}-{index}.png" for index in range(count)]
        boxes = []
        for index, name in enumerate(names):
            sample = source.read(index)
            to_pil_image(sample.image).save(root / "images" / name)
            for left, top, right, bottom in sample.boxes_xyxy.tolist() if split == "train" or has_val_boxes else ():
                boxes.append({"image_id": index, "bbox": [left, top, right - left, bottom - top], "category_id": 0})
        content = {
            "images": [{"id": at, "file_name": name, "width": 64, "height": 64} for at, name in enumerate(names)],
            "annotations": boxes,
            "categories": [{"id": number, "name": name} for number, name in enumerate(class_names)],
        }
        (root / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return BoxDataConfig(format="coco", root=str(root), stored_size=64)


def read_record(folder: Path) -> Record:
    (record,) = load_records(f"sqlite:///{folder}/mine/study.db", "mine")
    return record


def read_trials(folder: Path) -> pd.DataFrame:
    return read_record(folder).frame()


def macs_of(spec: DetectorSpec) -> int:
    return detector_cost(spec).total.macs


def run_formula_detect(folder: Path, **changes: Any) -> StudyFolder:
    """Run a comparison by the formula and return its folder."""
    config = new_detect(folder, **changes)
    run_detect(config)
    return config.folder
