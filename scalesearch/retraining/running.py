"""Train one network with several seeds, by one recipe, into a study that may hold other recipes beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.atomic import write_atomically
from scalesearch.data import ImageData
from scalesearch.errors import ConfigError, StudyError
from scalesearch.measure.team import num_processes, open_team
from scalesearch.nn import build_network
from scalesearch.retraining.config import RetrainConfig
from scalesearch.retraining.job import Beginning, RetrainJob, begin_network, train_network
from scalesearch.retraining.tables import Trained, tabulate
from scalesearch.retraining.together import TeamExecutor, follow
from scalesearch.scaling.memory import check_trainings
from scalesearch.study.executors import Executor
from scalesearch.study.latencies import read_latencies
from scalesearch.study.roster import Entry, Roster
from scalesearch.study.sessions import num_cores
from scalesearch.study.store import Record, write_trials

PART = "train"


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """What came out.

    Attributes:
        tables: Of all trainings of the study's part.
        init: What came of the weights it began with; empty where they were fresh.
        checkpoint: Weights of the first seed; None where that training failed.
    """

    tables: Trained
    init: str
    checkpoint: Path | None


def run_train(config: RetrainConfig) -> RetrainResult | None:
    """Train the network with each seed, read the test split at the end of each; go on where it stopped.

    Writes the record, ``config.yaml``, ``train.csv``, ``train-history.csv``, ``train-classes.csv``,
    ``train-confusion.csv``, ``trials.csv`` and the first seed's checkpoint into the study's folder. Under torchrun
    every process calls this; the first one writes and has the result, the others have None.

    Raises:
        ScalesearchError: There is no network or no usable data, it is too large for this machine's memory, the weights
            to begin with do not fit, or the label stands for another recipe in this study.
    """
    threads = config.threads or max(1, num_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    with open_team(config.torch_device) as team:
        if team is None:
            return _train(config, None)
        if not team.is_first:
            follow(team, train_network, threads)
            return None
        executor = TeamExecutor(team, train_network, threads)
        try:
            return _train(config, executor)
        finally:
            executor.close()


def _train(config: RetrainConfig, together: TeamExecutor | None) -> RetrainResult:
    arch = config.read_arch()
    recipe = config.recipe()
    with config.held():
        data = config.load_data()
        _check_batch(config, data)
        config.warn_of_upsampling(arch.image_size, data)
        check_trainings(config, [arch], data)
        jobs = _jobs(config, arch, recipe.get("init", ""))
        _, init = begin_network(jobs[0], data.num_classes)  # refused before anything is begun
        record = _open_record(config, data)
        _check_recipe(record, config.way, recipe)
        config.save(PART)
        executor: Executor = config.build_executor(train_network, data) if together is None else together
        rules = replace(config.rules, variant=config.way)
        trials = Roster(record, _entries(config, jobs, data.num_classes), rules).run(executor)
        mine = trials[(trials.label == config.way) & (trials.arch_id == arch.arch_id)]
        write_trials(config.folder, config.url)
        if not (mine.state == "COMPLETE").any():
            raise StudyError(f"study {config.study}: every training failed; trials.csv has the reasons")
        archs = _archs(record)
        latencies = read_latencies(
            record, archs, build=lambda each: build_network(each, data.num_classes), device=config.torch_device
        )
        tables = tabulate(config.folder, trials, latencies, data.class_names)
        for name, table in tables.by_name().items():
            write_atomically(config.folder.table(name), table.to_csv(index=False))
        checkpoint = jobs[0].checkpoint
        return RetrainResult(tables, init, checkpoint if checkpoint is not None and checkpoint.exists() else None)


def _check_batch(config: RetrainConfig, data: ImageData) -> None:
    """Refuse batches that cannot be shared out evenly: the mean of the processes' means would not be the batch's.

    Raises:
        ConfigError: They cannot.
    """
    count, images = num_processes(), min(config.train.batch_size, len(data.train))
    if images % count:
        raise ConfigError(f"train.batch_size must be a multiple of the {count} processes, got {images} images a step")


def _open_record(config: RetrainConfig, data: ImageData) -> Record:
    """Open the part; what the trainings have in common are the images, for ways of training stand beside each other."""
    return config.open_record(PART, "val_top1", {"data": config.identity(data)["data"]})


def _check_recipe(record: Record, label: str, recipe: dict[str, object]) -> None:
    """Keep the recipe a label stands for.

    Raises:
        StudyError: It stands for another one already.
    """
    with record.drivers.turn():
        record.keep(f"recipe.{label}", recipe, what=f"label {label}", advice="give another label=")


def _jobs(config: RetrainConfig, arch: ArchSpec, digest: str) -> list[RetrainJob]:
    folder, begin = config.folder, Beginning(config.init, digest, config.init_keeps, config.padding, config.bn_eps)
    jobs = []
    for index in range(config.seeds):
        seed = config.seed + index
        stem = f"{PART}-{config.way}-{arch.arch_id}"
        jobs.append(
            RetrainJob(
                arch=arch,
                seed=seed,
                data=config.data,
                train=config.train,
                begin=begin,
                evaluate_every=config.evaluate_every or 0,
                cache=folder.cache,
                device=config.torch_device,
                checkpoint=None if index else folder.checkpoints / f"{stem}.safetensors",
                readings=folder.readings / f"{stem}-seed{seed}",
            )
        )
    return jobs


def _entries(config: RetrainConfig, jobs: list[RetrainJob], num_classes: int) -> list[Entry]:
    cost = network_cost(jobs[0].arch, num_classes=num_classes)
    return [Entry(job=job, cost=cost, label=config.way, numbers={}, variant=config.way) for job in jobs]


def _archs(record: Record) -> list[ArchSpec]:
    values = {
        trial.user_attrs["arch_id"]: trial.user_attrs["arch"] for trial in record.trials if "arch" in trial.user_attrs
    }
    return [ArchSpec.from_dict(value) for value in values.values()]
