"""What is known of a network that is taken away: how well it does, what it costs, on what and how it was trained."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

import pandas as pd

from scalesearch.arch import Cost, network_cost
from scalesearch.data import DataConfig
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.data import BoxDataConfig
from scalesearch.export.choosing import Choice, read_trials, trainings_of
from scalesearch.export.models import Model
from scalesearch.measure.profiling import LatencyInfo, profile_latency
from scalesearch.measure.trained import TrainedNetwork
from scalesearch.retraining.running import PART as TRAIN
from scalesearch.study.sessions import describe_machine
from scalesearch.study.store import load_records

_SCORES = {
    "val_top1": "top-1 on search-val",
    "test_top1": "top-1 on test",
    "val_ap": "AP on val",
    "val_ap50": "AP50 on val",
    "test_ap": "AP on test",
    "test_ap50": "AP50 on test",
}
_ALWAYS = ("format", "stored_size", "val_fraction")  # of the data's keys; of the others, those that were given
_NOT_OF_DATA = ("loader_workers", "download", "memory_mib")  # where and how it was read
_REPEATS = 20


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One measure over the trainings of a network.

    Attributes:
        key: Of the record, as ``test_top1``.
        measure: As people read it.
        mean: Over the trainings.
        standard_error: Of the mean; NaN for one training.
        trainings: How many, with different seeds.
        own: That of the training whose weights are taken; NaN where it is not known.
    """

    key: str
    measure: str
    mean: float
    standard_error: float
    trainings: int
    own: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a card says.

    Attributes:
        accuracies: None where nothing was measured.
        cost: Of one image.
        latency: Of a pass of one image in PyTorch on one thread, measured now.
        machine: On which; see ``describe_machine``.
        data: Keys of the images, as the study was told them, without the folder's place.
        recipe: Keys of the training.
    """

    accuracies: tuple[Accuracy, ...]
    cost: Cost
    latency: LatencyInfo
    machine: Mapping[str, Any]
    data: Mapping[str, Any]
    recipe: Mapping[str, Any]


def collect_evidence(choice: Choice, model: Model) -> Evidence:
    """Return what is known of a network; the latency of its model is measured.

    Raises:
        StudyError: Its study's tables cannot be read.
    """
    trained = choice.trained
    if isinstance(trained, TrainedNetwork):
        cost = network_cost(trained.arch, num_classes=trained.num_classes)
    else:
        cost = detector_cost(trained.detector.spec).total
    section = {} if choice.folder is None else choice.folder.read_config().get(choice.part, {})
    return Evidence(
        accuracies=_accuracies(choice, section),
        cost=cost,
        latency=profile_latency(model.network, model.image_size, repeats=_REPEATS),
        machine=describe_machine(),
        data=_data(choice, _mapping(section.get("data"))),
        recipe=_recipe_of_way(choice) if choice.part == TRAIN else _recipe(section),
    )


def _accuracies(choice: Choice, section: Mapping[str, Any]) -> tuple[Accuracy, ...]:
    if choice.folder is None:
        return ()
    trials = read_trials(choice.folder)
    assert choice.checkpoint is not None, "a study's network has one"
    mine = trainings_of(trials, choice.part, choice.arch_id, choice.checkpoint)
    own = mine.seed == _seed(choice, section)
    scores = {key: pd.to_numeric(mine[key], errors="coerce") for key in _SCORES if key in mine}
    return tuple(
        Accuracy(
            key=key,
            measure=_SCORES[key],
            mean=float(values.mean()),
            standard_error=float(values.std() / math.sqrt(values.count())),
            trainings=int(values.count()),
            own=float(values[own].mean()),
        )
        for key, values in scores.items()
        if values.notna().any()
    )


def _seed(choice: Choice, section: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of a file from anybody
    """Return the seed of the weights: the study's first, but where the file's name says another."""
    named = re.search(r"-seed(\d+)$", "" if choice.checkpoint is None else choice.checkpoint.stem)
    return int(named[1]) if named else section.get("seed")


def _data(choice: Choice, section: Mapping[str, Any]) -> dict[str, Any]:
    defaults = asdict(DataConfig() if isinstance(choice.trained, TrainedNetwork) else BoxDataConfig())
    told = {
        key: value
        for key, value in section.items()
        if (key in _ALWAYS or value != defaults.get(key)) and key not in _NOT_OF_DATA
    }
    if told.get("root"):
        told["root"] = PurePath(str(told["root"])).name  # its place is the owner's affair
    return told


def _recipe(section: Mapping[str, Any]) -> dict[str, Any]:
    recipe = _flat(_mapping(section.get("train")))
    score = _mapping(section.get("score")).get("method", "brief")
    return recipe if score == "brief" else {"weights from": f"the study's {score}"}


def _recipe_of_way(choice: Choice) -> dict[str, Any]:
    """Return what the record keeps of a full training's way; the configuration is that of the last command alone."""
    assert choice.folder is not None
    assert choice.checkpoint is not None
    if not choice.folder.database.exists():
        return {}
    label = choice.checkpoint.stem.removeprefix(f"{TRAIN}-").removesuffix(f"-{choice.arch_id}")
    records = load_records(choice.folder.storage_url(None), choice.folder.name)
    kept = next((record.study.user_attrs for record in records if record.part == TRAIN), {})
    recipe = dict(kept.get(f"recipe.{label}", {}))
    return _flat({**recipe.pop("train", {}), **{name: value for name, value in recipe.items() if value != ""}})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value
    return flat


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
