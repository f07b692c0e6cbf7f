"""What every part of a study is told: its name, where it is kept, and on what it runs."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import yaml

from scalesearch.atomic import write_atomically
from scalesearch.data import DataConfig, ImageData, load_data
from scalesearch.errors import ConfigError
from scalesearch.measure.scores import score_job
from scalesearch.measure.training import TrainConfig
from scalesearch.study.driver import JobRules
from scalesearch.study.drivers import DRIVER_TIMEOUT
from scalesearch.study.executors import Executor, ExecutorConfig, ResourcesConfig, Run, build_executor
from scalesearch.study.folder import StudyFolder, hide_passwords, mask_password
from scalesearch.study.locks import locked_storage, locked_study, takes_many_drivers
from scalesearch.study.store import Record
from scalesearch.study.trackers import TrackedPart, TrackerConfig

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class PartConfig:
    """The keys that all parts of all studies share.

    Attributes:
        study: Name of the study, and of its folder.
        results: Folder that holds studies.
        storage: URL of another Optuna storage than the study's own SQLite file.
        seed: From which every random choice follows.
        workers: Candidates trained at once, one process each.
        threads: Processor threads of each; the cores divided by the workers where it is not given. The last bits of
            a result depend on it.
        device: ``auto`` takes CUDA where there is one, on a cluster where ``resources.gpus`` asks for one; or ``cpu``,
            ``cuda``, ``cuda:1``.
        executor: Where candidates run.
        tracker: Who is told of each trial beside the study's record.
        resources: What one candidate needs of a cluster.
        trial_timeout: Seconds after which a candidate counts as hung and fails.
        worker_memory_gib: Resident memory at which a worker ends itself and its candidate fails, before the kernel
            picks a process.
        retries: Times a candidate is begun again whose worker was taken away, by a signal or with its machine.
        snapshot_seconds: Between two snapshots of a running training, from which it goes on when its process has died;
            inf keeps none.
        driver_timeout: Seconds without a sign of life after which another driver of the same study counts as dead, and
            its candidates are taken up.
    """

    study: str = "study"
    results: str = "results"
    storage: str | None = None
    seed: int = 0
    workers: int = 2
    threads: int | None = None
    device: str = "auto"
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    trial_timeout: float = math.inf
    worker_memory_gib: float = math.inf
    retries: int = 2
    snapshot_seconds: float = 30.0
    driver_timeout: float = DRIVER_TIMEOUT

    def __post_init__(self) -> None:
        check_at_least("seed", self.seed, 0)
        check_at_least("retries", self.retries, 0)
        check_at_least("snapshot_seconds", self.snapshot_seconds, 0)
        for name in ("trial_timeout", "worker_memory_gib", "driver_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        check_at_least("workers", self.workers, 1)
        if self.threads is not None:
            check_at_least("threads", self.threads, 1)
        if self.device != "auto":
            check_device(self.device, is_here=self.executor.kind == "local")

    @property
    def folder(self) -> StudyFolder:
        """Where the study is kept."""
        return StudyFolder.of(self.results, self.study)

    @property
    def url(self) -> str:
        """The storage's URL."""
        return self.folder.storage_url(self.storage)

    @property
    def torch_device(self) -> str:
        """The device with ``auto`` resolved."""
        if self.device == "auto" and self.executor.kind != "local":
            return "cuda" if self.resources.gpus else "cpu"
        return resolve_device(self.device)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the study's folder, and keep other drivers out where the storage is unfit for several.

        Raises:
            StudyError: Another process drives the study, or the folder cannot be written.
        """
        if takes_many_drivers(self.url):
            self.folder.make()
            yield
        else:
            with locked_study(self.folder), locked_storage(self.storage):
                yield

    @property
    def rules(self) -> JobRules:
        """What holds for every candidate that runs."""
        return JobRules(
            snapshots=self.folder.checkpoints,
            snapshot_seconds=self.snapshot_seconds,
            timeout_seconds=self.trial_timeout,
            retries=self.retries,
        )

    def build_executor(self, run: Run, data: object) -> Executor:
        """Return what runs candidates.

        Raises:
            ConfigError: Its engine is not installed, or cannot be reached.
        """
        return build_executor(
            self.executor,
            run,
            num_workers=self.workers,
            num_threads=self.threads,
            memory_gib=self.worker_memory_gib,
            resources=self.resources,
            data=data,
            folder=self.folder.jobs,
        )

    def values_to_show(self) -> dict[str, Any]:
        """Return the resolved keys with the passwords of storage and tracker masked."""
        values = {**asdict(self), "storage": self.storage and mask_password(self.storage)}
        values["tracker"]["uri"] = hide_passwords(self.tracker.uri)
        return values

    def tracked(self, part: str) -> TrackedPart:
        """Return who is told of a part's trials beside its record."""
        return TrackedPart(self.tracker, self.folder, part, self.values_to_show())

    def open_record(self, part: str, metric: str, identity: Mapping[str, Any]) -> Record:
        """Open the record of a part that maximises one thing; see ``Record.open``.

        Raises:
            StudyError: It was begun with another identity.
        """
        return Record.open(
            self.url,
            self.study,
            part,
            directions=["maximize"],
            metric_names=[metric],
            driver_timeout=self.driver_timeout,
            tracked=self.tracked(part),
            identity=identity,
        )

    def save(self, part: str) -> None:
        """Keep the resolved configuration of a part in the study's ``config.yaml``, without passwords."""
        sections = {**self.folder.read_config(), part: self.values_to_show()}
        write_atomically(self.folder.config, yaml.safe_dump(sections, sort_keys=False))


