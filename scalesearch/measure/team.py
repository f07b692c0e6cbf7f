"""Several processes that train one network together: data parallel, by torch.distributed.

Each takes its share of every batch; gradients are means over all of them, so a step is one of the whole batch. So are
the losses that are told and looked at. BatchNorm is the plain one: a process normalises by its own share, and after
each step the running statistics are the means over the processes, so that all hold the same network at any moment.
``torchrun`` begins the processes and says in the environment which one each is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scalesearch.data import Share
from scalesearch.measure.snapshot import SnapshotConfig, Snapshots

_PATIENCE = timedelta(hours=2)
"""For the others: the first process decodes the images, or reads latencies, while they wait."""


def num_processes() -> int:
    """Return how many processes torchrun began; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Team:
    """This process among those that train together; every method is to be called by all of them, in the same order.

    Args:
        device: ``cpu``, or the CUDA device of this process.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.share = Share(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.share.rank == 0

    def spread(self, network: nn.Module) -> nn.Module:
        """Return the network with gradients that are means over the processes; weights stay in ``network``."""
        devices = None if self.device == "cpu" else [torch.device(self.device)]
        return DistributedDataParallel(network, device_ids=devices)

    def average_buffers(self, network: nn.Module) -> None:
        """Make the running statistics of BatchNorm the means over the processes."""
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if buffers:
            together = self.mean(torch.cat([buffer.flatten() for buffer in buffers]))
            parts = torch.split(together, [buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [part.view_as(one) for part, one in zip(parts, buffers, strict=True)])

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes."""
        return self.total(values) / self.share.count

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the processes."""
        values = values.detach().clone()
        dist.all_reduce(values)
        return values

    def tell(self, value: Any = None) -> Any:  # noqa: ANN401 (whatever the first one tells)
        """Return what the first process has, in all of them."""
        told = [value]
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        return told[0]


class TeamSnapshots(Snapshots):
    """Snapshots that the first process of a team reads and writes: all of them go on from what it read.

    Args:
        config: Where and how often.
        identity: Names the training.
        team: The processes.
    """

    def __init__(self, config: SnapshotConfig, identity: str, team: Team) -> None:
        super().__init__(config, identity)
        self._team = team

    def load(self) -> dict[str, Any] | None:
        """Return the state that the first process found, None where there is none to go on from."""
        state: dict[str, Any] | None = self._team.tell(super().load() if self._team.is_first else None)
        return state

    def follow(self, state_dict: Callable[[], Mapping[str, Any]]) -> None:
        """Write the state where this is the first process and it is time."""
        if self._team.is_first:
            super().follow(state_dict)


@contextmanager
def open_team(device: str) -> Iterator[Team | None]:
    """Give the processes that torchrun began as a team; None where this one is alone.

    Args:
        device: ``cpu`` or ``cuda``; on CUDA each process of a machine takes a device of its own.
    """
    if num_processes() == 1:
        yield None
        return
    on_cuda = torch.device(device).type == "cuda"
    mine = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_cuda else "cpu"
    if on_cuda:
        torch.cuda.set_device(mine)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Team(mine)
    finally:
        dist.destroy_process_group()
