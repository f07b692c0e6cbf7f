"""From the keys to an executor; what an engine needs is imported only where it is asked for."""

from __future__ import annotations

import math
from pathlib import Path

from scalesearch.errors import ConfigError
from scalesearch.study.executors.config import ExecutorConfig, ResourcesConfig
from scalesearch.study.executors.events import Executor, Run
from scalesearch.study.executors.local import LocalExecutor
from scalesearch.study.executors.worker import WorkerSettings
from scalesearch.study.sessions import num_cores


def build_executor(
    config: ExecutorConfig,
    run: Run,
    *,
    num_workers: int,
    num_threads: int | None = None,
    memory_gib: float = math.inf,
    resources: ResourcesConfig | None = None,
    data: object = None,
    folder: Path | None = None,
) -> Executor:
    """Return what runs jobs.

    Args:
        config: Where.
        run: What a job does; importable by name in a worker's process.
        num_workers: Jobs at once.
        num_threads: Threads of each; on one machine, the cores divided by the workers where it is not given, and 1
            under Slurm or on a cluster of Ray's that is joined.
        memory_gib: Resident memory at which a worker ends itself.
        resources: What each declares to need.
        data: What all jobs read, for an executor whose workers do not see this machine's files.
        folder: Where an executor keeps its jobs, for one whose workers see this machine's files.

    Raises:
        ConfigError: The engine is not installed, or cannot be reached.
    """
    if config.kind == "ray":
        return _build_ray(config, run, num_workers, num_threads, memory_gib, resources or ResourcesConfig(), data)
    if config.kind == "slurm":
        assert folder is not None, "Slurm's jobs have a folder"
        settings = WorkerSettings(num_threads or 1, memory_gib)
        return _build_slurm(config, run, num_workers, folder, settings, resources or ResourcesConfig())
    assert config.kind == "local", config.kind
    return LocalExecutor(num_workers, run, num_threads, memory_gib)


def _build_ray(
    config: ExecutorConfig,
    run: Run,
    num_workers: int,
    num_threads: int | None,
    memory_gib: float,
    resources: ResourcesConfig,
    data: object,
) -> Executor:
    from scalesearch.study.executors.ray import RayExecutor
    from scalesearch.study.executors.ray_cluster import RayCluster

    # how many cores this machine has says nothing of a cluster's
    threads = num_threads or (1 if config.address else max(1, num_cores() // num_workers))
    cluster = RayCluster(config.address, num_cpus=num_workers * threads)
    return RayExecutor(num_workers, run, cluster, WorkerSettings(threads, memory_gib), resources.gpus, data)


def _build_slurm(
    config: ExecutorConfig,
    run: Run,
    num_workers: int,
    folder: Path,
    settings: WorkerSettings,
    resources: ResourcesConfig,
) -> Executor:
    if resources.gpus != int(resources.gpus):
        raise ConfigError(f"resources.gpus must be a whole number with executor=slurm, got {resources.gpus}")
    try:
        from scalesearch.study.executors.slurm import SlurmExecutor
    except ModuleNotFoundError as error:
        if error.name != "submitit":
            raise
        raise ConfigError("executor=slurm needs submitit; install it with pip install 'scalesearch[slurm]'") from None
    return SlurmExecutor(config, run, num_workers, folder, settings, int(resources.gpus))
