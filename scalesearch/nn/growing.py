"""Inherited weights: a larger network that begins as its trained smaller sibling.

Wider: a layer's leading channels are the sibling's. The others keep the weights that a fresh network draws; they listen
to all channels, but no old channel listens to them until training has moved the weights between, which begin at 0.
Deeper: a stage's first blocks are the sibling's. A further one has a residual, and its last BatchNorm begins at 0, so
that it adds nothing to its input. A larger image needs no change.

Paper: Chen et al. 2016 (Net2Net, arXiv 1511.05641). Departures: there new channels repeat old ones, whose weights are
shared out among the repeats. A residual block that adds 0 stands in place of a layer that is the identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.arch.spec import ArchSpec, StageSpec
from scalesearch.errors import ArchError
from scalesearch.nn.layers import Block, ConvBNAct, LayerStyle
from scalesearch.nn.network import Network

_MAY_GROW = ("num_blocks", "out_channels", "stem_channels", "head_channels")


@torch.no_grad()
def grow_weights(
    sibling: Mapping[str, Tensor], from_arch: ArchSpec, network: Network, to_arch: ArchSpec
) -> tuple[str, ...]:
    """Fill ``network`` in place from a trained smaller one; return the names of blocks that change the function.

    Where there are none, the network computes for any image what the sibling does, with BatchNorm in training mode as
    well. A block changes it that the sibling lacks and that has no residual, or is a plain convolution with ReLU (one
    that begins at 0 would stay there), and one that has a residual in one of the two networks alone, because its
    channels were rounded together or apart. These have the sibling's weights too, as far as it has any.

    Args:
        sibling: Its state dict, by the names of ``Network``.
        from_arch: Its architecture.
        network: A fresh network of ``to_arch`` with as many classes, built as the sibling was (padding, epsilon).
        to_arch: At least as deep and wide, and otherwise the same; the image size may be any.

    Raises:
        ArchError: ``to_arch`` is no larger sibling of ``from_arch``, or weights are not those of their architecture.

    Example:
        >>> from scalesearch.nn import build_network
        >>> small, large = (ArchSpec.from_blocks([f"ir_r{size}_k3_s2_e3_c{8 * size}"]) for size in (1, 2))
        >>> grow_weights(build_network(small, 10).state_dict(), small, build_network(large, 10), large)
        ()
    """
    _check_growth(from_arch, to_arch)
    own = network.state_dict()
    _check_weights("the sibling", sibling, from_arch, network)
    _check_weights("the network", own, to_arch, network)
    for name, tensor in own.items():
        if name in sibling:
            _inherit(tensor, sibling[name])
    for _, stage, position, block in _list_blocks(from_arch, network):
        if position >= stage.num_blocks and _can_add_nothing(block):
            _silence(block)
    return tuple(_changed_blocks(from_arch, network))


def can_grow(from_arch: ArchSpec, to_arch: ArchSpec) -> bool:
    """Say whether ``to_arch`` is a larger sibling of ``from_arch``, which ``grow_weights`` takes, and not it itself."""
    try:
        _check_growth(from_arch, to_arch)
    except ArchError:
        return False
    return from_arch != to_arch


def _inherit(tensor: Tensor, old: Tensor) -> None:
    """Put the weights of a smaller layer at the leading channels, with zeros for inputs that it does not know."""
    if tensor.ndim > 1:
        tensor[: len(old)] = 0
    tensor[tuple(slice(length) for length in old.shape)].copy_(old)


def _list_blocks(from_arch: ArchSpec, network: Network) -> Iterator[tuple[str, StageSpec, int, Block]]:
    """Yield each block of the network: its name, the sibling's stage, its position there and itself."""
    for index, (stage, blocks) in enumerate(zip(from_arch.stages, network.blocks.children(), strict=True)):
        for position, block in enumerate(blocks.children()):
            assert isinstance(block, Block), "a stage holds blocks"
            yield f"blocks.{index}.{position}", stage, position, block


def _changed_blocks(from_arch: ArchSpec, network: Network) -> Iterator[str]:
    in_channels = from_arch.stem_channels
    for name, stage, position, block in _list_blocks(from_arch, network):
        had_residual = stage.skip and in_channels == stage.out_channels and (position > 0 or stage.stride == 1)
        is_new = position >= stage.num_blocks
        if not (_can_add_nothing(block) if is_new else block.has_residual == had_residual):
            yield name
        in_channels = stage.out_channels


def _can_add_nothing(block: Block) -> bool:
    """Say whether a block may begin as the identity and still learn: ReLU has no gradient at 0."""
    return block.has_residual and not (isinstance(block, ConvBNAct) and isinstance(block.act, nn.ReLU))


def _silence(block: Block) -> None:
    """Make a block's transformation 0 until its last BatchNorm has learnt otherwise."""
    *_, last = (module for module in block.modules() if isinstance(module, nn.BatchNorm2d))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def _check_growth(from_arch: ArchSpec, to_arch: ArchSpec) -> None:
    num_stages = len(from_arch.stages)
    if len(to_arch.stages) != num_stages:
        raise ArchError(f"the larger network must have the sibling's {num_stages} stages, got {len(to_arch.stages)}")
    small, large = asdict(from_arch), asdict(to_arch)
    for index, stages in enumerate(zip(small.pop("stages"), large.pop("stages"), strict=True)):
        _check_fields(f"stage {index}: ", *stages)
    _check_fields("", small, large)


def _check_fields(where: str, small: dict[str, Any], large: dict[str, Any]) -> None:
    for name, value in small.items():
        if name in _MAY_GROW and large[name] < value:
            raise ArchError(f"{where}{name} must be at least the sibling's {value}, got {large[name]}")
        if name not in (*_MAY_GROW, "image_size") and large[name] != value:
            raise ArchError(f"{where}{name} must be the sibling's {value}, got {large[name]}")


def _check_weights(whose: str, weights: Mapping[str, Tensor], arch: ArchSpec, like: Network) -> None:
    """Refuse weights that no network of ``arch`` has, with the classes and image channels of ``like``."""
    with torch.device("meta"):
        expected = Network(arch, LayerStyle(), like.classifier.out_features, in_channels=like.conv_stem.in_channels)
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in wanted | got:
        if wanted.get(name) != got.get(name):
            shapes = (shape.get(name, "absent") for shape in (wanted, got))
            raise ArchError("{}: {} must be {}, got {}".format(whose, name, *shapes))
