"""What every trained network is read for, however it came by its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypedDict

from torch import nn

from scalesearch.arch import ArchSpec
from scalesearch.data import ImageData
from scalesearch.data.transforms import Normalisation
from scalesearch.measure.profiling import profile_latency
from scalesearch.measure.scores.job import Job
from scalesearch.measure.trained import TrainedNetwork, save_network
from scalesearch.measure.training import EvalInfo, evaluate
from scalesearch.nn import Network

_LATENCY_REPEATS = 20


class Accuracy(TypedDict):
    """Of a ``Score``: what it says about accuracy."""

    val_top1: float
    val_loss: float
    test_top1: float


class Latency(TypedDict):
    """Of a ``Score``: what it says about latency."""

    latency_ms: float
    latency_p90_ms: float


def read_accuracy(network: nn.Module, data: ImageData, job: Job) -> Accuracy:
    """Return ``val_top1``, ``val_loss`` and, where the job reads the test split, ``test_top1``."""
    size, device = job.arch.image_size, job.device
    val = evaluate(network, data.val, image_size=size, device=device)
    test_top1 = evaluate(network, data.test, image_size=size, device=device).top1 if job.reads_test else math.nan
    return as_accuracy(val, test_top1)


def as_accuracy(val: EvalInfo, test_top1: float = math.nan) -> Accuracy:
    """Return a reading of the search-val split under the names of a ``Score``."""
    return {"val_top1": val.top1, "val_loss": val.loss, "test_top1": test_top1}


def read_latency(network: nn.Module, job: Job) -> Latency:
    """Return ``latency_ms`` and ``latency_p90_ms`` of passes of ``job.latency_batch_size`` images."""
    latency = profile_latency(
        network,
        job.arch.image_size,
        batch_size=job.latency_batch_size,
        repeats=_LATENCY_REPEATS,
        device=job.device,
        num_threads=1,
    )
    return {"latency_ms": latency.p50_ms, "latency_p90_ms": latency.p90_ms}


def save_weights(network: Network, data: ImageData, arch: ArchSpec, checkpoint: Path | None) -> None:
    """Write a network to its checkpoint, where it has one, with all that is needed to use it."""
    if checkpoint is not None:
        normalisation = Normalisation(data.mean, data.std)
        save_network(TrainedNetwork(network, arch, data.class_names, normalisation), checkpoint)
