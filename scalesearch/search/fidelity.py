"""How well cheap scores rank networks: each one's worth of the same networks, beside a longer training of them.

The networks are those of the study's own search, filled up with random ones. Each score is a part of the study of its
own, ``fidelity-NAME``, and the longer training is ``fidelity-full``: what was scored in an earlier run stands. The
cheap scores come first, so that one that cannot score at all ends the run before the hours of training.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
from scalesearch.arch.budget import Budget, check_reachable
from scalesearch.atomic import write_atomically
from scalesearch.data import ImageData
from scalesearch.errors import ConfigError, SpaceError, StudyError
from scalesearch.measure.scores import Job, ScoreConfig, SupernetConfig
from scalesearch.measure.scores.config import PROXIES
from scalesearch.measure.scores.supernet.checkpoint import read_record
from scalesearch.measure.training import TrainConfig
from scalesearch.study.roster import Entry, Roster
from scalesearch.study.sessions import load_sessions
from scalesearch.study.settings import StudyConfig, check_at_least
from scalesearch.study.store import Record, load_records, state_of, write_trials

SCORES = ("brief", "supernet", *PROXIES)
REFERENCE = "val_top1"
_FREE = ("params", "macs")
_LEAST_NETWORKS = 3  # fewer have no order to speak of
_MOST_DRAWS = 1000
"""Draws in a row without a new network within the budget, after which the space counts as exhausted."""


@dataclass(kw_only=True, slots=True)
class FidelityConfig(StudyConfig):
    """The keys of ``scalesearch fidelity``; ``train`` is the longer training.

    Attributes:
        space: Of the random networks: a search space that ships with scalesearch, or the path of a file.
        image_size: Of the random networks; the space's own where it is not given.
        budget: The most a network may cost.
        networks: Networks to compare: those the study's search has scored, where there are more of them a choice
            spread evenly over their macs, where there are fewer random ones beside them.
        seeds: Longer trainings of each network; their mean accuracy is what the scores are held against.
        scores: The cheap ones: ``brief``, ``supernet``, ``naswot``, ``synflow``, ``zico``, ``grad_norm``, ``params``
            and ``macs``.
        supernet: Checkpoint of a trained supernet, for the score of that name; the study's own where it is not given.
        brief: How a network is trained for the score ``brief``.
    """

    space: str = "mbconv_small"
    image_size: int | None = None
    budget: Budget = field(default_factory=Budget)
    networks: int = 30
    seeds: int = 2
    scores: list[str] = field(
        default_factory=lambda: ["brief", "naswot", "synflow", "zico", "grad_norm", "params", "macs"]
    )
    supernet: str = ""
    brief: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        StudyConfig.__post_init__(self)
        check_at_least("networks", self.networks, _LEAST_NETWORKS)
        check_at_least("seeds", self.seeds, 1)
        if not self.scores or any(name not in SCORES for name in self.scores):
            raise ConfigError(f"scores must be a list of any of {', '.join(SCORES)}, got {list(self.scores)}")
        if len(set(self.scores)) < len(self.scores):
            raise ConfigError(f"scores must name each score once, got {list(self.scores)}")

    @property
    def supernet_path(self) -> Path:
        """The checkpoint of the supernet."""
        return Path(self.supernet) if self.supernet else self.folder.checkpoints / "supernet.safetensors"

    def load_space(self) -> SearchSpace:
        """Return the search space at the image size asked for."""
        space = SearchSpace.load(self.space)
        return space if self.image_size is None else space.at_image_size(self.image_size)

    def check_supernet(self) -> None:
        """Refuse the score ``supernet`` without a supernet.

        Raises:
            ConfigError: Its checkpoint is not there.
        """
        if "supernet" in self.scores and not self.supernet_path.is_file():
            raise ConfigError(
                "supernet must be the checkpoint of a trained supernet, such as"
                f" `scalesearch search study={self.study} score=supernet` leaves, got {str(self.supernet_path)!r},"
                " which is no file"
            )


@dataclass(frozen=True, slots=True)
class FidelityResult:
    """One row a network, cheapest first, as ``fidelity_info`` of the report takes it, and the trials behind it."""

    table: pd.DataFrame
    trials: pd.DataFrame


def run_fidelity(config: FidelityConfig) -> FidelityResult:
    """Score every network by each cheap score and train it longer with each seed; go on where it stopped.

    Writes ``fidelity.csv``, ``trials.csv`` and ``config.yaml`` into the study's folder.

    Raises:
        ScalesearchError: The data, space, budget or supernet is not usable, the space holds too few networks, a score
            scored none of them, or the fidelity was begun with something else.
    """
    space = config.load_space()
    config.check_supernet()
    with config.held():
        data = config.load_data()
        archs = pick_networks(config, space, data.num_classes)
        config.warn_of_upsampling(max(arch.image_size for arch in archs), data)
        rounds = {one.name: one for one in _rounds(config)}
        records = {name: _open_record(config, one, data) for name, one in rounds.items()}
        config.save("fidelity")
        try:
            trials = [_run_round(config, one, records[name], archs, data) for name, one in rounds.items()]
        finally:
            write_trials(config.folder, config.url)
        readings = {name: _read_round(one, records[name]) for name, one in rounds.items()}
        table = summarise_networks(archs, config.scores, readings, data.num_classes)
        write_atomically(config.folder.table("fidelity"), table.to_csv(index=False))
        return FidelityResult(table, pd.concat(trials, ignore_index=True))


def pick_networks(config: FidelityConfig, space: SearchSpace, num_classes: int) -> list[ArchSpec]:
    """Return the networks to compare, cheapest first, none twice; the same ones for the same search and seed.

    Raises:
        SpaceError: No network, or too few, are within the budget.
    """
    check_reachable(space, config.budget, num_classes)
    within = _Within(config.budget, num_classes)
    searched = sorted(filter(within.holds, dict.fromkeys(_searched_networks(config))), key=within.macs)
    picked = _spread(searched, config.networks)
    rng, free = random.Random(config.seed), 0
    while len(picked) < config.networks and free < _MOST_DRAWS:
        arch = space.sample(rng)
        free += 1
        if arch not in picked and within.holds(arch):
            picked.append(arch)
            free = 0
    if len(picked) < config.networks:
        raise SpaceError(
            f"networks must be at most {len(picked)}, for search space {space.name} and the study's search have no more"
            f" within the budget, as far as {free} draws in a row tell; got {config.networks}"
        )
    return sorted(picked, key=within.macs)


def summarise_networks(
    archs: Sequence[ArchSpec], scores: Sequence[str], readings: dict[str, pd.DataFrame], num_classes: int
) -> pd.DataFrame:
    """Return a row a network: its costs, each score's worth and seconds, and those of the longer training.

    Args:
        archs: The networks.
        scores: The cheap ones.
        readings: Of each score that was measured, and of ``full``: ``worth`` and ``seconds`` by ``arch_id``.
        num_classes: Outputs of the classifier.
    """
    costs = [network_cost(arch, num_classes=num_classes) for arch in archs]
    ids = [arch.arch_id for arch in archs]
    table = pd.DataFrame({"arch_id": ids, "macs": [c.macs for c in costs], "params": [c.params for c in costs]})
    for name in (*scores, "full"):
        column = REFERENCE if name == "full" else name
        if name in _FREE:
            table[f"{column}_seconds"] = 0.0
        else:
            found = readings[name].reindex(ids)
            table[column], table[f"{column}_seconds"] = found.worth.to_numpy(), found.seconds.to_numpy()
    return table


@dataclass(frozen=True, slots=True)
class _Within:
    """Costs of networks, and whether the budget allows them."""

    budget: Budget
    num_classes: int

    def macs(self, arch: ArchSpec) -> int:
        return network_cost(arch, num_classes=self.num_classes).macs

    def holds(self, arch: ArchSpec) -> bool:
        return self.budget.holds(network_cost(arch, num_classes=self.num_classes))


@dataclass(frozen=True, slots=True)
class _Round:
    """One score of all networks, or their longer training (``full``).

    ``identity`` is what its worths depend on beside the images and the seed.
    """

    name: str
    score: ScoreConfig
    train: TrainConfig
    seeds: range
    identity: dict[str, Any]

    @property
    def part(self) -> str:
        return f"fidelity-{self.name}"


def _rounds(config: FidelityConfig) -> list[_Round]:
    """Return what has to be run, the cheap scores first."""
    cheap = [_cheap_round(config, name) for name in config.scores if name not in _FREE]
    seeds = range(config.seed, config.seed + config.seeds)
    return [*cheap, _Round("full", ScoreConfig(), config.train, seeds, {"train": asdict(config.train)})]


def _cheap_round(config: FidelityConfig, name: str) -> _Round:
    once = range(config.seed, config.seed + 1)
    if name == "brief":
        return _Round(name, ScoreConfig(), config.brief, once, {"train": asdict(config.brief)})
    if name == "supernet":
        score = ScoreConfig(method="supernet", supernet=SupernetConfig(path=str(config.supernet_path)))
        record = asdict(read_record(config.supernet_path))
        trained = {key: record[key] for key in ("space", "seed", "train", "supernet", "step")}
        return _Round(name, score, config.brief, once, {"supernet": trained})
    return _Round(name, ScoreConfig(method="proxy", proxy=name), config.brief, once, {"proxy": name})


def _open_record(config: FidelityConfig, one: _Round, data: ImageData) -> Record:
    shared = config.identity(data)
    return config.open_record(
        one.part,
        REFERENCE if one.name == "full" else one.name,
        {"data": shared["data"], "seed": shared["seed"], **one.identity},
    )


def _run_round(
    config: FidelityConfig, one: _Round, record: Record, archs: Sequence[ArchSpec], data: ImageData
) -> pd.DataFrame:
    """Score every network and return the trials.

    Raises:
        StudyError: None of them was scored.
    """
    entries = _entries(config, one, archs, data.num_classes)
    trials = Roster(record, entries, config.rules).run(config.open_executor(data))
    mine = trials[trials.arch_id.isin([arch.arch_id for arch in archs])]
    if not (mine.state == "COMPLETE").any():
        what = "the longer training" if one.name == "full" else f"{one.name}, one of scores,"
        raise StudyError(f"study {config.study}: {what} failed for every network, first with: {mine.reason.iloc[0]}")
    return trials


def _entries(config: FidelityConfig, one: _Round, archs: Sequence[ArchSpec], num_classes: int) -> list[Entry]:
    return [
        Entry(
            job=Job(
                arch=arch,
                seed=seed,
                data=config.data,
                train=one.train,
                score=one.score,
                cache=config.folder.cache,
                device=config.torch_device,
            ),
            cost=network_cost(arch, num_classes=num_classes),
            label=one.name,
            numbers={},
        )
        for seed in one.seeds
        for arch in archs
    ]


def _read_round(one: _Round, record: Record) -> pd.DataFrame:
    """Return the mean worth and the seconds in all of each network, by ``arch_id``."""
    started = [datetime.fromisoformat(session["started"]) for session in load_sessions(record.study)]
    begun = [moment.astimezone().replace(tzinfo=None) for moment in started]  # Optuna's times are local ones
    rows = [
        (trial.user_attrs["arch_id"], trial.value, _seconds(trial, begun))
        for trial in record.trials
        if trial.state == TrialState.COMPLETE and trial.user_attrs["seed"] in one.seeds
    ]
    networks = pd.DataFrame(rows, columns=["arch_id", "worth", "seconds"]).groupby("arch_id")
    seconds = networks.seconds.sum(min_count=1).where(networks.seconds.count() == networks.size())
    return pd.DataFrame({"worth": networks.worth.mean(), "seconds": seconds})


def _seconds(trial: FrozenTrial, begun: Collection[datetime]) -> float:
    """Return what a trial took, its process and the reading of its latency included.

    NaN where a session began meanwhile: the trial was taken up again, and the time between is no part of it.
    """
    start, end = trial.datetime_start, trial.datetime_complete
    assert start is not None
    assert end is not None
    taken_up = any(start < moment < end for moment in begun)
    return float("nan") if taken_up else (end - start).total_seconds()


def _searched_networks(config: FidelityConfig) -> list[ArchSpec]:
    """Return the networks that the study's search has scored to their end; none where there was no search."""
    try:
        records = load_records(config.url, config.study)
    except StudyError:  # nothing has begun; a storage that cannot be opened is refused when our own parts are
        return []
    trials = [trial for record in records if record.part == "search" for trial in record.trials]
    return [ArchSpec.from_dict(trial.user_attrs["arch"]) for trial in trials if state_of(trial) == "COMPLETE"]


def _spread(archs: list[ArchSpec], count: int) -> list[ArchSpec]:
    """Return at most ``count`` of a list, first and last included, evenly spread."""
    if len(archs) <= count:
        return archs
    return [archs[round(index * (len(archs) - 1) / (count - 1))] for index in range(count)]
