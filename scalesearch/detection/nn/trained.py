"""The file of a trained detector: its weights, and all that a stranger to its training needs to use it.

One safetensors file: tensors under effdet's names, which other tools read too, and a JSON text, never code. The text
holds the spec, how its layers pad and normalise, the classes, and the mean and deviation of the training pictures. Drop
path is not kept: it has no part in detecting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scalesearch.data.transforms import Normalisation
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.nn.detector import BN_EPS, Detector
from scalesearch.detection.nn.layers import Halve
from scalesearch.errors import ConfigError, ScalesearchError
from scalesearch.nn.checkpoint import (
    check,
    check_channels,
    check_format,
    check_weights,
    holds_only,
    read_described,
    save_described,
)
from scalesearch.nn.layers import PADDINGS, LayerStyle, Padding, padding_of
from scalesearch.nn.network import build_backbone

FORMAT = 1
"""Of the JSON text; a file of another number is refused."""

DETECTOR = "scalesearch.detector"
"""Key of the metadata."""

_WANTED = "weights must be a file that a detector's training wrote"
_OF = "a detector of this spec"
_NUMBERS = ("backbone_bn_eps", "bn_momentum")
_PADDINGS = ("padding", "backbone_padding")
_KEYS = ("format", "spec", "class_names", "category_ids", "mean", "std", *_PADDINGS, *_NUMBERS)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedDetector:
    """A detector that can be used.

    Args:
        detector: With its weights; its spec says how many classes and at which image size.
        class_names: Of each label.
        category_ids: The data's own number of each label, for writing COCO json.
        normalisation: Mean and deviation of the pictures it was trained on.

    Raises:
        ConfigError: Names or numbers are not one a class.
    """

    detector: Detector
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    normalisation: Normalisation

    def __post_init__(self) -> None:
        count = self.detector.spec.num_classes
        check(len(self.class_names) == count, "class_names", f"{count}, one a class", len(self.class_names))
        ids = self.category_ids
        check(len(set(ids)) == len(ids) == count, "category_ids", f"{count} different ones, one a class", list(ids))


def save_trained(trained: TrainedDetector, path: str | Path) -> None:
    """Write a detector so that a reader, or a crash, sees the old file or the new one, never a part.

    The detector stays where it is, in the memory format it has. The same detector gives the same bytes.

    Raises:
        ConfigError: It has other parameters than ``build_detector`` gives a detector of its spec.
    """
    facts = _describe(trained)
    check_weights(_build(facts), trained.detector.state_dict(), _OF)
    save_described(trained.detector, Path(path), DETECTOR, facts)


def load_trained(path: str | Path) -> TrainedDetector:
    """Return the detector of a file, on the CPU and in eval mode; no random number is drawn.

    Raises:
        ConfigError: The file is missing, no safetensors, not written by ``save_trained``, or was changed since.
    """
    facts, weights = read_described(path, DETECTOR, _WANTED)
    try:
        _check_facts(facts)
        detector = _build(facts)
        check_weights(detector, weights, _OF)
        detector.load_state_dict(weights, assign=True)
        return TrainedDetector(
            detector.eval(),
            tuple(facts["class_names"]),
            tuple(facts["category_ids"]),
            Normalisation(tuple(facts["mean"]), tuple(facts["std"])),
        )
    except ScalesearchError as error:
        raise ConfigError(f"{path}: {error}") from None


def _describe(trained: TrainedDetector) -> dict[str, Any]:
    detector = trained.detector
    norm = detector.backbone.bn1
    return {
        "format": FORMAT,
        "spec": detector.spec.to_dict(),
        "class_names": list(trained.class_names),
        "category_ids": list(trained.category_ids),
        "mean": list(trained.normalisation.mean),
        "std": list(trained.normalisation.std),
        "padding": _padding(detector.fpn),
        "backbone_padding": _padding(detector.backbone),
        "backbone_bn_eps": norm.eps,
        "bn_momentum": norm.momentum,
    }


def _padding(part: nn.Module) -> Padding:
    """Return how a part pads, which shows where it halves a map; elsewhere the two ways are one."""
    halves = (each for each in part.modules() if isinstance(each, Halve))
    return "same" if any(each.padding == "same" for each in halves) else padding_of(part)


def _check_facts(facts: Mapping[str, Any]) -> None:
    """Refuse metadata that have a value of another type than it is used as.

    Raises:
        ConfigError: The first thing that is not as ``save_trained`` writes it.
    """
    check_format(facts, FORMAT, _KEYS)
    check(isinstance(facts["spec"], dict), "spec", "a mapping", facts["spec"])
    for key, kind, allowed in (("class_names", str, "texts"), ("category_ids", int, "whole numbers")):
        check(holds_only(facts[key], kind), key, f"a list of {allowed}", facts[key])
    check_channels(facts)
    for key in _PADDINGS:
        check(facts[key] in PADDINGS, key, f"one of {', '.join(PADDINGS)}", facts[key])
    for key in _NUMBERS:
        check(holds_only([facts[key]], float), key, "a number", facts[key])


def _build(facts: Mapping[str, Any]) -> Detector:
    """Return the detector without memory for its weights: they are compared and then put in as they are."""
    if not isinstance(facts["spec"].get("backbone"), dict):
        raise ConfigError("spec: backbone must be a mapping, got something else")  # a text could name another file
    spec = DetectorSpec.from_dict(facts["spec"])
    eps, momentum = facts["backbone_bn_eps"], facts["bn_momentum"]
    with torch.device("meta"):
        backbone = build_backbone(
            spec.used_backbone, padding=facts["backbone_padding"], bn_eps=eps, bn_momentum=momentum
        )
        return Detector(spec, backbone, LayerStyle(spec.activation, facts["padding"], BN_EPS, momentum))
