"""What a candidate is worth with the weights of a trained supernet.

Such accuracies rank candidates, roughly; they are no forecast of what a network reaches when it is trained alone.
BatchNorm's statistics are estimated anew for each candidate: Yu & Huang 2019 (arXiv 1903.05134), section 3.2.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from scalesearch.data import ImageData, Split, load_data
from scalesearch.errors import ConfigError, SpaceError
from scalesearch.measure.scores.job import Job, Score
from scalesearch.measure.scores.reading import read_accuracy, read_latency, save_weights
from scalesearch.measure.scores.supernet.checkpoint import SupernetRecord, load_supernet, refuse_other
from scalesearch.measure.steps import OnStep
from scalesearch.nn.network import Network
from scalesearch.nn.supernet import Supernet

_BATCH_SIZE = 128


def supernet_score(job: Job, on_step: OnStep | None = None, data: ImageData | None = None) -> Score:
    """Evaluate one candidate with the weights in ``job.score.supernet.path``.

    Nothing is trained, so the score counts no steps or seconds of training; the same job gives the same accuracy
    whatever its seed. The checkpoint is read once in a process, until the file changes.

    Args:
        job: The candidate; ``job.train`` has no part.
        on_step: Told of each batch of the estimate of BatchNorm's statistics.
        data: The images; those that the job names where they are not given.

    Raises:
        ConfigError: The file is missing, holds no supernet, is not trained to its end, or learnt from other data.
        SpaceError: The supernet's space does not hold the architecture.
    """
    path = Path(job.score.supernet.path)
    supernet, record = _load_trained(path)
    data = data or load_data(job.data, job.cache)
    refuse_other(path, "data_fingerprint", record.data_fingerprint, data.fingerprint)
    network = _extract(supernet, job, path)
    size, device = job.arch.image_size, job.device
    num_images = job.score.supernet.batch_norm_images
    estimate_batch_norm(network, data.train, num_images, image_size=size, device=device, on_step=on_step)
    accuracy, latency = read_accuracy(network, data, job), read_latency(network, job)
    save_weights(network, data, job.arch, job.checkpoint)
    return Score(**accuracy, **latency)


def estimate_batch_norm(
    network: nn.Module,
    train: Split,
    num_images: int,
    *,
    image_size: int,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> None:
    """Set BatchNorm's running statistics to their plain mean over batches of training images, without augmentation.

    The images are drawn by a fixed seed: the same ones for every network. The caller's random state and the network's
    mode are put back.

    Args:
        network: Takes images (N, 3, H, W); changed in place and moved to ``device``.
        train: Training images.
        num_images: Rounded up to whole batches of 128; at most all of ``train``, rounded down.
        image_size: Pixels a side.
        device: ``cpu`` or ``cuda``.
        on_step: Told of each batch.
    """
    batch_size = min(_BATCH_SIZE, num_images, len(train))
    num_batches = min(math.ceil(num_images / batch_size), len(train) // batch_size)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = network.training
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches with equal weights
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        batches = train.batches(
            batch_size=batch_size, image_size=image_size, augmentation=None, shuffle=True, drop_last=True
        )
        for step, (images, _) in enumerate(islice(batches, num_batches), start=1):
            network(images.to(device, memory_format=torch.channels_last))
            if on_step is not None:
                on_step(step, num_batches)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)


def _extract(supernet: Supernet, job: Job, path: Path) -> Network:
    try:
        return supernet.extract(job.arch)
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from None


def _load_trained(path: Path) -> tuple[Supernet, SupernetRecord]:
    if not path.is_file():
        raise ConfigError(f"score.supernet.path must be a supernet's checkpoint, got {str(path)!r}, which is no file")
    supernet, record = _load_once(path, path.stat().st_mtime_ns)
    if record.step < record.num_steps:
        raise ConfigError(
            f"{path}: the supernet's training must have ended before it scores, got {record.step} of "
            f"{record.num_steps} steps"
        )
    return supernet, record


@lru_cache(maxsize=1)
def _load_once(path: Path, mtime_ns: int) -> tuple[Supernet, SupernetRecord]:
    return load_supernet(path)
