"""What every trained network is read for, however it came by its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import save_model
from torch import nn

from scalesearch.atomic import replacing
from scalesearch.data import ImageData
from scalesearch.measure.profiling import profile_latency
from scalesearch.measure.scores.job import Job
from scalesearch.measure.training import EvalInfo, evaluate

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


def save_weights(network: nn.Module, checkpoint: Path | None) -> None:
    """Write the weights to a job's checkpoint, where it has one; the network is moved to the CPU."""
    if checkpoint is None:
        return
    portable: Any = network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with replacing(checkpoint) as temporary:
        save_model(portable, str(temporary))
