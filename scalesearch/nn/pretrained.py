"""Weights from a file into a classifier: whatever fits by name and shape, and a sentence on what did not.

For few images a network that has seen others is often the better one. Public checkpoints and our own are read by name:
timm's ``EfficientNet``, torchvision's ``EfficientNet``, and what a search or a training wrote. Another number of
classes leaves the classifier fresh. A file none of whose convolutions fits is another network's, and is refused: single
vectors fit by accident.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scalesearch.errors import ConfigError
from scalesearch.nn.network import Network
from scalesearch.nn.weights import read_weights

KEEPS = ("all", "features")

_CLASSIFIER = "classifier."
_HEAD = re.compile(r"features\.(\d+)\.([01])\.(\w+)")
"""Of torchvision: the last convolution and its BatchNorm."""
_FEW = 3


@dataclass(frozen=True, slots=True)
class InitInfo:
    """What came of a file, by the names of the network's state dict.

    BatchNorm's counts of batches are not among them: nothing here reads them, and some files lack them.

    Attributes:
        loaded: Tensors that the file gave.
        share: Of the network's numbers that they hold, in [0, 1].
        fresh: Tensors that begin anew: the file has none, or one of another shape, or they were not to be kept.
        ignored: Tensors of the file that have no place in the network.
    """

    loaded: tuple[str, ...]
    share: float
    fresh: tuple[str, ...]
    ignored: tuple[str, ...]

    def describe(self) -> str:
        """Return one sentence.

        Example:
            >>> InitInfo(("conv_stem.weight",), 0.25, ("classifier.weight", "classifier.bias"), ()).describe()
            'loaded 1 tensor with 25.0 % of the numbers, left fresh 2 (classifier), ignored 0'
        """
        number = len(self.loaded)
        return (
            f"loaded {number} tensor{'' if number == 1 else 's'} with {100 * self.share:.1f} % of the numbers,"
            f" left fresh {_summary(self.fresh)}, ignored {_summary(self.ignored)}"
        )


def load_fitting(network: Network, path: str | Path, keeps: str = "all") -> InitInfo:
    """Load what fits of a file into ``network``, in place, and return what came of it.

    Padding and BatchNorm's epsilon are not in a file: they must be right in the network, as ``nn.weights`` lists them.

    Args:
        network: On any device; it stays as it was if the file is refused.
        path: A ``.safetensors``, ``.pt`` or ``.pth`` file.
        keeps: ``all`` that fits, or the ``features`` alone: the classifier begins anew even where it would fit.

    Raises:
        ConfigError: The file cannot be read, or no convolution of it fits.
    """
    assert keeps in KEEPS, keeps
    weights = {name: value for name, value in _rename_head(read_weights(path)).items() if not _is_count(name)}
    own = {name: value for name, value in network.state_dict().items() if not _is_count(name)}
    fitting = {
        name: weights[name]
        for name in own
        if name in weights
        and weights[name].shape == own[name].shape
        and not (keeps == "features" and name.startswith(_CLASSIFIER))
    }
    if not any(value.ndim == 4 for value in fitting.values()):
        raise ConfigError(
            f"{path}: weights of a network with stem and blocks as these are wanted, got a file none of whose"
            f" convolutions fits ({_first_difference(own, weights)})"
        )
    network.load_state_dict(fitting, strict=False)
    return InitInfo(
        loaded=tuple(fitting),
        share=sum(value.numel() for value in fitting.values()) / sum(value.numel() for value in own.values()),
        fresh=tuple(name for name in own if name not in fitting),
        ignored=tuple(name for name in weights if name not in own),
    )


def _rename_head(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with torchvision's last convolution and its classifier under timm's names too."""
    numbers = [int(match[1]) for name in weights if (match := _HEAD.fullmatch(name))]
    last = max(numbers, default=-1)

    def rename(name: str) -> str:
        match = _HEAD.fullmatch(name)
        if match is not None and int(match[1]) == last:
            return f"{('conv_head', 'bn2')[int(match[2])]}.{match[3]}"
        return name.replace("classifier.1.", _CLASSIFIER) if last >= 0 else name

    return {rename(name): value for name, value in weights.items()}


def _first_difference(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    name = next(name for name in own if own[name].ndim == 4)
    got = tuple(weights[name].shape) if name in weights else f"nothing; it begins with {next(iter(weights))[:80]}"
    return f"{name} must be {tuple(own[name].shape)}, got {got}"


def _is_count(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


def _summary(names: tuple[str, ...]) -> str:
    """Return the number of names and, in brackets, the parts they belong to, the first few."""
    if not names:
        return "0"
    parts = list(dict.fromkeys(name.split(".")[0] for name in names))
    return f"{len(names)} ({', '.join(parts[:_FEW])}{', ...' if len(parts) > _FEW else ''})"
