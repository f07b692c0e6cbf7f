"""Weights from a file into a detector: a whole one's, or a backbone's alone.

Public checkpoints and our own search's are read by name: effdet's ``EfficientDet``, timm's ``EfficientNet``,
torchvision's ``EfficientNet``. A backbone is loaded whole or not at all: half of another network is worth nothing, and
it would not be noticed. Neck and heads take what fits: another number of classes leaves the class head's prediction
fresh, and only that.

Names and shapes are all that is compared. What a file does not say must be right in the detector: ``padding`` and
``backbone_bn_eps`` of ``build_detector``, as ``scalesearch.nn.weights`` lists them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scalesearch.detection.nn.detector import Detector
from scalesearch.errors import ConfigError
from scalesearch.nn.weights import read_weights

_BACKBONE = "backbone."
_FEW = 4
"""Names that a sentence still lists."""


@dataclass(frozen=True, slots=True)
class PretrainedInfo:
    """What came of a file, by the names of state dicts.

    BatchNorm's count of batches is not among them: nothing here reads it, and some files lack it.

    Attributes:
        source: What the file holds: ``detector`` or ``backbone``.
        loaded: Tensors of the detector that the file gave.
        fresh: Tensors of the detector that stay as they were: the file has none, or one of another shape.
        ignored: Tensors of the file, by its own names, that have no place: a classifier, stages that the detector does
            not use.
    """

    source: str
    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    ignored: tuple[str, ...]

    def describe(self) -> str:
        """Return one sentence, with the counts and names, or parts where there are many.

        Example:
            >>> PretrainedInfo("backbone", ("backbone.a.weight",), ("fpn.b.weight",), ()).describe()
            'loaded 1 tensor of a backbone, left fresh 1 (fpn.b.weight), ignored 0'
        """
        number = len(self.loaded)
        return (
            f"loaded {number} tensor{'' if number == 1 else 's'} of a {self.source}, left fresh {_summary(self.fresh)},"
            f" ignored {_summary(self.ignored)}"
        )


def load_pretrained(detector: Detector, path: str | Path) -> PretrainedInfo:
    """Load a file's weights into ``detector``, in place, and return what came of it.

    Args:
        detector: On any device; it stays as it was if the file is refused.
        path: A ``.safetensors``, ``.pt`` or ``.pth`` file with a detector or a backbone, its classifier and deeper
            stages than the detector uses included or not.

    Raises:
        ConfigError: The file cannot be read, holds neither, or holds another backbone: the first difference is said.
    """
    weights = {name: value for name, value in read_weights(path).items() if not _is_count(name)}
    source = _recognise(weights, path)
    prefix = _BACKBONE if source == "backbone" else ""
    weights = {prefix + name: value for name, value in weights.items()}
    own = {name: value for name, value in detector.state_dict().items() if not _is_count(name)}
    _check_backbone(own, weights, len(detector.backbone.blocks), path)
    fitting = {name: weights[name] for name in own if name in weights and weights[name].shape == own[name].shape}
    detector.load_state_dict(fitting, strict=False)
    return PretrainedInfo(
        source=source,
        loaded=tuple(fitting),
        fresh=tuple(name for name in own if name not in fitting),
        ignored=tuple(name.removeprefix(prefix) for name in weights if name not in own),
    )


def _recognise(weights: Mapping[str, Tensor], path: str | Path) -> str:
    if any(name.startswith(_BACKBONE) for name in weights):
        return "detector"
    if "conv_stem.weight" in weights:
        return "backbone"
    raise ConfigError(
        f"{path}: an EfficientDet named as effdet's, or an EfficientNet named as timm's or torchvision's, is wanted,"
        f" got a file that begins with {next(iter(weights), 'nothing')}"
    )


def _check_backbone(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], num_stages: int, path: str | Path
) -> None:
    """Refuse a file whose stem and stages are not the detector's, as far as the detector goes."""
    stages = tuple(f"{_BACKBONE}{part}." for part in ("conv_stem", "bn1", *(f"blocks.{i}" for i in range(num_stages))))
    # the file's too: a deeper sibling has all of a network's blocks, in the same shapes
    for name in dict.fromkeys([*own, *weights]):
        if name.startswith(stages) and _shape(own.get(name)) != _shape(weights.get(name)):
            raise ConfigError(
                f"{path}: the backbone must be the detector's, which has {_shape(own.get(name))} at"
                f" {name.removeprefix(_BACKBONE)}, got {_shape(weights.get(name))}"
            )


def _shape(value: Tensor | None) -> str:
    return "nothing" if value is None else str(tuple(value.shape))


def _is_count(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


def _summary(names: Collection[str]) -> str:
    """Return the number of names and, in brackets, the few or the parts they belong to."""
    if not names:
        return "0"
    parts = dict.fromkeys(name.removeprefix(_BACKBONE).split(".")[0] for name in names)
    return f"{len(names)} ({', '.join(names if len(names) <= _FEW else parts)})"
