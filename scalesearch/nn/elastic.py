"""What the networks of a search space have in common: who is largest, who is smallest, where a stage's weights lie.

A slot is a stage of the space. Networks that leave one out have fewer stages than there are slots, so a network's
stages are laid onto the slots before weights are looked up. Where they fit in two ways (a slot left out between equal
neighbours) the earlier slot is taken, so that one architecture always has the same weights.

Largest and smallest are meant in ``macs`` and exact: the cost of a stage depends on the network before it only through
the channels and the size that enter, so the best way to each such pair is kept from slot to slot (dynamic programming).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scalesearch.arch.cost import network_cost, out_size, stage_cost
from scalesearch.arch.space import SearchSpace
from scalesearch.arch.spec import ArchSpec, StageSpec

# Stands for all stages where only the fields outside them count.
_ANY_STAGES = (StageSpec("cn", 1, 1, 1.0, 8),)

Path = tuple[int, tuple[StageSpec, ...]]
"""Macs of the stages so far, with a sign, and the stages."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A stage of a space.

    Attributes:
        options: What it may be; None where it may be left out.
        in_channels: The most channels that may enter.
    """

    options: frozenset[StageSpec | None]
    in_channels: int

    @property
    def out_channels(self) -> int:
        """The most channels that may leave."""
        return max(option.out_channels if option else self.in_channels for option in self.options)

    def largest_stages(self) -> dict[str, StageSpec]:
        """Return, for each kind of block, the stage that is as large in every field as any of that kind."""
        by_kind: dict[str, StageSpec] = {}
        for option in self.options:
            if option is not None:
                kind = block_kind(option)
                by_kind[kind] = _merge(by_kind.get(kind, option), option)
        return dict(sorted(by_kind.items()))


def block_kind(stage: StageSpec) -> str:
    """Return the name of what stages must agree in to share weights: the block and the stride.

    Example:
        >>> block_kind(StageSpec.from_block("ir_r2_k5_s2_e6_c40_se0.25"))
        'ir_s2'
    """
    return f"{stage.block}_s{stage.stride}"


def lay_slots(space: SearchSpace) -> tuple[Slot, ...]:
    """Return the slots of a space, first to last."""
    slots: list[Slot] = []
    channels = max(frame.stem_channels for frame in list_frames(space))
    for options in space.stage_options():
        slots.append(Slot(frozenset(options), channels))
        channels = slots[-1].out_channels
    return tuple(slots)


def list_frames(space: SearchSpace) -> tuple[ArchSpec, ...]:
    """Return one architecture for each setting of the fields outside the stages; its stages mean nothing."""
    return tuple(ArchSpec(_ANY_STAGES, **settings) for settings in space.network_settings())


def frame_of(arch: ArchSpec) -> ArchSpec:
    """Return what ``list_frames`` holds for the fields of ``arch`` outside its stages."""
    return replace(arch, stages=_ANY_STAGES)


def place_stages(slots: Sequence[Slot], stages: Sequence[StageSpec]) -> tuple[int, ...] | None:
    """Return the index of each stage's slot, None where the stages do not fit; see the file's head for ties."""
    if not slots:
        return None if stages else ()
    if stages and stages[0] in slots[0].options:
        rest = place_stages(slots[1:], stages[1:])
        if rest is not None:
            return (0, *(index + 1 for index in rest))
    rest = place_stages(slots[1:], stages) if None in slots[0].options else None
    return None if rest is None else tuple(index + 1 for index in rest)


def largest_arch(space: SearchSpace) -> ArchSpec:
    """Return the network of a space with the most macs at its own image size; of equals, the first choices.

    Example:
        >>> largest_arch(SearchSpace.load("nas_bench_macro")).stages[-1].to_block()
        'ir_r1_k5_s1_e6_c256'
    """
    return max(_extremes(space, sign=1), key=lambda arch: network_cost(arch).macs)


def smallest_arch(space: SearchSpace) -> ArchSpec:
    """Return the network of a space with the fewest macs at its own image size; of equals, the first choices.

    Example:
        >>> [stage.to_block() for stage in smallest_arch(SearchSpace.load("nas_bench_macro")).stages]
        ['cn_r1_k1_s2_e1_c64', 'cn_r1_k1_s2_e1_c128', 'cn_r1_k1_s2_e1_c256']
    """
    return min(_extremes(space, sign=-1), key=lambda arch: network_cost(arch).macs)


def _extremes(space: SearchSpace, sign: int) -> Iterable[ArchSpec]:
    """Yield, for each setting outside the stages and each width that leaves them, the extreme network."""
    options = space.stage_options()
    for settings in space.network_settings():
        frame = ArchSpec(_ANY_STAGES, **settings)
        paths: dict[tuple[int, int], Path] = {
            (frame.stem_channels, out_size(frame.image_size, frame.stem_stride)): (0, ())
        }
        for slot in options:
            paths = _extend(paths, slot, sign)
        yield from (replace(frame, stages=stages) for _, stages in paths.values() if stages)


def _extend(paths: dict[tuple[int, int], Path], options: list[StageSpec | None], sign: int) -> dict[Any, Path]:
    """Return the best path to each (channels, size) that may leave a slot, from those that may enter it."""
    longer: dict[tuple[int, int], Path] = {}
    for (channels, size), (macs, stages) in paths.items():
        for option in options:
            key, path = (channels, size), (macs, stages)
            if option is not None:
                key = option.out_channels, out_size(size, option.stride)
                path = macs + sign * stage_cost(option, channels, size).macs, (*stages, option)
            if key not in longer or path[0] > longer[key][0]:
                longer[key] = path
    return longer


def _merge(one: StageSpec, other: StageSpec) -> StageSpec:
    sizes = ("kernel_size", "expand_ratio", "out_channels", "num_blocks", "se_ratio")
    return replace(one, **{name: max(getattr(one, name), getattr(other, name)) for name in sizes})
