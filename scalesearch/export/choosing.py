"""Which network is taken away: a study's best trained one, one of its others, a file's, or a fresh one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pandas as pd
import torch

from scalesearch.arch.reading import read_arch
from scalesearch.detection.nn.trained import DETECTOR, TrainedDetector
from scalesearch.detection.studies.comparing import PART as DETECT
from scalesearch.detection.studies.searching import PART as DETECT_SCALE
from scalesearch.errors import ConfigError, ScalesearchError, StudyError, listed
from scalesearch.export.config import ExportConfig
from scalesearch.export.loading import load_any
from scalesearch.measure.trained import NETWORK, TrainedNetwork
from scalesearch.nn import build_network
from scalesearch.nn.checkpoint import check_weights, read_kind
from scalesearch.nn.layers import Padding
from scalesearch.nn.weights import read_weights
from scalesearch.retraining.running import PART as TRAIN
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import load_records

_PARTS = (TRAIN, "family", "search", DETECT, DETECT_SCALE)  # the first that has a network: who trains longest first
_NAMES = {"base": "search", "detector": DETECT_SCALE}  # of the weights a search keeps
_DEFAULT_CLASSES = 1000
_COLUMNS = ("part", "number", "state", "arch_id", "seed")


@dataclass(frozen=True, slots=True)
class Choice:
    """A network to take away, and where it comes from.

    Attributes:
        trained: It.
        name: By which its card calls it.
        folder: Of its study; None without one.
        part: Of the study that trained it.
        checkpoint: Its file of weights; None where they are fresh.
    """

    trained: TrainedNetwork | TrainedDetector
    name: str
    folder: StudyFolder | None = None
    part: str = ""
    checkpoint: Path | None = None

    @property
    def arch_id(self) -> str:
        """Of the network or detector."""
        return arch_id_of(self.trained)

    @property
    def is_untrained(self) -> bool:
        """Whether its weights are fresh, as drawn."""
        return self.checkpoint is None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A checkpoint of a study; ``score`` is the mean accuracy or AP on val over the trainings of its network."""

    path: Path
    part: str
    arch_id: str
    score: float

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def rank(self) -> tuple[int, float, int, str]:
        """The best first; of one network's files, the first seed's, whose name is the shortest."""
        score = -math.inf if math.isnan(self.score) else self.score
        return _PARTS.index(self.part), -score, len(self.name), self.name


def choose_network(config: ExportConfig) -> Choice:
    """Return the network that a configuration names.

    Raises:
        ScalesearchError: There is none such; the sentence says which there are.
    """
    if config.study is not None:
        return _choose_of_study(config)
    if config.arch is not None:
        return _build(config, config.arch)
    assert config.weights is not None
    return Choice(load_any(config.weights), Path(config.weights).stem, checkpoint=Path(config.weights))


def arch_id_of(trained: TrainedNetwork | TrainedDetector) -> str:
    """Return the ``arch_id`` of a network or detector."""
    return trained.arch.arch_id if isinstance(trained, TrainedNetwork) else trained.detector.spec.arch_id


def read_trials(folder: StudyFolder) -> pd.DataFrame:
    """Return the trainings of a study that came to their end: of its own database, or as ``trials.csv`` has them.

    Raises:
        StudyError: There is no such study, or neither can be read.
    """
    path = folder.table("trials")
    if folder.database.exists():
        records = load_records(folder.storage_url(None), folder.name)
        trials = pd.concat([record.frame() for record in records], ignore_index=True)
    elif path.exists():
        trials = _read_table(path)
    else:
        raise StudyError(f"{folder.root}: there is no such study, or it has no trials")
    return trials[trials.state == "COMPLETE"]


def trainings_of(trials: pd.DataFrame, part: str, arch_id: str, checkpoint: Path) -> pd.DataFrame:
    """Return the trainings of which a checkpoint is one: of one network, in one part, and in one way."""
    mine = trials[(trials.part == part) & (trials.arch_id == arch_id)]
    if part == TRAIN:  # there a network may be trained in several ways, each of which has a file
        mine = mine[[checkpoint.stem == f"{TRAIN}-{label}-{arch_id}" for label in mine.label]]
    return mine


def _read_table(path: Path) -> pd.DataFrame:
    try:
        trials = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: a study's table of trials is wanted, got another file ({error})") from None
    missing = [name for name in _COLUMNS if name not in trials]
    if missing:
        raise StudyError(f"{path}: a study's table of trials is wanted, got one without the column {missing[0]}")
    return trials


