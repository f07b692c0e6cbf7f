"""Candidates as tasks of a Ray cluster: one process each, wherever there is room.

Ray places a job on a node that has the cores and the share of a GPU that it declares, and waits for one that has; nodes
may join and leave meanwhile. Ray's own retries are off: a job whose process or node has died is told as ``Lost``, and
the driver begins it again, as with any executor.

The data are put into Ray's object store once. From there a node fetches them once, and its workers read the arrays
where they lie; so no worker needs this machine's cache. Pictures that are decoded while they are read are files, and
so are snapshots and checkpoints: for these all nodes must see one file system under the same names. Where a node does
not, its trainings run all the same, but they begin anew on another node, and their weights stay behind.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.errors import ConfigError, ScalesearchError
from scalesearch.study.executors.events import End, Event, Failed, Lost, Run, Stepped
from scalesearch.study.executors.mailbox import mailbox_class, read_letter, run_job
from scalesearch.study.executors.ray_cluster import TO_GO_ON, RayCluster
from scalesearch.study.executors.worker import DriverGoneError, WorkerSettings, last_seen
from scalesearch.study.jobs import CandidateJob

_END_SECONDS = 5.0
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    attempt: int
    task: Any
    memory_mib: float = math.nan


class RayExecutor:
    """One Ray task a job.

    Args:
        num_workers: Jobs at once; more than there is room for wait within Ray.
        run: What a job does; importable by name on every node, as all of scalesearch must be.
        cluster: Where.
        settings: What a worker's process may use; its threads are declared to Ray as cores.
        gpus: What a job declares to need; a share where several fit on one device.
        data: What all jobs read.
    """

    def __init__(
        self,
        num_workers: int,
        run: Run,
        cluster: RayCluster,
        settings: WorkerSettings | None = None,
        gpus: float = 0.0,
        data: object = None,
    ) -> None:
        self.num_workers = num_workers
        self._run, self._settings = run, settings or WorkerSettings()
        self._cluster, self._ray = cluster, cluster.ray
        self._gpus, self._data = gpus, data
        self._attempts = itertools.count()
        self._running: dict[int, _Running] = {}
        try:
            self._open()
        except BaseException:
            cluster.close()
            raise

    def submit(self, key: int, job: CandidateJob) -> None:
        """Hand a job to Ray, which begins it where there is room.

        Raises:
            ConfigError: It is to run on a device, and declares to need none.
        """
        _check_device(getattr(job, "device", "cpu"), self._gpus)
        attempt = next(self._attempts)
        arguments = (self._run, key, attempt, job, self._settings, self._mailbox, str(Path.cwd()), self._stored)
        self._running[key] = _Running(attempt, self._task.remote(*arguments))

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Return what has happened: at least one event, or none after so many seconds without."""
        assert self._running, "nothing runs: there is nothing to wait for"
        deadline = time.monotonic() + seconds
        while True:
            references = [self._news, *(running.task for running in self._running.values())]
            left = None if math.isinf(seconds) else max(0.0, deadline - time.monotonic())
            self._ray.wait(references, timeout=left)
            ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
            events = self._read(ready)
            if events or time.monotonic() >= deadline:
                return events

    def answer(self, key: int, goes_on: bool) -> None:
        """Tell a job that waits at a rung whether it goes on; one that has died meanwhile is told nothing."""
        if key in self._running:
            self._mailbox.answer.remote(self._running[key].attempt, goes_on)

    def stop(self, key: int) -> None:
        """End one job by force, and wait a little for its end."""
        self._end_tasks([self._running.pop(key).task])

    def close(self) -> None:
        """End every job that still runs, and leave Ray; what was begun here is ended."""
        running, self._running = self._running, {}
        if self._ray.is_initialized():
            self._end_tasks([each.task for each in running.values()])
            self._ray.kill(self._mailbox)
        self._cluster.close()

    def _open(self) -> None:
        ray = self._ray
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(mailbox_class()).remote()
        self._news = self._mailbox.wait.remote()
        self._cluster.warn_of_shortage(self._settings.num_threads, self._gpus)
        # max_calls: a process a job, so that none finds another's memory or random state
        declared = {"num_cpus": self._settings.num_threads, "num_gpus": self._gpus, "max_retries": 0, "max_calls": 1}
        self._task = ray.remote(**declared)(run_job)
        self._stored = None if self._data is None else self._store(self._data)

    def _store(self, data: object) -> Any:  # noqa: ANN401 (a reference of Ray's)
        # a mapped file would be copied into every worker; as a plain array it is read where it lies in the store
        self._ray.util.register_serializer(np.memmap, serializer=np.asarray, deserializer=_as_it_is)
        return self._ray.put(data)

    def _read(self, ready: list[Any]) -> list[Event]:
        """Return what the mailbox holds and then how tasks have ended: a letter may say why."""
        try:
            letters = self._ray.get(self._mailbox.empty.remote())
            if self._news in ready:
                self._ray.get(self._news)
                self._news = self._mailbox.wait.remote()
        except self._ray.exceptions.RayError as error:
            return self._lose_all(error)
        events = [event for letter in letters for event in self._open_letter(letter)]
        ended = [key for key, running in self._running.items() if running.task in ready]
        return events + [self._end_of(key, self._running.pop(key)) for key in ended]

    def _open_letter(self, letter: bytes) -> list[Event]:
        attempt, event = read_letter(letter)
        running = self._running.get(event.key)
        if running is None or running.attempt != attempt:
            return []  # of a job that was stopped, or of a process that is already lost
        if isinstance(event, Stepped):
            running.memory_mib = event.memory_mib
        if isinstance(event, Failed):
            del self._running[event.key]
        return [event]

    def _end_of(self, key: int, running: _Running) -> Event:
        """Return a task's value, or what its error means."""
        errors = self._ray.exceptions
        try:
            value: End = self._ray.get(running.task)
        except errors.OutOfMemoryError:
            seen = last_seen(running.memory_mib)
            return Failed(key, f"out of memory: Ray ended the worker as its node's ran out{seen}", out_of_memory=True)
        except errors.RayTaskError as error:
            return _end_of_task(key, error, errors.RayError)
        except errors.RayError as error:
            return Lost(key, _say(error))
        return value

    def _lose_all(self, error: Exception) -> list[Event]:
        """Give up every job that runs, for nobody can tell how it fares, and begin or join Ray anew."""
        running, self._running = self._running, {}
        reason = f"Ray has died around the worker ({type(error).__name__})"
        if self._ray.is_initialized():
            self._end_tasks([each.task for each in running.values()])
        self._cluster.recover()
        try:
            self._open()
        except self._ray.exceptions.RayError as another:
            raise ScalesearchError(f"Ray has died ({type(another).__name__}); {TO_GO_ON}") from None
        return [Lost(key, reason) for key in running]

    def _end_tasks(self, tasks: list[Any]) -> None:
        for task in tasks:
            with suppress(self._ray.exceptions.RayError):  # it has died with its node
                self._ray.cancel(task, force=True)
        if tasks:
            self._ray.wait(tasks, num_returns=len(tasks), timeout=_END_SECONDS)


