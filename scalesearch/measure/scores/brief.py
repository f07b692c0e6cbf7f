"""Brief training, then the accuracy on the search-val split."""

from __future__ import annotations

import math

import torch
from safetensors.torch import save_model

from scalesearch.data import load_data
from scalesearch.measure.profiling import profile_latency
from scalesearch.measure.scores.job import Job, Score
from scalesearch.measure.training import OnStep, evaluate, fit
from scalesearch.nn import build_network


def brief_score(job: Job, on_step: OnStep | None = None) -> Score:
    """Build, train and evaluate one candidate.

    Raises:
        DivergenceError: The loss is not finite.
    """
    data = load_data(job.data, job.cache)
    torch.manual_seed(job.seed)
    network = build_network(job.arch, data.num_classes, dropout=job.train.dropout, drop_path=job.train.drop_path)
    size, device = job.arch.image_size, job.device
    fitted = fit(network, data.train, job.train, image_size=size, device=device, on_step=on_step)
    val = evaluate(network, data.val, image_size=size, device=device)
    test_top1 = evaluate(network, data.test, image_size=size, device=device).top1 if job.reads_test else math.nan
    latency = profile_latency(network, size, repeats=20, device=device, num_threads=1)
    if job.checkpoint is not None:
        job.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        save_model(network.to("cpu", memory_format=torch.contiguous_format), str(job.checkpoint))  # type: ignore[call-overload]
    return Score(
        val_top1=val.top1,
        val_loss=val.loss,
        test_top1=test_top1,
        latency_ms=latency.p50_ms,
        latency_p90_ms=latency.p90_ms,
        train_seconds=fitted.train_seconds,
        steps=fitted.steps,
    )
