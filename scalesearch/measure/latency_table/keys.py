"""Which blocks there are to measure: those of one network, and all that any network of a search space can contain.

A block's latency is taken to depend on its own shape and on what enters it, not on its neighbours (FBNet, Wu et al.
2019, arXiv 1812.03443, section 3.2; ProxylessNAS, Cai et al. 2019, arXiv 1812.00332, section 3.3). So the first block
of a stage has as many entries as there are widths that can come before it, and all its repeats share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from scalesearch.arch.cost import out_size
from scalesearch.arch.space import SearchSpace
from scalesearch.arch.spec import Activation, ArchSpec, BlockType, StageSpec

Part = Literal["stem", "head"] | BlockType
State = tuple[int, int]  # channels, and pixels a side, of what a stage takes or gives

_ANY_STAGE = (StageSpec("cn", 1, 1, 1.0, 1),)


class BlockKey(NamedTuple):
    """What a block's latency depends on, besides the device and the batch.

    Attributes:
        part: A block type; or ``stem``; or ``head``, which is the 1x1 convolution, the pooling and the classifier.
        in_channels: Channels of its input.
        out_channels: Channels of its output; of the head's convolution.
        kernel_size: Side of its spatial convolution.
        stride: 1 for all but the first block of a stage.
        expand_ratio: As in ``StageSpec``; 1 for stem and head.
        se_ratio: As in ``StageSpec``; 0 for stem and head.
        residual: Whether it adds its input to its output.
        in_size: Pixels a side of its input.
        activation: As in ``ArchSpec``.
    """

    part: Part
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    expand_ratio: float
    se_ratio: float
    residual: bool
    in_size: int
    activation: Activation

    def describe(self) -> str:
        """Return it in the words of an error's sentence.

        Example:
            >>> head_key(64, 256, 4, "silu").describe()
            'head k1 s1 e1 c256 se0 on 64 channels of 4 px, silu'
        """
        residual = " with residual" if self.residual else ""
        return (
            f"{self.part} k{self.kernel_size} s{self.stride} e{self.expand_ratio:g} c{self.out_channels}"
            f" se{self.se_ratio:g}{residual} on {self.in_channels} channels of {self.in_size} px, {self.activation}"
        )


def stem_key(arch: ArchSpec) -> BlockKey:
    """Return the entry of the stem; images have 3 channels."""
    return BlockKey(
        "stem", 3, arch.stem_channels, 3, arch.stem_stride, 1.0, 0.0, False, arch.image_size, arch.activation
    )


def head_key(in_channels: int, head_channels: int, in_size: int, activation: Activation) -> BlockKey:
    """Return the entry of head convolution, pooling and classifier."""
    return BlockKey("head", in_channels, head_channels, 1, 1, 1.0, 0.0, False, in_size, activation)


def stage_keys(stage: StageSpec, in_channels: int, in_size: int, activation: Activation) -> Iterator[BlockKey]:
    """Yield the entries of a stage's blocks, in the order of the data: ``num_blocks`` of them."""
    channels, size = in_channels, in_size
    for position in range(stage.num_blocks):
        stride = stage.stride if position == 0 else 1
        residual = stage.skip and stride == 1 and channels == stage.out_channels
        shape = (stage.kernel_size, stride, stage.expand_ratio, stage.se_ratio)
        yield BlockKey(stage.block, channels, stage.out_channels, *shape, residual, size, activation)
        channels, size = stage.out_channels, out_size(size, stride)


def arch_keys(arch: ArchSpec) -> Iterator[BlockKey]:
    """Yield the entries of a network in the order of the data, from stem to head.

    Example:
        >>> arch = ArchSpec.from_blocks(["cn_r1_k3_s1_e1_c8", "ir_r2_k3_s2_e3_c16"], stem_channels=8, image_size=32)
        >>> [(key.part, key.in_channels, key.in_size) for key in arch_keys(arch)]
        [('stem', 3, 32), ('cn', 8, 16), ('ir', 8, 16), ('ir', 16, 8), ('head', 16, 8)]
    """
    yield stem_key(arch)
    channels, size = arch.stem_channels, out_size(arch.image_size, arch.stem_stride)
    for stage in arch.stages:
        yield from stage_keys(stage, channels, size, arch.activation)
        channels, size = stage.out_channels, out_size(size, stage.stride)
    yield head_key(channels, arch.head_channels, size, arch.activation)


def table_keys(space: SearchSpace) -> tuple[BlockKey, ...]:
    """Return every different block that some network of the space contains, in the order of the data.

    Example:
        >>> len(table_keys(SearchSpace.load("nas_bench_macro")))
        17
    """
    keys: dict[BlockKey, None] = {}
    for network in space.network_settings():
        keys |= dict.fromkeys(_frame_keys(space, ArchSpec(_ANY_STAGE, **network)))
    return tuple(keys)


def _frame_keys(space: SearchSpace, frame: ArchSpec) -> Iterator[BlockKey]:
    """Yield the blocks of all networks with the stem, head and image of ``frame``."""
    yield stem_key(frame)
    states = {(frame.stem_channels, out_size(frame.image_size, frame.stem_stride))}
    for options in space.stage_options():
        for channels, size in sorted(states):
            for stage in filter(None, options):
                yield from stage_keys(stage, channels, size, frame.activation)
        states = set(_following(states, options))
    for channels, size in sorted(states):
        yield head_key(channels, frame.head_channels, size, frame.activation)


def _following(states: Iterable[State], options: Iterable[StageSpec | None]) -> Iterator[State]:
    """Yield what a stage gives for what it takes; a stage that is left out gives what it takes."""
    options = tuple(options)
    for channels, size in states:
        for stage in options:
            yield (stage.out_channels, out_size(size, stage.stride)) if stage else (channels, size)