def _choose_of_study(config: ExportConfig) -> Choice:
    folder = config.folder
    trials = read_trials(folder)
    candidates = sorted(_candidates(folder, trials), key=lambda each: each.rank)
    if not candidates:
        raise StudyError(
            f"study {folder.name}: no trained network is kept in {folder.checkpoints}; {_what_was(trials)}"
        )
    chosen = _pick(config, trials, candidates)
    name = f"{folder.name} {chosen.name}"
    return Choice(load_any(chosen.path), name, folder, chosen.part, chosen.path)


def _what_was(trials: pd.DataFrame) -> str:
    parts = [f"{count} of {part}" for part, count in trials.part.value_counts(sort=False).items()]
    return (
        f"it has trained {', '.join(parts)}, whose weights were not kept or are elsewhere"
        if parts
        else ("none was trained to its end")
    )


def _pick(config: ExportConfig, trials: pd.DataFrame, candidates: Sequence[_Candidate]) -> _Candidate:
    if config.member is not None:
        wanted = _slug(config.member)
        found = [each for each in candidates if wanted in (each.name, each.name.removeprefix(f"{each.part}-"))]
        asked = f"member {config.member!r}"
    elif config.trial is not None:
        rows = trials[(trials.number == config.trial) & trials.part.isin(_NAMES.values())]
        found = [
            each for each in candidates if (each.part, each.arch_id) in set(zip(rows.part, rows.arch_id, strict=True))
        ]
        asked = f"trial {config.trial} of its search, which keeps the weights of its best alone"
    else:
        return candidates[0]
    if not found:
        there = listed(each.name for each in candidates)
        raise StudyError(f"study {config.study}: it has no weights of {asked}; it has those of {there}")
    return found[0]


def _slug(member: str) -> str:
    """Return a member's label, as ``phi=1 depth``, as its file is named.

    Example:
        >>> _slug("phi=1 depth")
        'phi1-depth'
    """
    return member.strip().replace("=", "").replace(" ", "-")


def _candidates(folder: StudyFolder, trials: pd.DataFrame) -> list[_Candidate]:
    found = []
    for path in sorted(folder.checkpoints.glob("*.safetensors")):
        part = _part_of(path.stem)
        if part is None:
            continue
        try:
            kind = read_kind(path, (NETWORK, DETECTOR), "a trained network is wanted")
        except ConfigError as error:  # of an older version, which kept the weights alone
            raise StudyError(f"{error}; with arch= and weights= it can be named") from None
        arch_id = arch_id_of(load_any(path))
        mine = trainings_of(trials, part, arch_id, path)
        score = mine.get("val_top1" if kind == NETWORK else "val_ap", pd.Series(dtype=float))
        found.append(_Candidate(path, part, arch_id, float(score.mean())))
    return found


def _part_of(name: str) -> str | None:
    """Return the part of a study that keeps weights by this name; None of a supernet's, which is no network."""
    stem = re.sub(r"-trial-\d+$", "", name)
    return _NAMES.get(stem) or next((part for part in _PARTS if stem == part or stem.startswith(f"{part}-")), None)


def _build(config: ExportConfig, text: str) -> Choice:
    arch = read_arch(text)
    if config.image_size is not None:
        arch = replace(arch, image_size=config.image_size)
    name = text if len(text) <= 40 else f"network {arch.arch_id}"
    weights = None if config.weights is None else read_weights(config.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(
            arch,
            config.num_classes or _count_classes(weights),
            padding=cast(Padding, config.padding),
            bn_eps=config.bn_eps,
        )
    if weights is None:
        return Choice(TrainedNetwork(network.eval(), arch), name)
    assert config.weights is not None
    own = network.state_dict()
    same = {key: value.to(own[key].dtype) if key in own else value for key, value in weights.items()}
    try:
        check_weights(network, same, f"arch={name} with num_classes={network.classifier.out_features}")
    except ScalesearchError as error:
        raise ConfigError(f"{config.weights}: {error}") from None
    network.load_state_dict(same)
    return Choice(
        _described(config.weights, TrainedNetwork(network.eval(), arch)), name, checkpoint=Path(config.weights)
    )


def _described(path: str, trained: TrainedNetwork) -> TrainedNetwork:
    """Return a network with the classes and normalisation of its file, where the file has them."""
    try:
        theirs = load_any(path)
    except ConfigError:
        return trained
    if not isinstance(theirs, TrainedNetwork):
        return trained
    return replace(trained, class_names=theirs.class_names, normalisation=theirs.normalisation)


def _count_classes(weights: dict[str, torch.Tensor] | None) -> int:
    bias = (weights or {}).get("classifier.bias")
    return _DEFAULT_CLASSES if bias is None else len(bias)
