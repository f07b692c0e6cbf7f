"""The file of a trained network: its weights, and all that a stranger to its training needs to use it.

One safetensors file: tensors under timm's names, and a JSON text, never code. The text holds the architecture, how its
layers pad and normalise, the classes, and the mean and deviation of the training images. Dropout and drop path are not
kept: they have no part in classifying. Of weights that came from elsewhere, classes and normalisation may be unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scalesearch.arch import ArchSpec
from scalesearch.arch.spec import MOST
from scalesearch.data.transforms import Normalisation
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
from scalesearch.nn.layers import PADDINGS, padding_of
from scalesearch.nn.network import Network, build_network

FORMAT = 1
"""Of the JSON text; a file of another number is refused."""

NETWORK = "scalesearch.network"
"""Key of the metadata."""

_NUMBERS = ("bn_eps", "bn_momentum")
_KEYS = ("format", "arch", "num_classes", "class_names", "mean", "std", "padding", *_NUMBERS)
_WANTED = "weights must be a file that a network's training wrote"
_OF = "a network of this architecture"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A classifier that can be used.

    Args:
        network: With its weights.
        arch: What it was built from; its image size is the one it was trained at.
        class_names: Of each output; empty where they are not known.
        normalisation: Mean and deviation of the images it was trained on; None where they are not known.

    Raises:
        ConfigError: Names are not one a class.
    """

    network: Network
    arch: ArchSpec
    class_names: tuple[str, ...] = ()
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        holds = len(self.class_names) in (0, self.num_classes)
        check(holds, "class_names", f"{self.num_classes}, one a class", len(self.class_names))

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier."""
        return self.network.classifier.out_features


def save_network(trained: TrainedNetwork, path: str | Path) -> None:
    """Write a network so that a reader, or a crash, sees the old file or the new one, never a part.

    The network stays where it is, in the memory format it has. The same network gives the same bytes.

    Raises:
        ConfigError: It has other parameters than ``build_network`` gives a network of its architecture.
    """
    facts = _describe(trained)
    check_weights(_build(facts), trained.network.state_dict(), _OF)
    save_described(trained.network, Path(path), NETWORK, facts)


def load_network(path: str | Path) -> TrainedNetwork:
    """Return the network of a file, on the CPU and in eval mode; no random number is drawn.

    Raises:
        ConfigError: The file is missing, no safetensors, not written by ``save_network``, or was changed since.
    """
    facts, weights = read_described(path, NETWORK, _WANTED)
    try:
        _check_facts(facts)
        network = _build(facts)
        check_weights(network, weights, _OF)
        network.load_state_dict(weights, assign=True)
        known = facts["mean"] is not None
        return TrainedNetwork(
            network.eval(),
            ArchSpec.from_dict(facts["arch"]),
            tuple(facts["class_names"]),
            Normalisation(tuple(facts["mean"]), tuple(facts["std"])) if known else None,
        )
    except ScalesearchError as error:
        raise ConfigError(f"{path}: {error}") from None


def _describe(trained: TrainedNetwork) -> dict[str, Any]:
    network, normalisation = trained.network, trained.normalisation
    return {
        "format": FORMAT,
        "arch": trained.arch.to_dict(),
        "num_classes": trained.num_classes,
        "class_names": list(trained.class_names),
        "mean": None if normalisation is None else list(normalisation.mean),
        "std": None if normalisation is None else list(normalisation.std),
        "padding": padding_of(network),
        "bn_eps": network.bn1.eps,
        "bn_momentum": network.bn1.momentum,
    }


def _check_facts(facts: Mapping[str, Any]) -> None:
    """Refuse metadata that have a value of another type than it is used as.

    Raises:
        ConfigError: The first thing that is not as ``save_network`` writes it.
    """
    check_format(facts, FORMAT, _KEYS)
    check(isinstance(facts["arch"], dict), "arch", "a mapping", facts["arch"])
    count = facts["num_classes"]
    check(holds_only([count], int) and 1 <= count <= MOST, "num_classes", f"from 1 to {MOST:,}", count)
    check(holds_only(facts["class_names"], str), "class_names", "a list of texts", facts["class_names"])
    if facts["mean"] is not None or facts["std"] is not None:
        check_channels(facts)
    check(facts["padding"] in PADDINGS, "padding", f"one of {', '.join(PADDINGS)}", facts["padding"])
    for key in _NUMBERS:
        check(holds_only([facts[key]], float), key, "a number", facts[key])


def _build(facts: Mapping[str, Any]) -> Network:
    """Return the network without memory for its weights: they are compared and then put in as they are."""
    with torch.device("meta"):
        return build_network(
            ArchSpec.from_dict(facts["arch"]),
            facts["num_classes"],
            padding=facts["padding"],
            bn_eps=facts["bn_eps"],
            bn_momentum=facts["bn_momentum"],
        )
