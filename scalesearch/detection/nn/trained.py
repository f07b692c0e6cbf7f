"""The file of a trained detector: its weights, and all that a stranger to its training needs to use it.

One safetensors file: tensors under effdet's names, which other tools read too, and a JSON text, never code. The text
holds the spec, how its layers pad and normalise, the classes, and the mean and deviation of the training pictures. Drop
path is not kept: it has no part in detecting.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scalesearch.atomic import replacing
from scalesearch.data.transforms import Normalisation
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.nn.detector import BN_EPS, Detector
from scalesearch.detection.nn.layers import Halve
from scalesearch.errors import ConfigError, ScalesearchError
from scalesearch.nn.layers import PADDINGS, Conv2dSame, LayerStyle, Padding
from scalesearch.nn.network import build_backbone

FORMAT = 1
"""Of the JSON text; a file of another number is refused."""

_METADATA = "scalesearch.detector"
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
        _check(len(self.class_names) == count, "class_names", f"{count}, one a class", len(self.class_names))
        ids = self.category_ids
        _check(len(set(ids)) == len(ids) == count, "category_ids", f"{count} different ones, one a class", list(ids))


def save_trained(trained: TrainedDetector, path: str | Path) -> None:
    """Write a detector so that a reader, or a crash, sees the old file or the new one, never a part.

    The detector stays where it is, in the memory format it has. The same detector gives the same bytes.

    Raises:
        ConfigError: It has other parameters than ``build_detector`` gives a detector of its spec.
    """
    path, facts = Path(path), _describe(trained)
    weights = {name: _plain(value) for name, value in trained.detector.state_dict().items()}
    _check_weights(_build(facts), weights)
    with replacing(path) as temporary:
        save_file(weights, temporary, {_METADATA: json.dumps(facts)})


def load_trained(path: str | Path) -> TrainedDetector:
    """Return the detector of a file, on the CPU and in eval mode; no random number is drawn.

    Raises:
        ConfigError: The file is missing, no safetensors, not written by ``save_trained``, or was changed since.
    """
    text, weights = _read(path)
    try:
        facts = _parse(text)
        detector = _build(facts)
        _check_weights(detector, weights)
        detector.load_state_dict(weights, assign=True)
        return TrainedDetector(
            detector.eval(),
            tuple(facts["class_names"]),
            tuple(facts["category_ids"]),
            Normalisation(*(_triple(facts[key]) for key in ("mean", "std"))),
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
    modules = list(part.modules())
    is_same = any(
        isinstance(each, Conv2dSame) or (isinstance(each, Halve) and each.padding == "same") for each in modules
    )
    return "same" if is_same else "symmetric"


def _plain(weight: Tensor) -> Tensor:
    """Return a copy that safetensors takes: on the CPU, in one piece, sharing memory with no other."""
    return weight.detach().cpu().clone(memory_format=torch.contiguous_format)


def _read(path: str | Path) -> tuple[str, dict[str, Tensor]]:
    wanted = f"{path}: weights must be a file that a detector's training wrote"
    if not Path(path).is_file():
        raise ConfigError(f"{wanted}, got no file by that name")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_METADATA)
            # copied, so that nothing depends on the file any more
            weights = {name: file.get_tensor(name).clone() for name in file.keys()} if text else {}  # noqa: SIM118
    except OSError as error:
        raise ConfigError(f"{wanted}, got one that cannot be read ({error.strerror or error})") from None
    except SafetensorError:
        raise ConfigError(f"{wanted}, got one that is damaged or no safetensors file") from None
    if text is None:
        raise ConfigError(f"{wanted}, got a safetensors file without {_METADATA} in its metadata")
    return text, weights


def _parse(text: str) -> dict[str, Any]:
    """Return the metadata, each value of the type that it is used as.

    Raises:
        ConfigError: The first thing that is not as ``save_trained`` writes it.
    """
    try:
        facts: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"metadata {_METADATA} must be JSON, got {text[:40]!r}") from None
    version = facts.get("format") if isinstance(facts, dict) else None
    _check(version == FORMAT, "format", f"{FORMAT}, the one this version of scalesearch reads", version)
    _check(set(facts) == set(_KEYS), "keys", ", ".join(sorted(_KEYS)), ", ".join(sorted(facts)))
    _check(isinstance(facts["spec"], dict), "spec", "a mapping", facts["spec"])
    for key, kind, allowed in (("class_names", str, "texts"), ("category_ids", int, "whole numbers")):
        _check(_holds_only(facts[key], kind), key, f"a list of {allowed}", facts[key])
    for key in ("mean", "std"):
        least = -math.inf if key == "mean" else 0.0
        holds = (
            _holds_only(facts[key], float)
            and len(facts[key]) == 3
            and all(least < x <= sys.float_info.max for x in facts[key])
        )
        above = "" if key == "mean" else " above 0"
        _check(holds, key, f"a finite number{above} a channel", facts[key])
    for key in _PADDINGS:
        _check(facts[key] in PADDINGS, key, f"one of {', '.join(PADDINGS)}", facts[key])
    for key in _NUMBERS:
        _check(_holds_only([facts[key]], float), key, "a number", facts[key])
    return facts


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


def _check_weights(detector: Detector, weights: Mapping[str, Tensor]) -> None:
    own = detector.state_dict()
    for name in (*own, *weights):
        wanted, got = (_kind(each.get(name)) for each in (own, weights))
        _check(wanted == got, f"weight {name}", f"{wanted}, as a detector of this spec has", got)


def _kind(weight: Tensor | None) -> str:
    return "nothing" if weight is None else f"{str(weight.dtype).removeprefix('torch.')} {tuple(weight.shape)}"


def _triple(values: list[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _holds_only(values: object, kind: type) -> bool:
    """Whether these are a list of one type; whole numbers pass as numbers, truth values as neither."""
    kinds = (int, float) if kind is float else (kind,)
    return isinstance(values, list) and all(isinstance(x, kinds) and not isinstance(x, bool) for x in values)


def _check(holds: bool, name: str, allowed: str, got: object) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {allowed}, got {got if isinstance(got, str) else repr(got)[:80]}")
