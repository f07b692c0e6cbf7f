"""Brief training, then the accuracy on the search-val split; on the way it may be stopped at a rung."""

from __future__ import annotations

import time
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from scalesearch.data import ImageData, Split, load_data
from scalesearch.errors import ConfigError
from scalesearch.measure.scores.job import Job, Score, Sibling
from scalesearch.measure.scores.reading import as_accuracy, read_accuracy, read_latency, save_weights
from scalesearch.measure.snapshot import Snapshots
from scalesearch.measure.steps import Callbacks
from scalesearch.measure.training import EvalInfo, evaluate, fit
from scalesearch.nn import build_network
from scalesearch.nn.growing import grow_weights
from scalesearch.nn.network import Network


class Watcher(Protocol):
    """Follows the scoring of a candidate; to a score that has no rungs it is an ``OnStep``."""

    def __call__(self, steps: int, num_steps: int) -> None:
        """Take note of the steps done and the steps in all."""
        ...

    def reached(self, rung: int, steps: int, worth: float) -> bool:
        """Take note of what was read at a rung, counted from 0, and say whether the training goes on."""
        ...


def brief_score(job: Job, watcher: Watcher | None = None, data: ImageData | None = None) -> Score:
    """Build, train and evaluate one candidate, on the data that the job names where they are not given.

    Without a watcher nobody can be asked, and the training passes the job's rungs unread. One that is stopped writes
    no checkpoint and does not read the test split.

    Raises:
        DivergenceError: The loss is not finite.
        ArchError: The sibling is no smaller one of the network.
        ConfigError: Its weights cannot be read.
    """
    data = data or load_data(job.data, job.cache)
    torch.manual_seed(job.seed)
    network = build_network(job.arch, data.num_classes, dropout=job.train.dropout, drop_path=job.train.drop_path)
    if job.sibling is not None:
        _inherit(network, job, job.sibling)
    torch.manual_seed(job.seed)  # the same images in the same order, whatever a network's weights have drawn
    size, device = job.arch.image_size, job.device
    ladder = None if watcher is None else _Ladder(job, data.val, watcher)
    fitted = fit(
        network,
        data.train,
        job.train,
        image_size=size,
        device=device,
        callbacks=Callbacks(
            on_step=watcher,
            rungs=job.rungs,
            keep_on=ladder,
            snapshots=None if job.snapshot is None else Snapshots(job.snapshot, job.identity),
        ),
    )
    stopped = None if ladder is None else ladder.stopped
    started = time.perf_counter()
    accuracy = as_accuracy(stopped) if stopped else read_accuracy(network, data, job)
    eval_seconds = time.perf_counter() - started
    latency = read_latency(network, job)
    if stopped is None:
        save_weights(network, data, job.arch, job.checkpoint)
    return Score(
        **accuracy,
        **latency,
        train_seconds=fitted.train_seconds,
        eval_seconds=eval_seconds,
        steps=fitted.steps,
        stopped=stopped is not None,
    )


def _inherit(network: Network, job: Job, sibling: Sibling) -> None:
    try:
        weights = load_file(sibling.checkpoint)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{sibling.checkpoint}: the sibling's weights cannot be read ({error})") from None
    grow_weights(weights, sibling.arch, network, job.arch)


class _Ladder:
    """Reads a network at each rung on all of the search-val split, and asks the watcher; a ``KeepOn``."""

    def __init__(self, job: Job, val: Split, watcher: Watcher) -> None:
        self._job, self._val, self._watcher = job, val, watcher
        self.stopped: EvalInfo | None = None
        """The reading at which the training was told to stop."""

    def __call__(self, steps: int, network: nn.Module) -> bool:
        reading = evaluate(network, self._val, image_size=self._job.arch.image_size, device=self._job.device)
        goes_on = self._watcher.reached(self._job.rungs.index(steps), steps, reading.top1)
        if not goes_on:
            self.stopped = reading
        return goes_on
