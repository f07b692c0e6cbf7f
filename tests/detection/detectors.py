"""A small detector for tests, and boxes without pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scalesearch.arch import ArchSpec
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.data.sample import BoxSample, BoxTruth

BACKBONE = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_c8", "ir_r1_k3_s2_e2_c8", "ir_r1_k3_s2_e2_c16", "ir_r1_k3_s2_e2_c16", "ir_r1_k3_s2_e2_c24"],
    stem_channels=8,
    head_channels=32,
    image_size=64,
)


def tiny_spec(**changes: Any) -> DetectorSpec:
    """Return a detector of five levels, P3 to P7, for images of 64 px and three classes."""
    values: dict[str, Any] = {
        "backbone": BACKBONE,
        "image_size": 64,
        "num_classes": 3,
        "neck_channels": 16,
        "neck_cells": 1,
        "head_depth": 1,
    }
    return DetectorSpec(**{**values, **changes})


@dataclass(frozen=True)
class Truths:
    """Boxes without pictures; a source that nobody may decode."""

    truths: list[BoxTruth]

    def __len__(self) -> int:
        return len(self.truths)

    def read(self, index: int) -> BoxSample:
        raise AssertionError("boxes alone are read here")

    def read_truth(self, index: int) -> BoxTruth:
        return self.truths[index]

    def describe(self, index: int) -> str:
        return f"picture {index}"
