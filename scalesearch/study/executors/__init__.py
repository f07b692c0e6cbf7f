"""Where candidates run: one protocol, and what keeps it on this machine, on Ray and under Slurm."""

from scalesearch.study.executors.building import build_executor
from scalesearch.study.executors.config import EXECUTORS, ExecutorConfig, ResourcesConfig
from scalesearch.study.executors.events import (
    Began,
    End,
    Event,
    Executor,
    Failed,
    Halted,
    Lost,
    Reached,
    Requeued,
    Run,
    Scored,
    Stepped,
)
from scalesearch.study.executors.inline import InlineExecutor
from scalesearch.study.executors.local import LocalExecutor
from scalesearch.study.executors.worker import Channel, DriverGoneError, WorkerSettings, keep_freed_memory, work

__all__ = [
    "EXECUTORS",
    "Began",
    "Channel",
    "DriverGoneError",
    "End",
    "Event",
    "Executor",
    "ExecutorConfig",
    "Failed",
    "Halted",
    "InlineExecutor",
    "LocalExecutor",
    "Lost",
    "Reached",
    "Requeued",
    "ResourcesConfig",
    "Run",
    "Scored",
    "Stepped",
    "WorkerSettings",
    "build_executor",
    "keep_freed_memory",
    "work",
]