def _check_device(device: str, gpus: float) -> None:
    if device.startswith("cuda") and not gpus:
        raise ConfigError(
            f"executor=ray shows a candidate no GPU unless resources.gpus is above 0, got device={device}"
        )
    if device.startswith("cuda:"):
        raise ConfigError(f"executor=ray chooses among GPUs itself: device must be cpu or cuda, got {device}")


def _end_of_task(key: int, error: Any, infrastructure: type[Exception]) -> Failed | Lost:  # noqa: ANN401 (RayTaskError)
    """Return what an error outside the job itself means: its own ones are values, see ``work``."""
    cause = error.cause
    if isinstance(cause, DriverGoneError):
        return Lost(key, "the worker lost its way to the driver")
    if isinstance(cause, infrastructure):
        return Lost(key, _say(cause))
    return Failed(key, f"{type(cause).__name__}: {cause}", str(error))


def _say(error: Exception) -> str:
    match type(error).__name__:
        case "WorkerCrashedError":
            return "the worker process ended without a word: it was killed, or it crashed; Ray does not tell which"
        case "NodeDiedError" | "LocalRayletDiedError":
            return "the node of the worker has died, or left the cluster"
        case "TaskCancelledError":
            return "the task was cancelled from outside"
        case name:
            said = str(error).strip().splitlines()
            return f"Ray lost the task: {name}" + (f": {said[0]}" if said else "")


def _as_it_is(array: Any) -> Any:  # noqa: ANN401 (an array stays one)
    return array
