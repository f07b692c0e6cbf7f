"""Memory of a part's networks: what a pass takes, and what a training takes at least, before it fills memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.data import ImageData
from scalesearch.errors import ConfigError
from scalesearch.measure.available_memory import available_gib
from scalesearch.measure.memory import peak_memory_mib
from scalesearch.measure.memory_floor import training_floor_mib
from scalesearch.measure.probe import check_counts
from scalesearch.nn import build_network
from scalesearch.study.settings import StudyConfig


def pass_memory_mib(arch: ArchSpec, *, num_classes: int, device: str = "cpu", batch_size: int = 1) -> float:
    """Return what ``peak_memory_mib`` reads of the network on the device; torch's random state is left as it was.

    On the CPU it is traced on shapes, so the weights are not made either.
    """
    if device == "cpu":
        with torch.device("meta"):
            network = build_network(arch, num_classes)
    else:
        with torch.random.fork_rng(devices=[]):
            network = build_network(arch, num_classes).to(device)
    return peak_memory_mib(network, arch.image_size, batch_size)


def check_trainings(config: StudyConfig, archs: Iterable[ArchSpec], data: ImageData) -> None:
    """Refuse a part of a study if training one of its networks cannot fit into memory; none is built.

    Raises:
        ConfigError: As ``check_memory``; the sentence has the network with the most activations.
    """
    num_classes, train, device = data.num_classes, config.train, config.torch_device
    batch_size = min(train.batch_size, len(data.train))  # as the training takes them
    for arch in sorted(archs, key=lambda arch: network_cost(arch, num_classes=num_classes).acts, reverse=True):
        floor_mib = training_floor_mib(arch, train, device, num_images=len(data.train), num_classes=num_classes)
        check_memory(arch, batch_size, floor_mib, device=device, num_workers=config.workers)


def check_memory(
    arch: ArchSpec, batch_size: int, floor_mib: float, *, device: str = "cpu", num_workers: int = 1
) -> None:
    """Refuse a training that cannot fit into the memory of its device, before anything is built.

    Args:
        arch: The network.
        batch_size: Images a step.
        floor_mib: What it takes at least, by ``memory_floor_mib``.
        device: Whose memory is asked for.
        num_workers: Trainings that share the memory.

    Raises:
        ConfigError: The least that it takes is more than there is; the sentence has both.
    """
    check_counts(num_workers=num_workers)
    needed, available = floor_mib * num_workers / 1024, available_gib(device)
    if needed > available:
        at_once = f" for {num_workers} at once" if num_workers > 1 else ""
        raise ConfigError(
            f"training {arch.num_blocks} blocks at {arch.image_size} px in batches of {batch_size} takes at least"
            f" {needed:,.1f} GiB of memory{at_once}, and {device} has {available:,.1f} GiB; make train.batch_size or"
            " the network smaller"
        )