@dataclass(kw_only=True, slots=True)
class StudyConfig(PartConfig):
    """The keys that ``search``, ``scale`` and ``family`` share.

    Attributes:
        data: The images.
        train: How a candidate is trained.
    """

    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def load_data(self) -> ImageData:
        """Decode the images once, into the cache that the workers read."""
        return load_data(self.data, self.folder.cache)

    def open_executor(self, data: ImageData) -> Executor:
        """Return what trains the candidates, on these images."""
        return self.build_executor(score_job, data)

    def warn_of_upsampling(self, image_size: int, data: ImageData) -> None:
        """Warn where images are smaller than a network wants them: interpolated pixels have nothing to tell."""
        stored = data.native_size if data.streams else min(data.native_size, self.data.stored_size)
        if image_size > stored:
            _logger.warning(
                "networks of up to %d px get images of %d px (native %d, data.stored_size %d), enlarged: that"
                " resolution is not real",
                image_size,
                stored,
                data.native_size,
                self.data.stored_size,
            )

    def identity(self, data: ImageData) -> dict[str, Any]:
        """Return what makes two scores comparable: images, training, seed."""
        images = {
            "classes": data.num_classes,
            "train_images": len(data.train),
            "val_images": len(data.val),
            "fingerprint": data.fingerprint,
        }
        return {"data": images, "train": asdict(self.train), "seed": self.seed}


def check_at_least(name: str, value: float, least: float) -> None:
    """Refuse a value that is too small.

    Raises:
        ConfigError: It is below ``least``.
    """
    if not value >= least:
        raise ConfigError(f"{name} must be at least {least:g}, got {value}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not among those allowed.

    Raises:
        ConfigError: It is not.
    """
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_device(name: str, *, is_here: bool = True) -> None:
    """Refuse a device that is not here, or by its name alone where it is a cluster's.

    Raises:
        ConfigError: It is neither the CPU nor a CUDA device of this machine.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device must be cpu, cuda or cuda:N, got {name!r}")
    if not is_here:
        return
    here = torch.cuda.device_count()
    if name != "cpu" and int(name.partition(":")[2] or 0) >= here:
        raise ConfigError(f"device must be cpu or one of the {here} CUDA devices here, got {name!r}")


def resolve_device(name: str) -> str:
    """Return the device that ``auto`` stands for here, any other as it is."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
