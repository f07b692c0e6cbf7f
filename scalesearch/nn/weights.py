"""Weights from a file, under timm's names: what other people's training, or our own search, left on a disk.

A file is data, never code: safetensors, or a pickle that ``torch.load`` reads with ``weights_only=True``. What training
loops wrap around a state dict is taken off. torchvision's EfficientNets are renamed; whatever else is in a file keeps
its name.

A file does not say how its network pads and what BatchNorm's epsilon is. Symmetric padding goes with timm's
``efficientnet_*`` and all of torchvision's, ``same`` with ``tf_efficientnet_*``. The epsilon is 1e-5 in the former and
in torchvision's B0 to B4, 1e-3 in the latter and in torchvision's B5 to B7 and V2.
"""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from scalesearch.errors import ConfigError

SUFFIXES = (".safetensors", ".pt", ".pth")

# As timm unwraps: a running mean of the weights before the weights themselves.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
# Of DistributedDataParallel and AveragedModel, of effdet's benches, of torch.compile.
_PREFIX = re.compile(r"^((module|model|_orig_mod)\.)+")

# What readers raise on a file that is damaged, as found by benchmarks/fuzz_readers.py.
_BROKEN = (
    *(SafetensorError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, AssertionError),
    *(ArithmeticError, MemoryError, ImportError, struct.error),
)

_STEM = re.compile(r"features\.0\.([01])\.(\w+)")
_UNIT = re.compile(r"features\.(\d+)\.(\d+)\.block\.(\d)\.([01]|fc[12])\.(\w+)")
# What a block of torchvision's is made of, in order, and the names that timm has for each: convolution and BatchNorm.
_LAYOUTS: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {
    ("depthwise", "se", "1x1"): (("conv_dw", "bn1"), ("", ""), ("conv_pw", "bn2")),
    ("1x1", "depthwise", "se", "1x1"): (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("", ""), ("conv_pwl", "bn3")),
    ("full", "1x1"): (("conv_exp", "bn1"), ("conv_pwl", "bn2")),
    ("full",): (("conv", "bn1"),),
}
_SQUEEZE_EXCITATION = {"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, on the CPU: timm's names where they were timm's or torchvision's.

    Raises:
        ConfigError: There is no such file, it is of another kind, it holds more than data, or no tensor.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: weights are read from {', '.join(SUFFIXES)}, got {path.suffix or 'none'}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except OSError as error:
        raise ConfigError(f"{path}: a file with weights is wanted, got none ({error.strerror or error})") from None
    except _BROKEN as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: weights are wanted, got a file that is damaged or no {path.suffix} file") from None
    weights = {_PREFIX.sub("", str(name)): value for name, value in _unwrap(content).items() if torch.is_tensor(value)}
    if not weights:
        raise ConfigError(f"{path}: a state dict, names with tensors, is wanted, got none")
    return rename_torchvision(weights)


def rename_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with stem and blocks of torchvision's ``EfficientNet`` under timm's names.

    torchvision counts layers, timm names them, so what a block is is read off its convolutions: without a 1x1 one in
    front it is ``ds``, with a full one ``er``, with nothing but it ``cn``, else ``ir``. Other names stay as they are.

    Example:
        >>> list(rename_torchvision({"features.0.0.weight": torch.ones(1), "classifier.1.bias": torch.ones(1)}))
        ['conv_stem.weight', 'classifier.1.bias']
    """
    units: dict[tuple[str, str], dict[int, str]] = {}
    for name, value in weights.items():
        match = _UNIT.fullmatch(name)
        if match and value.ndim == 4 and match[4] in ("0", "fc1"):
            units.setdefault((match[1], match[2]), {})[int(match[3])] = _kind(match[4], value)
    layouts = {
        block: _LAYOUTS.get(tuple(kinds[position] for position in sorted(kinds))) for block, kinds in units.items()
    }
    return {_rename(name, layouts): value for name, value in weights.items()}


def _rename(name: str, layouts: Mapping[tuple[str, str], tuple[tuple[str, str], ...] | None]) -> str:
    if match := _STEM.fullmatch(name):
        return f"{('conv_stem', 'bn1')[int(match[1])]}.{match[2]}"
    match = _UNIT.fullmatch(name)
    layout = layouts.get((match[1], match[2])) if match else None
    if match is None or layout is None or int(match[3]) >= len(layout):
        return name
    stage, block, position, layer, leaf = match.groups()
    own = _SQUEEZE_EXCITATION.get(layer) or layout[int(position)][int(layer)]
    return f"blocks.{int(stage) - 1}.{block}.{own}.{leaf}"


def _kind(layer: str, weight: Tensor) -> str:
    if layer == "fc1":
        return "se"
    if weight.shape[-1] == 1:
        return "1x1"
    return "depthwise" if weight.shape[1] == 1 else "full"


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        raise ConfigError(
            f"{path}: a pickle of tensors alone is read, got one that "
            + (f"would run {asked[1]}" if asked else "torch does not read as such")
            + "; save the network's state_dict() and nothing else, best as .safetensors"
        ) from None


def _unwrap(content: object) -> Mapping[object, object]:
    """Return the state dict within what a training loop wrote; nothing where there is none."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return content
        content = inner
    return {}
