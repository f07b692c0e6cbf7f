"""How a person names an architecture or a scaling rule: on the command line, or in a configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalesearch.arch.files import load_value
from scalesearch.arch.published import EFFICIENTNETS, published_arch
from scalesearch.arch.scaling import ScalingFactors, ScalingRule
from scalesearch.arch.spec import BLOCK_TYPES, ArchSpec
from scalesearch.errors import ArchError, shown

_FILE_ENDINGS = (".yaml", ".yml", ".json")
_FACTORS = ("alpha", "beta", "gamma")
_RULE = "it must give the numbers alpha, beta and gamma"


def read_arch(text: str) -> ArchSpec:
    """Return the architecture that a published name, a file, or block strings joined by commas describe.

    Raises:
        ArchError: The text is none of them.

    Example:
        >>> read_arch("efficientnet-b0") == read_arch("efficientnet_b0")
        True
        >>> read_arch("ds_r1_k3_s1_e1_c16,ir_r2_k3_s2_e6_c24").num_blocks
        3
    """
    text = text.strip()
    if text.endswith(_FILE_ENDINGS):
        return ArchSpec.load(text)
    if text.split("_")[0] in BLOCK_TYPES:
        return ArchSpec.from_blocks(text.split(","))
    if text.startswith("efficientnet"):
        return published_arch(text)
    allowed = f"{next(iter(EFFICIENTNETS))} .. b7, a .yaml or .json file, or block strings joined by commas"
    raise ArchError(f"an architecture is {allowed}; got {shown(text)}")


def read_rule(text: str) -> ScalingRule:
    """Return the scaling rule in a file that ``scale`` wrote, or ``ALPHA,BETA,GAMMA`` with depths rounded up.

    Raises:
        ArchError: The text is neither.

    Example:
        >>> read_rule("1.2,1.1,1.15").factors.alpha
        1.2
    """
    if text.endswith(_FILE_ENDINGS):
        return _load_rule(Path(text))
    try:
        alpha, beta, gamma = map(float, text.split(","))
    except ValueError:
        raise ArchError(f"factors are a file that scale wrote, or numbers as 1.2,1.1,1.15; got {shown(text)}") from None
    return ScalingRule(ScalingFactors(alpha, beta, gamma))


def read_rule_base(text: str) -> ArchSpec | None:
    """Return the base that a rule's file was found on; None where it names none, or the rule is numbers alone.

    Raises:
        ArchError: The file cannot be read, or its base is no architecture.
    """
    if not text.endswith(_FILE_ENDINGS):
        return None
    base = _read_rule_file(Path(text)).get("base")
    try:
        if base is not None and not isinstance(base, Mapping):
            raise ArchError(f"an architecture is a mapping with the key blocks, got {shown(base)}")
        return None if base is None else ArchSpec.from_dict(base)
    except ArchError as error:
        raise ArchError(f"{text}: base: {error}") from None


def _load_rule(path: Path) -> ScalingRule:
    values = _read_rule_file(path)
    try:
        factors = ScalingFactors(*(float(values[name]) for name in _FACTORS))
        return ScalingRule(factors, values.get("rounding", "ceil"))
    except ArchError as error:
        raise ArchError(f"{path}: {error}") from None


def _read_rule_file(path: Path) -> Mapping[str, Any]:
    def check(values: Mapping[str, Any]) -> Mapping[str, Any]:
        if not all(_is_number(values.get(name)) for name in _FACTORS):
            raise ArchError(f"{_RULE}, got {shown(values)}")
        return values

    return load_value(path, check, _RULE)


def _is_number(value: object) -> bool:
    # a file's whole number may have a thousand digits, which no float holds
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
