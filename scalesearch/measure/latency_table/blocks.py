"""One block by itself in torch, and its time: built and timed as in a whole network."""

from __future__ import annotations

import torch
from torch import nn

from scalesearch.arch.spec import ArchSpec, StageSpec
from scalesearch.measure.latency_table.keys import BlockKey
from scalesearch.measure.latency_table.table import Conditions, Reading
from scalesearch.measure.profiling import profile_latency
from scalesearch.nn import Network, build_network
from scalesearch.nn.layers import BLOCKS, LayerStyle


class _Stem(nn.Module):
    """A network's stem alone; images (N, 3, H, W) in."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.conv_stem, self.bn1, self.act = network.conv_stem, network.bn1, network.act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.act(self.bn1(self.conv_stem(x)))
        return out


class _Head(nn.Module):
    """A network's head, pooling and classifier alone; features (N, C, H, W) in, logits (N, num_classes) out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.conv_head, self.bn2, self.act = network.conv_head, network.bn2, network.act
        self.global_pool, self.dropout, self.classifier = network.global_pool, network.dropout, network.classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.bn2(self.conv_head(x)))
        out: torch.Tensor = self.classifier(self.dropout(self.global_pool(x).flatten(1)))
        return out


def build_block(key: BlockKey, num_classes: int) -> nn.Module:
    """Build the block with fresh weights; the global random generators are left as they were.

    Args:
        key: The block.
        num_classes: Outputs of the classifier; only the head has one.
    """
    with torch.random.fork_rng(devices=[]):
        if key.part == "stem":
            return _Stem(_build_around(key.out_channels, key.out_channels, key, num_classes))
        if key.part == "head":
            return _Head(_build_around(key.in_channels, key.out_channels, key, num_classes))
        shape = (key.kernel_size, key.stride, key.expand_ratio, key.out_channels)
        stage = StageSpec(key.part, *shape, se_ratio=key.se_ratio, skip=key.residual)
        return BLOCKS[key.part](stage, key.in_channels, key.stride, LayerStyle(key.activation))


def _build_around(channels: int, head_channels: int, key: BlockKey, num_classes: int) -> Network:
    """Build a network around the stem, or head, of ``key``, so that what those are made of is said in one place."""
    stage = StageSpec("ds", 1, 1, 1.0, channels)
    frame = ArchSpec((stage,), channels, head_channels, key.in_size, key.stride, key.activation)
    return build_network(frame, num_classes)


def time_block(key: BlockKey, conditions: Conditions, *, repeats: int, warmup: int) -> Reading:
    """Build a block and time passes of it alone, exactly as ``profile_latency`` times whole networks."""
    return _time(build_block(key, conditions.num_classes), key.in_size, conditions, repeats, warmup)


def time_network(arch: ArchSpec, conditions: Conditions, *, repeats: int, warmup: int) -> Reading:
    """Build a network with random weights and time passes of it."""
    with torch.random.fork_rng(devices=[]):
        network = build_network(arch, conditions.num_classes)
    return _time(network, arch.image_size, conditions, repeats, warmup)


def _time(module: nn.Module, size: int, conditions: Conditions, repeats: int, warmup: int) -> Reading:
    latency = profile_latency(
        module,
        size,
        batch_size=conditions.batch_size,
        warmup=warmup,
        repeats=repeats,
        device=conditions.device,
        num_threads=conditions.num_threads,
    )
    return Reading(latency.p50_ms, latency.p90_ms)
