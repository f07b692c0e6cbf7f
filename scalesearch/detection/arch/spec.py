"""What a detector is, as a value: a backbone, a neck over its levels, two heads, and the anchors they speak of.

EfficientDet on any backbone: Tan, Pang & Le 2020 (arXiv 1911.09070), sections 3 and 4. Level ``l`` has ``1 / 2^l`` of
the image's resolution. Levels that the backbone reaches are the deepest stages with that reduction; coarser ones are
pooled from the level below, as P6 and P7 are in the paper.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from scalesearch.arch.cost import out_size
from scalesearch.arch.reading import read_arch
from scalesearch.arch.spec import ACTIVATIONS, MOST, Activation, ArchSpec
from scalesearch.detection.arch.fusion import NECKS, FusionGraph, NeckName, fusion_graph
from scalesearch.errors import ArchError, listed, shown
from scalesearch.nn.network import FeatureInfo, describe_features, select_features

Fusion = Literal["sum", "softmax", "fast"]
FUSIONS: tuple[str, ...] = get_args(Fusion)

_COARSEST = 20  # a cell of a million pixels a side
_COUNTS = ("num_classes", "image_size", "neck_channels", "neck_cells", "head_depth", "num_scales")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSpec:
    """A whole detector; the defaults are EfficientDet-D0's.

    Attributes:
        backbone: Its stem and stages are used, not its head; its own ``image_size`` means nothing here.
        image_size: Pixels a side of the square image the detector is meant for, any number; its costs hold for it.
        num_classes: Without background: each class has an output of its own (COCO's identifiers go to 90).
        neck: ``fpn``, ``panet`` or ``bifpn``.
        fusion: How a node weighs its inputs: ``sum`` not at all; ``softmax`` of learned weights; ``fast``, learned
            weights kept positive and divided by their sum (section 3.3 of the paper).
        neck_channels: Of every feature map in neck and heads.
        neck_cells: Repetitions of the neck's graph.
        head_depth: Convolutions of each head before its prediction.
        min_level: The finest level; the backbone must have a stage at it.
        max_level: The coarsest level.
        num_scales: Anchor sizes a level, spread over an octave.
        aspect_ratios: Of the anchors, as factors of (width, height). The released 1.4 and 0.7 are not an exact 2.
        anchor_scale: Side of the smallest anchor of a level over the level's stride.
        activation: In neck and heads; the backbone has its own.
        redundant_bias: A bias before each BatchNorm of neck and heads, without effect on what the detector can
            express: the released networks were converted from such and are counted with it.

    Raises:
        ArchError: A field is outside its range.
    """

    backbone: ArchSpec
    image_size: int = 512
    num_classes: int = 90
    neck: NeckName = "bifpn"
    fusion: Fusion = "fast"
    neck_channels: int = 64
    neck_cells: int = 3
    head_depth: int = 3
    min_level: int = 3
    max_level: int = 7
    num_scales: int = 3
    aspect_ratios: tuple[tuple[float, float], ...] = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
    anchor_scale: float = 4.0
    activation: Activation = "silu"
    redundant_bias: bool = True

    def __post_init__(self) -> None:
        _check(isinstance(self.backbone, ArchSpec), "backbone", "an architecture", self.backbone)
        for name in _COUNTS:
            value = getattr(self, name)
            _check(_is_int(value) and value >= 1, name, "a whole number of at least 1", value)
            _check(value <= MOST, name, f"at most {MOST:,}", value)
        _check(self.neck in NECKS, "neck", f"one of {', '.join(NECKS)}", self.neck)
        _check(self.fusion in FUSIONS, "fusion", f"one of {', '.join(FUSIONS)}", self.fusion)
        _check(self.activation in ACTIVATIONS, "activation", f"one of {', '.join(ACTIVATIONS)}", self.activation)
        _check(isinstance(self.redundant_bias, bool), "redundant_bias", "true or false", self.redundant_bias)
        self._check_levels()
        self._check_anchors()

    def _check_levels(self) -> None:
        own = [info.reduction.bit_length() - 1 for info in describe_features(self.backbone)]
        allowed = f"in {own[0]} .. {own[-1]}, the levels of the backbone's stages"
        _check(_is_int(self.min_level) and own[0] <= self.min_level <= own[-1], "min_level", allowed, self.min_level)
        above = _is_int(self.max_level) and self.max_level > self.min_level
        _check(above, "max_level", f"a whole number above min_level {self.min_level}", self.max_level)
        _check(self.max_level <= _COARSEST, "max_level", f"at most {_COARSEST}", self.max_level)

    def _check_anchors(self) -> None:
        _check(_is_positive(self.anchor_scale), "anchor_scale", "a finite number above 0", self.anchor_scale)
        ratios = self.aspect_ratios
        pairs = isinstance(ratios, tuple) and bool(ratios) and all(isinstance(pair, tuple) for pair in ratios)
        holds = pairs and all(len(pair) == 2 and all(map(_is_positive, pair)) for pair in ratios)
        _check(holds, "aspect_ratios", "pairs of a width and a height above 0", ratios)
        # 4 and 4.0 are the same detector, and must be written alike
        object.__setattr__(self, "anchor_scale", float(self.anchor_scale))
        object.__setattr__(self, "aspect_ratios", tuple((float(width), float(height)) for width, height in ratios))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorSpec:
        """Build from the mapping that ``to_dict`` writes; the backbone may also be a text that ``read_arch`` knows.

        Raises:
            ArchError: A key is unknown, the backbone is missing, or a value is not allowed.
        """
        known = [field.name for field in fields(cls)]
        unknown = [key for key in values if key not in known]
        if unknown or "backbone" not in values:
            got = listed(unknown) if unknown else "no backbone"
            raise ArchError(f"a detector has the keys {', '.join(known)}, of which backbone must be given; got {got}")
        plain = dict(values)
        if isinstance(plain.get("aspect_ratios"), list):
            plain["aspect_ratios"] = tuple(tuple(x) if isinstance(x, list) else x for x in plain["aspect_ratios"])
        return cls(**{**plain, "backbone": _read_backbone(values["backbone"])})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the backbone as ``ArchSpec.to_dict`` writes it, and the other fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        ratios = [list(pair) for pair in self.aspect_ratios]
        return {**values, "backbone": self.backbone.to_dict(), "aspect_ratios": ratios}

    @property
    def arch_id(self) -> str:
        """Twelve hexadecimal digits, the same in every process, of the shape alone: no weights, no seed."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def blocks(self) -> str:
        """Neck, heads and backbone in a line for people.

        Example:
            >>> from scalesearch.detection.arch.published import published_detector
            >>> published_detector("efficientdet-d0").blocks[:52]
            'bifpn x3 fast c64 P3-P7, heads x3, 512 px on ds_r1_k'
        """
        neck = f"{self.neck} x{self.neck_cells} {self.fusion} c{self.neck_channels} P{self.min_level}-P{self.max_level}"
        return f"{neck}, heads x{self.head_depth}, {self.image_size} px on {self.used_backbone.blocks}"

    @property
    def graph(self) -> FusionGraph:
        """One cell of the neck."""
        return fusion_graph(self.neck, self.min_level, self.max_level)

    @property
    def levels(self) -> range:
        """All levels, finest first."""
        return range(self.min_level, self.max_level + 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cells a side of each level's map, rounded up as padded strides do."""
        return tuple(out_size(self.image_size, 2**level) for level in self.levels)

    @property
    def num_anchors(self) -> int:
        """Anchors a cell."""
        return self.num_scales * len(self.aspect_ratios)

    @property
    def features(self) -> tuple[FeatureInfo, ...]:
        """The backbone's feature maps that enter the neck, finest first; the levels beyond them are pooled."""
        infos = describe_features(self.backbone)
        return select_features(infos, [2**level for level in self.levels if 2**level <= infos[-1].reduction])

    @property
    def input_channels(self) -> tuple[int, ...]:
        """Channels of each level where it enters the neck's first cell."""
        own = tuple(info.channels for info in self.features)
        return own + (self.neck_channels,) * (len(self.levels) - len(own))

    @property
    def used_backbone(self) -> ArchSpec:
        """The backbone without the stages that are coarser than the coarsest level: they would never run."""
        return replace(self.backbone, stages=self.backbone.stages[: self.features[-1].stage + 1])


def _read_backbone(value: object) -> ArchSpec:
    if isinstance(value, str):
        return read_arch(value)
    if not isinstance(value, Mapping):
        raise ArchError(
            f"backbone must be a mapping with the key blocks, or an architecture's name, got {shown(value)}"
        )
    try:
        return ArchSpec.from_dict(value)
    except ArchError as error:
        raise ArchError(f"backbone: {error}") from None


def _check(holds: bool, name: str, allowed: str, got: object) -> None:
    if not holds:
        raise ArchError(f"{name} must be {allowed}, got {shown(got)}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= sys.float_info.max
