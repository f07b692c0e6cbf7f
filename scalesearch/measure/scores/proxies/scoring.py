"""Score a candidate by a zero-cost proxy: random weights, a batch or two, no training.

``params`` and ``macs`` are the baseline that a proxy must beat. Ranking by size is free, and Li et al. 2023 (arXiv
2301.11300) report that no proxy before theirs did consistently better than the number of parameters.
"""

from __future__ import annotations

import itertools
import math

import torch

from scalesearch.arch import network_cost
from scalesearch.data import ImageData, Split, load_data
from scalesearch.errors import DataError, DivergenceError
from scalesearch.measure.scores.job import Job, Score
from scalesearch.measure.scores.proxies.gradients import Batch, grad_norm, zico
from scalesearch.measure.scores.proxies.patterns import naswot
from scalesearch.measure.scores.proxies.synflow import synflow
from scalesearch.measure.scores.reading import read_latency
from scalesearch.measure.steps import OnStep
from scalesearch.nn import Network, build_network

BATCH_SIZE = 64
ZICO_BATCHES, ZICO_BATCH_SIZE = 2, 32
LEAST_IMAGES = 4


def proxy_score(job: Job, on_step: OnStep | None = None, data: ImageData | None = None) -> Score:
    """Read one candidate by ``job.score.proxy``; higher is better for all of them.

    Weights and images are drawn from ``job.seed``: the weights are those a brief training would begin with, and every
    architecture meets the same images. Latency is read as in a brief training; ``train_seconds`` stays 0.

    Raises:
        DataError: The training split has fewer than 4 images, and the proxy looks at images.
        DivergenceError: The proxy is not finite.
    """
    data = data or load_data(job.data, job.cache)
    torch.manual_seed(job.seed)
    network = build_network(job.arch, data.num_classes).to(job.device)
    value = _read(network, data.train, job, data.num_classes)
    if not math.isfinite(value):
        raise DivergenceError(f"the proxy {job.score.proxy} of network {job.arch.arch_id} is {value}")
    latency = read_latency(network, job)
    if on_step is not None:
        on_step(1, 1)
    return Score(proxy=value, **latency)


def _read(network: Network, train: Split, job: Job, num_classes: int) -> float:
    match job.score.proxy:
        case "params" | "macs" as name:
            return float(getattr(network_cost(job.arch, num_classes=num_classes), name))
        case "synflow":
            return synflow(network, (3, job.arch.image_size, job.arch.image_size))
        case "naswot":
            [(images, _)] = draw_batches(train, job, 1, BATCH_SIZE)
            return naswot(network, images)
        case "grad_norm":
            [batch] = draw_batches(train, job, 1, BATCH_SIZE)
            return grad_norm(network, batch)
        case "zico":
            return zico(network, draw_batches(train, job, ZICO_BATCHES, ZICO_BATCH_SIZE))
        case unknown:
            raise AssertionError(f"the configuration lets no proxy {unknown!r} through")


def draw_batches(train: Split, job: Job, count: int, batch_size: int) -> list[Batch]:
    """Return ``count`` batches of different training images: the middle square of each, without augmentation.

    They are drawn from ``job.seed`` anew, so the architecture has no say in them, and in random order, for in many
    data sets one class follows after another. A split too small for the batches gives smaller ones.

    Raises:
        DataError: The split has fewer than 4 images.
    """
    if len(train) < LEAST_IMAGES:
        raise DataError(f"a proxy needs at least {LEAST_IMAGES} training images, got {len(train)}")
    torch.manual_seed(job.seed)
    batches = train.batches(
        batch_size=min(batch_size, len(train) // count),
        image_size=job.arch.image_size,
        augmentation=None,
        shuffle=True,
        drop_last=True,
    )
    return [(images.to(job.device), targets.to(job.device)) for images, targets in itertools.islice(batches, count)]
