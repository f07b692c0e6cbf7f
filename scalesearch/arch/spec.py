"""What a network is, as a value: stages of blocks between a stem and a head.

The notation is timm's block strings (``ir_r2_k5_s2_e6_c40_se0.25``), so an architecture can be read, typed and
compared with published ones. Only what they say about shape is understood; any other code is refused.

Papers: MBConv, Sandler et al. 2018 (arXiv 1801.04381); squeeze-and-excitation inside it, Tan et al. 2019 (MnasNet,
arXiv 1807.11626); FusedMBConv, Tan & Le 2021 (EfficientNetV2, arXiv 2104.00298).
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from scalesearch.arch.files import load_value, save_values
from scalesearch.errors import ArchError, listed, shown

BlockType = Literal["ds", "ir", "er", "cn"]
Activation = Literal["silu", "relu", "hardswish"]

BLOCK_TYPES: tuple[str, ...] = get_args(BlockType)
ACTIVATIONS: tuple[str, ...] = get_args(Activation)

# What a block type leaves no choice about: ds and cn do not expand, cn has no squeeze-and-excitation.
FIXED_FIELDS: dict[str, dict[str, float]] = {
    "ds": {"expand_ratio": 1.0},
    "cn": {"expand_ratio": 1.0, "se_ratio": 0.0},
}

_CODES = {"r": "num_blocks", "k": "kernel_size", "s": "stride", "e": "expand_ratio", "c": "out_channels"}
# Of ASCII, and fewer digits than Python refuses to read; the smallest float has some 340.
_CODE = re.compile(r"(?P<key>se|[a-z]+)(?P<value>[0-9]{1,400}(?:\.[0-9]{1,400})?)")

MOST = 1_000_000
"""Of any number of a network that is read: a size that no machine builds is a mistake, or somebody's trap."""
_MOST_BLOCKS = 1_000


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A run of blocks of one kind; the first may downsample and change the channels.

    Attributes:
        block: ``ds`` depthwise separable, ``ir`` inverted residual (MBConv), ``er`` edge residual (FusedMBConv),
            ``cn`` convolution, BatchNorm, activation; timm's codes.
        kernel_size: Side of the spatial convolution, odd.
        stride: Of the first block, 1 or 2; the others have 1.
        expand_ratio: Inner channels over the block's input channels; 1 for ``ds`` and ``cn``.
        out_channels: Channels every block of the stage gives.
        num_blocks: At least 1.
        se_ratio: Squeezed channels over the channels that enter the block, in [0, 1]; 0 builds no unit.
        skip: Whether a block whose input and output shapes agree adds its input to its output.

    Raises:
        ArchError: A field is outside its range.
    """

    block: BlockType
    kernel_size: int
    stride: int
    expand_ratio: float
    out_channels: int
    num_blocks: int = 1
    se_ratio: float = 0.0
    skip: bool = True

    def __post_init__(self) -> None:
        _check(self.block in BLOCK_TYPES, "block", f"one of {', '.join(BLOCK_TYPES)}", self.block)
        _check(_is_count(self.kernel_size) and self.kernel_size % 2 == 1, "kernel_size", "odd", self.kernel_size)
        _check(_is_count(self.stride) and self.stride <= 2, "stride", "1 or 2", self.stride)
        for name in ("kernel_size", "out_channels", "num_blocks"):
            _check_count(name, getattr(self, name))
        expands = _is_number(self.expand_ratio) and 0 < self.expand_ratio <= sys.float_info.max
        _check(expands, "expand_ratio", "a number above 0", self.expand_ratio)
        _check(_is_number(self.se_ratio) and 0 <= self.se_ratio <= 1, "se_ratio", "in [0, 1]", self.se_ratio)
        _check(isinstance(self.skip, bool), "skip", "true or false", self.skip)
        # 6 and 6.0 are the same network and must have the same arch_id
        object.__setattr__(self, "expand_ratio", float(self.expand_ratio))
        object.__setattr__(self, "se_ratio", float(self.se_ratio))
        for name, value in FIXED_FIELDS.get(self.block, {}).items():
            _check(getattr(self, name) == value, name, f"{value:g} for a {self.block} block", getattr(self, name))

    @classmethod
    def from_block(cls, text: str) -> StageSpec:
        """Read one timm block string.

        Raises:
            ArchError: The string has a code that is unknown, repeated or missing.

        Example:
            >>> StageSpec.from_block("ir_r2_k5_s2_e6_c40_se0.25").out_channels
            40
        """
        block, *codes = text.strip().split("_")
        if block not in BLOCK_TYPES:
            raise ArchError(
                f"block string {shown(text)}: it must begin with one of {', '.join(BLOCK_TYPES)}, got {shown(block)}"
            )
        values: dict[str, Any] = {"block": block}
        for code in codes:
            name, value = _read_code(code, text)
            if name in values:
                raise ArchError(f"block string {shown(text)}: {name} is given twice")
            values[name] = value
        values = {"skip": block != "cn"} | FIXED_FIELDS.get(block, {}) | values
        missing = [f"{code} ({name})" for code, name in _CODES.items() if name not in values]
        if missing:
            raise ArchError(f"block string {shown(text)}: it must also say {', '.join(missing)}")
        try:
            stage = cls(**values)
            stage.check_size()
        except ArchError as error:
            raise ArchError(f"block string {shown(text)}: {error}") from None
        return stage

    def check_size(self) -> None:
        """Refuse numbers that no machine builds, in what was read from elsewhere.

        Raises:
            ArchError: There is one.
        """
        for name in ("kernel_size", "out_channels", "expand_ratio"):
            _check(getattr(self, name) <= MOST, name, f"at most {MOST:,}", getattr(self, name))
        _check(self.num_blocks <= _MOST_BLOCKS, "num_blocks", f"at most {_MOST_BLOCKS:,}", self.num_blocks)

    def to_block(self) -> str:
        """Write the stage as one timm block string.

        Example:
            >>> StageSpec("ds", 3, 1, 1.0, 16, se_ratio=0.25).to_block()
            'ds_r1_k3_s1_e1_c16_se0.25'
        """
        text = (
            f"{self.block}_r{self.num_blocks}_k{self.kernel_size}_s{self.stride}"
            f"_e{_plain(self.expand_ratio)}_c{self.out_channels}"
        )
        if self.se_ratio:
            text += f"_se{_plain(self.se_ratio)}"
        # timm adds the input back by default, except in a plain convolution, where it must be asked for.
        if self.block == "cn":
            return text + ("_skip" if self.skip else "")
        return text + ("" if self.skip else "_noskip")


@dataclass(frozen=True, slots=True)
class ArchSpec:
    """A whole network: stem convolution, stages, 1x1 head convolution, pooling, classifier.

    Attributes:
        stages: At least one.
        stem_channels: Of the 3x3 stem convolution.
        head_channels: Of the 1x1 convolution before pooling.
        image_size: Pixels a side of the square image the network is meant for; its costs default to it.
        stem_stride: 2 for photographs, 1 for small images (32 px).
        activation: After every convolution but the projections.

    Raises:
        ArchError: A field is outside its range.

    Example:
        >>> arch = ArchSpec.from_blocks(["ds_r1_k3_s1_e1_c16", "ir_r2_k3_s2_e6_c24"], stem_channels=32)
        >>> len(arch.stages), arch.num_blocks, arch.reduction
        (2, 3, 4)
    """

    stages: tuple[StageSpec, ...]
    stem_channels: int = 32
    head_channels: int = 1280
    image_size: int = 224
    stem_stride: int = 2
    activation: Activation = "silu"

    def __post_init__(self) -> None:
        _check(bool(self.stages), "stages", "at least one stage", "none")
        for name in ("stem_channels", "head_channels", "image_size"):
            _check_count(name, getattr(self, name))
        _check(_is_count(self.stem_stride) and self.stem_stride <= 2, "stem_stride", "1 or 2", self.stem_stride)
        _check(self.activation in ACTIVATIONS, "activation", f"one of {', '.join(ACTIVATIONS)}", self.activation)

    @classmethod
    def from_blocks(cls, blocks: Iterable[str], **network: int | str) -> ArchSpec:
        """Build from timm block strings, one a stage; the other fields by keyword.

        Raises:
            ArchError: A string or a field is not allowed.
        """
        return cls.from_dict({"blocks": list(blocks), **network})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArchSpec:
        """Build from the mapping that ``to_dict`` writes: ``blocks`` and the other fields.

        Raises:
            ArchError: A key is unknown or a value not allowed.
        """
        known = {field.name for field in fields(cls)} - {"stages"}
        unknown = set(values) - known - {"blocks"}
        if unknown:
            allowed = ", ".join(["blocks", *sorted(known)])
            raise ArchError(f"an architecture has the keys {allowed}; got {listed(unknown)}")
        blocks = values.get("blocks")
        if not isinstance(blocks, (list, tuple)) or not all(isinstance(block, str) for block in blocks):
            raise ArchError(f"blocks must be a list of block strings, got {shown(blocks)}")
        arch = cls(tuple(map(StageSpec.from_block, blocks)), **{key: values[key] for key in known & set(values)})
        arch.check_size()
        return arch

    def check_size(self) -> None:
        """Refuse numbers that no machine builds, in what was read from elsewhere; each stage checks its own.

        Raises:
            ArchError: There is one.
        """
        for name in ("stem_channels", "head_channels", "image_size"):
            _check(getattr(self, name) <= MOST, name, f"at most {MOST:,}", getattr(self, name))

    @classmethod
    def load(cls, path: Path | str) -> ArchSpec:
        """Read a YAML or JSON file that ``save`` wrote.

        Raises:
            ArchError: The file is missing or holds no architecture; the sentence names it.
        """
        return load_value(path, cls.from_dict, "an architecture is a mapping with the key blocks")

    def save(self, path: Path | str) -> None:
        """Write the architecture as JSON where the name ends in ``.json``, else as YAML."""
        save_values(self.to_dict(), path)

    def to_yaml(self) -> str:
        """Return what ``save`` writes into a YAML file."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: ``blocks`` as timm strings, and the other fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "stages"}
        return {"blocks": [stage.to_block() for stage in self.stages], **values}

    @property
    def arch_id(self) -> str:
        """Twelve hexadecimal digits, the same in every process, of the shape alone: no weights, no seed."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def blocks(self) -> str:
        """The stages as block strings joined by commas, as ``read_arch`` takes them."""
        return ",".join(stage.to_block() for stage in self.stages)

    @property
    def num_blocks(self) -> int:
        """Blocks over all stages."""
        return sum(stage.num_blocks for stage in self.stages)

    @property
    def reduction(self) -> int:
        """Image pixels a side to one cell of the last feature map."""
        reduction = self.stem_stride
        for stage in self.stages:
            reduction *= stage.stride
        return reduction


def _check(holds: bool, name: str, allowed: str, got: object) -> None:
    if not holds:
        raise ArchError(f"{name} must be {allowed}, got {shown(got)}")


def _check_count(name: str, value: int) -> None:
    _check(_is_count(value), name, "a whole number of at least 1", value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: float) -> str:
    """Write every digit and no exponent, so that reading it back gives the same number."""
    return format(Decimal(repr(value)).normalize(), "f")


def _read_code(code: str, text: str) -> tuple[str, Any]:
    if code in ("skip", "noskip"):
        return "skip", code == "skip"
    match = _CODE.fullmatch(code)
    key = match["key"] if match else code
    if match and key == "se":
        return "se_ratio", float(match["value"])
    if not match or key not in _CODES:
        raise ArchError(
            f"block string {shown(text)}: the codes are r, k, s, e, c, se, skip and noskip; got {shown(code)}"
        )
    name = _CODES[key]
    if name == "expand_ratio":
        return name, float(match["value"])
    if "." in match["value"]:
        raise ArchError(f"block string {shown(text)}: {name} must be a whole number, got {match['value']}")
    return name, int(match["value"])
