"""The file of a supernet: its weights, its optimiser while it is being trained, and what it was trained on.

One safetensors file: tensors and a JSON text, never code. It holds no generator's state, for what a training draws is
a function of its seed and the step. A reader, or a crash, sees the old file or the new one, never a part.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scalesearch.arch.space import SearchSpace
from scalesearch.atomic import replacing
from scalesearch.errors import ConfigError, shown
from scalesearch.measure.scores.config import SupernetConfig
from scalesearch.measure.training import TrainConfig
from scalesearch.nn.supernet import Supernet

_METADATA = "scalesearch.supernet"
# The budget is the supernet's own, and no running mean of the weights is kept.
_UNUSED_TRAIN = ("steps", "epochs", "ema_decay")
_USED_SUPERNET = ("steps", "sampling", "distillation")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetRecord:
    """What is known of a supernet beside its weights.

    Attributes:
        name: The space's name.
        space: The space as ``SearchSpace.to_dict`` writes it.
        num_classes: Outputs of the classifier.
        data_fingerprint: Of the data it learns from.
        seed: Of its training.
        train: The settings of ``train.*`` that its training uses.
        supernet: The settings of ``score.supernet.*`` that its training uses.
        step: Optimiser steps taken.
        train_seconds: What they took, over all sittings.
    """

    name: str
    space: dict[str, Any]
    num_classes: int
    data_fingerprint: str
    seed: int
    train: dict[str, Any]
    supernet: dict[str, Any]
    step: int = 0
    train_seconds: float = 0.0

    @classmethod
    def begin(
        cls, supernet: Supernet, fingerprint: str, seed: int, train: TrainConfig, config: SupernetConfig
    ) -> SupernetRecord:
        """Return the record of a training that has taken no step."""
        settings, own = asdict(train), asdict(config)
        return cls(
            name=supernet.space.name,
            space=supernet.space.to_dict(),
            num_classes=supernet.num_classes,
            data_fingerprint=fingerprint,
            seed=seed,
            train={key: value for key, value in settings.items() if key not in _UNUSED_TRAIN},
            supernet={key: own[key] for key in _USED_SUPERNET},
        )

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return int(self.supernet["steps"])

    def check_same(self, wanted: SupernetRecord, path: Path) -> None:
        """Refuse a file whose training is not the wanted one; how far it got and the space's name do not matter.

        Raises:
            ConfigError: The first setting that differs, with both values.
        """
        ours, theirs = wanted._identity(), self._identity()
        for key in sorted(ours.keys() | theirs.keys()):
            refuse_other(path, key, theirs.get(key), ours.get(key))

    def _identity(self) -> dict[str, Any]:
        """Return what tells two trainings apart, by the names a user knows them by."""
        facts = {
            "space": self.space,
            "num_classes": self.num_classes,
            "data_fingerprint": self.data_fingerprint,
            "seed": self.seed,
            "train": self.train,
            "score": {"supernet": self.supernet},
        }
        return _flatten("", json.loads(json.dumps(facts)))


def refuse_other(path: Path, key: str, trained_with: object, got: object) -> None:
    """Refuse a setting that is not the one the supernet of a file was trained with.

    Raises:
        ConfigError: They differ.
    """
    if trained_with != got:
        raise ConfigError(
            f"{path}: {key} must be {trained_with!r}, with which the supernet in this file was trained, got {got!r}"
        )


def save_supernet(
    path: Path, supernet: Supernet, record: SupernetRecord, optimizer: torch.optim.Optimizer | None
) -> None:
    """Write a checkpoint; without ``optimizer`` the training cannot go on from it."""
    tensors = {f"weights.{name}": weight for name, weight in supernet.state_dict().items()}
    if optimizer is not None:
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items() if value is not None}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary, {_METADATA: json.dumps(asdict(record))})


def read_record(path: Path) -> SupernetRecord:
    """Return what a checkpoint says of itself, without its tensors.

    Raises:
        ConfigError: The file is missing or holds no supernet.
    """
    try:
        with safe_open(path, "pt") as file:
            return SupernetRecord(**json.loads((file.metadata() or {})[_METADATA]))
    except OSError as error:
        raise ConfigError(f"{path}: a supernet's checkpoint is wanted, got none ({error})") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        raise ConfigError(
            f"{path}: a supernet's checkpoint, written by its training, is wanted, got another file"
        ) from None


def load_supernet(path: Path) -> tuple[Supernet, SupernetRecord]:
    """Return the supernet of a checkpoint, on the CPU, and its record; the caller's random state is left as it was.

    Raises:
        ConfigError: The file is missing or holds no supernet.
    """
    record = read_record(path)
    try:
        with torch.random.fork_rng(devices=[]):
            supernet = Supernet(SearchSpace.from_dict(record.name, record.space), record.num_classes)
        load_state(path, supernet)
    except (ValueError, RuntimeError, TypeError, LookupError, SafetensorError) as error:
        reason = shown(" ".join(str(error).split()))
        raise ConfigError(f"{path}: a supernet's checkpoint, whole, is wanted, got another ({reason})") from None
    return supernet, record


def load_state(path: Path, supernet: Supernet, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Put the weights of a checkpoint, and the optimiser's state where one is given, in place."""
    states: dict[int, dict[str, Tensor]] = {}
    weights = {}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - the file is no mapping
            kind, name = key.split(".", 1)
            if kind == "weights":
                weights[name] = file.get_tensor(key)
            elif optimizer is not None:
                index, name = name.split(".")
                states.setdefault(int(index), {})[name] = file.get_tensor(key)
    supernet.load_state_dict(weights)
    if optimizer is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        laid = {index: _lay_like(parameters[index], state) for index, state in states.items()}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": laid})


def _lay_like(parameter: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a parameter's state in its own memory format: sums in another order differ in the last bit."""
    return {
        name: torch.empty_like(parameter, device="cpu").copy_(value) if value.shape == parameter.shape else value
        for name, value in state.items()
    }


def _flatten(prefix: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON holds
    """Return the leaves of nested mappings and lists of mappings by their path; a list of scalars is a leaf."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {prefix: value}
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        leaves |= _flatten(f"{prefix}.{key}" if prefix else str(key), item)
    return leaves
