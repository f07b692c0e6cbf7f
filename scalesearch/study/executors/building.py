"""From the keys to an executor; what an engine needs is imported only where it is asked for."""

from __future__ import annotations

import math

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
) -> Executor:
    """Return what runs jobs.

    Args:
        config: Where.
        run: What a job does; importable by name in a worker's process.
        num_workers: Jobs at once.
        num_threads: Threads of each; on one machine, the cores divided by the workers where it is not given.
        memory_gib: Resident memory at which a worker ends itself.
        resources: What each declares to need.
        data: What all jobs read, for an executor whose workers do not see this machine's files.

    Raises:
        ConfigError: The engine is not installed, or cannot be reached.
    """
    if config.kind == "ray":
        return _build_ray(config, run, num_workers, num_threads, memory_gib, resources or ResourcesConfig(), data)
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
