"""Checkpoints that describe themselves: one safetensors file, with a JSON text that says what the weights are of.

Tensors keep the names other tools read them by; the text is data, never code. What a text holds is its kind's own
affair, see ``scalesearch.measure.trained`` and ``scalesearch.detection.nn.trained``; here is what all kinds share.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scalesearch.atomic import replacing
from scalesearch.errors import ConfigError


def save_described(network: nn.Module, path: Path, kind: str, facts: Mapping[str, Any]) -> None:
    """Write a network's weights and what describes them; a reader, or a crash, sees the old file or the new one.

    The network stays where it is, in the memory format it has. The same network gives the same bytes.
    """
    weights = {name: _plain(value) for name, value in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, {kind: json.dumps(facts)})


def read_kind(path: str | Path, kinds: Sequence[str], wanted: str) -> str:
    """Return which of several kinds of description a file has; its weights are not read.

    Args:
        path: The file.
        kinds: Keys of the metadata.
        wanted: What the file must be, for the sentence where it is not.

    Raises:
        ConfigError: The file is missing, no safetensors, or has none of them.
    """
    return _open(path, kinds, wanted, with_weights=False)[0]


def read_described(path: str | Path, kind: str, wanted: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a file's description, whose values are still to be checked, and its weights, on the CPU.

    Args:
        path: The file.
        kind: Key of the metadata.
        wanted: What the file must be, for the sentence where it is not.

    Raises:
        ConfigError: The file is missing, no safetensors, of another kind, or its description is no JSON mapping.
    """
    _, text, weights = _open(path, (kind,), wanted, with_weights=True)
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: metadata {kind} must be JSON, got {text[:40]!r}") from None
    return facts if isinstance(facts, dict) else {}, weights


def _open(
    path: str | Path, kinds: Sequence[str], wanted: str, *, with_weights: bool
) -> tuple[str, str, dict[str, Tensor]]:
    wanted = f"{path}: {wanted}"
    if not Path(path).is_file():
        raise ConfigError(f"{wanted}, got no file by that name")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            kind = next((each for each in kinds if each in metadata), None)
            names = file.keys() if with_weights and kind else ()
            # copied, so that nothing depends on the file any more
            weights = {name: file.get_tensor(name).clone() for name in names}
    except OSError as error:
        raise ConfigError(f"{wanted}, got one that cannot be read ({error.strerror or error})") from None
    except SafetensorError:
        raise ConfigError(f"{wanted}, got one that is damaged or no safetensors file") from None
    if kind is None:
        raise ConfigError(f"{wanted}, got a safetensors file without {' or '.join(kinds)} in its metadata")
    return kind, metadata[kind], weights


def check_weights(network: nn.Module, weights: Mapping[str, Tensor], of: str) -> None:
    """Refuse weights that are not those of a network, name by name, type by type, shape by shape.

    Args:
        network: May be on the meta device.
        weights: By name.
        of: What the network is, for the sentence, as ``a detector of this spec``.

    Raises:
        ConfigError: The first that differs.
    """
    own = network.state_dict()
    for name in (*own, *weights):
        wanted, got = (_type_and_shape(each.get(name)) for each in (own, weights))
        check(wanted == got, f"weight {name}", f"{wanted}, as {of} has", got)


def check(holds: bool, name: str, allowed: str, got: object) -> None:
    """Refuse a value of a description.

    Raises:
        ConfigError: It does not hold.
    """
    if not holds:
        raise ConfigError(f"{name} must be {allowed}, got {got if isinstance(got, str) else repr(got)[:80]}")


def check_format(facts: Mapping[str, Any], version: int, keys: Sequence[str]) -> None:
    """Refuse a description of another version, or with other keys.

    Raises:
        ConfigError: It is one.
    """
    got = facts.get("format")
    check(got == version, "format", f"{version}, the one this version of scalesearch reads", got)
    check(set(facts) == set(keys), "keys", ", ".join(sorted(keys)), ", ".join(sorted(facts)))


def check_channels(facts: Mapping[str, Any]) -> None:
    """Refuse a ``mean`` or ``std`` that is not a finite number a channel, of ``std`` above 0.

    Raises:
        ConfigError: One is.
    """
    for key in ("mean", "std"):
        least = -math.inf if key == "mean" else 0.0
        values = facts[key]
        holds = holds_only(values, float) and len(values) == 3 and all(least < x <= sys.float_info.max for x in values)
        check(holds, key, f"a finite number{'' if key == 'mean' else ' above 0'} a channel", values)


def holds_only(values: object, kind: type) -> bool:
    """Say whether these are a list of one type; whole numbers pass as numbers, truth values as neither."""
    kinds = (int, float) if kind is float else (kind,)
    return isinstance(values, list) and all(isinstance(x, kinds) and not isinstance(x, bool) for x in values)


def _plain(weight: Tensor) -> Tensor:
    """Return a copy that safetensors takes: on the CPU, in one piece, sharing memory with no other."""
    return weight.detach().cpu().clone(memory_format=torch.contiguous_format)


def _type_and_shape(weight: Tensor | None) -> str:
    return "nothing" if weight is None else f"{str(weight.dtype).removeprefix('torch.')} {tuple(weight.shape)}"
