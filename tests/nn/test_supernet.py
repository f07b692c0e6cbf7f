"""Weight sharing: what a network finds in the supernet is what it computes with, and nothing else is touched."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from scalesearch.arch.cost import network_cost
from scalesearch.arch.space import SearchSpace
from scalesearch.arch.spec import ArchSpec, StageSpec
from scalesearch.errors import SpaceError
from scalesearch.nn.elastic import largest_arch, lay_slots, place_stages, smallest_arch
from scalesearch.nn.supernet import Supernet

SPACES = ("mbconv_small", "nas_bench_macro", "mnasnet", "efficientnet_v2", "accel_nasbench")
TINY = SearchSpace.from_dict(
    "tiny",
    {
        "image_size": [16, 24],
        "stem_channels": [8, 16],
        "stem_stride": [1, 2],
        "head_channels": [16, 32],
        "activation": ["silu", "relu"],
        "stages": [
            {"block": "cn", "kernel_size": 3, "out_channels": [8, 16], "num_blocks": [0, 1]},
            {
                "block": ["ir", "er"],
                "kernel_size": [3, 5],
                "stride": [1, 2],
                "expand_ratio": [1, 2, 3],
                "out_channels": [8, 16],
                "num_blocks": [1, 2],
                "se_ratio": [0, 0.25],
                "skip": [True, False],
            },
            {"block": "cn", "kernel_size": 3, "out_channels": [8, 32], "num_blocks": [0, 1]},
        ],
    },
)


@cache
def supernet_of(name: str) -> Supernet:
    """Return one supernet a space, BatchNorm's parameters all different, so that a wrong part cannot hide."""
    torch.manual_seed(0)
    supernet = Supernet(TINY if name == "tiny" else SearchSpace.load(name), 10)
    for parameter in supernet.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return supernet.train()


def tiny_arch(*blocks: str, **fields: int | str) -> ArchSpec:
    network = {"image_size": 16, "stem_channels": 8, "stem_stride": 1, "head_channels": 16} | fields
    return ArchSpec.from_blocks(blocks, **network)


def every_network(space: SearchSpace) -> Iterator[ArchSpec]:
    for settings in space.network_settings():
        for stages in itertools.product(*space.stage_options()):
            yield ArchSpec(tuple(stage for stage in stages if stage), **settings)


@pytest.mark.parametrize("name", [*SPACES[:4], "tiny"])
def test_an_extracted_network_computes_what_the_supernet_does(name: str) -> None:
    supernet, rng = supernet_of(name), random.Random(0)
    images = torch.randn(4, 3, 48, 48)
    outputs = []
    for _ in range(10 if name == "tiny" else 2):
        arch = supernet.space.sample(rng)
        with torch.no_grad():
            outputs.append(supernet(images, arch))
            torch.testing.assert_close(supernet.extract(arch).train()(images), outputs[-1], rtol=1e-5, atol=1e-5)
    assert all((one - other).abs().max() > 1e-2 for one, other in itertools.pairwise(outputs))


@pytest.mark.parametrize("name", SPACES)
def test_every_network_finds_its_weights(name: str) -> None:
    space, rng = SearchSpace.load(name), random.Random(1)
    with torch.device("meta"):
        supernet = Supernet(space, 10)
    for arch in (largest_arch(space), smallest_arch(space), *(space.sample(rng) for _ in range(3))):
        params = sum(weight.numel() for weight in supernet.weights(arch).values())
        assert params == network_cost(arch, num_classes=10).params


def test_a_smaller_layer_is_the_leading_channels_and_the_middle_of_the_kernel() -> None:
    supernet = supernet_of("tiny")
    network = supernet.extract(tiny_arch("ir_r2_k3_s1_e2_c8_se0.25"))
    ours, theirs = supernet.blocks[1]["ir_s1"][1], network.blocks[0][1]
    assert ours.conv_dw.weight.shape == (48, 1, 5, 5)
    assert torch.equal(theirs.conv_pw.weight, ours.conv_pw.weight[:16, :8])
    assert torch.equal(theirs.conv_dw.weight, ours.conv_dw.weight[:16, :, 1:4, 1:4])
    assert torch.equal(theirs.bn2.weight, ours.bn2.weight[:16])
    assert torch.equal(theirs.se.conv_reduce.weight, ours.se.conv_reduce.weight[:2, :16])
    assert torch.equal(theirs.se.conv_expand.bias, ours.se.conv_expand.bias[:16])
    assert torch.equal(theirs.conv_pwl.weight, ours.conv_pwl.weight[:8, :16])
    assert torch.equal(network.conv_stem.weight, supernet.conv_stem.weight[:8])
    assert torch.equal(network.conv_head.weight, supernet.conv_head.weight[:16, :8])
    assert torch.equal(network.classifier.weight, supernet.classifier.weight[:, :16])


def test_a_gradient_touches_the_part_that_was_used_and_nothing_else() -> None:
    supernet = Supernet(TINY, 10)
    supernet(torch.randn(4, 3, 16, 16), tiny_arch("ir_r1_k3_s2_e2_c8")).square().sum().backward()
    grown = {name: weight.grad for name, weight in supernet.named_parameters() if weight.grad is not None}
    outside_stages = {"conv_stem", "bn1", "conv_head", "bn2", "classifier"}
    assert {name.split(".")[0] for name in grown} == outside_stages | {"blocks"}
    assert {name[:16] for name in grown if name.startswith("blocks")} == {"blocks.1.ir_s2.0"}
    depthwise = grown["blocks.1.ir_s2.0.conv_dw.weight"]
    used = depthwise[:16, :, 1:4, 1:4]
    assert used.abs().min() > 0
    assert torch.count_nonzero(depthwise) == torch.count_nonzero(used)
    assert not any(".se." in name for name in grown)


def storages(arch: ArchSpec) -> set[int]:
    """Return where the weights of the stages of ``arch`` begin, but for squeeze-and-excitation."""
    weights = supernet_of("tiny").weights(arch).items()
    return {w.untyped_storage().data_ptr() for name, w in weights if name.startswith("blocks") and ".se." not in name}


@pytest.mark.parametrize(
    "other",
    [
        tiny_arch("ir_r1_k3_s1_e2_c8"),
        tiny_arch("ir_r1_k5_s1_e3_c16_se0.25"),
        tiny_arch("ir_r1_k5_s1_e3_c8_noskip"),
        tiny_arch("ir_r1_k5_s1_e3_c8", stem_channels=16, head_channels=32),
        tiny_arch("ir_r1_k5_s1_e3_c8", image_size=24, stem_stride=2, activation="relu"),
    ],
)
def test_networks_that_differ_in_size_share_their_weights(other: ArchSpec) -> None:
    assert storages(tiny_arch("ir_r1_k5_s1_e3_c8")) == storages(other)


def test_a_deeper_stage_has_the_blocks_of_a_shallower_one_and_more() -> None:
    assert storages(tiny_arch("ir_r1_k5_s1_e3_c8")) < storages(tiny_arch("ir_r2_k5_s1_e3_c8"))


@pytest.mark.parametrize("other", ["er_r1_k5_s1_e3_c8", "ir_r1_k5_s2_e3_c8", "ds_r1_k5_s1_c8"])
def test_blocks_of_another_type_or_stride_share_nothing(other: str) -> None:
    assert not storages(tiny_arch("ir_r1_k5_s1_e3_c8")) & storages(tiny_arch(other))


def test_a_stage_that_is_left_out_leaves_its_weights_to_nobody() -> None:
    slots = lay_slots(TINY)
    first, middle, last = map(
        StageSpec.from_block, ("cn_r1_k3_s1_c16_skip", "er_r1_k3_s1_e2_c8", "cn_r1_k3_s1_c32_skip")
    )
    assert place_stages(slots, (middle,)) == (1,)
    assert place_stages(slots, (middle, last)) == (1, 2)
    assert place_stages(slots, (first, middle)) == (0, 1)
    assert place_stages(slots, (last, middle)) is None


def test_of_two_equal_slots_the_earlier_one_is_taken() -> None:
    slots = lay_slots(SearchSpace.load("nas_bench_macro"))
    arch = supernet_of("nas_bench_macro").space.sample(random.Random(0))
    block = StageSpec.from_block("ir_r1_k3_s1_e3_c128")
    first, *_ = (stage for stage in arch.stages if stage.out_channels == 64)
    middle, last = StageSpec.from_block("cn_r1_k1_s2_c128"), StageSpec.from_block("cn_r1_k1_s2_c256")
    assert place_stages(slots, (first, middle, block, last)) == (0, 2, 3, 5)


@pytest.mark.parametrize(
    "space",
    [
        replace(TINY, network={**TINY.network, "activation": ("silu",), "stem_stride": (1,), "head_channels": (16,)}),
        SearchSpace.load("nas_bench_macro"),
    ],
    ids=lambda space: space.name,
)
def test_largest_and_smallest_are_those_found_by_counting_all(space: SearchSpace) -> None:
    macs = [network_cost(arch).macs for arch in every_network(space)]
    assert network_cost(largest_arch(space)).macs == max(macs)
    assert network_cost(smallest_arch(space)).macs == min(macs)


@pytest.mark.parametrize("name", SPACES)
def test_every_network_lies_between_smallest_and_largest(name: str) -> None:
    space, rng = SearchSpace.load(name), random.Random(2)
    smallest, largest = smallest_arch(space), largest_arch(space)
    assert space.contains(smallest)
    assert space.contains(largest)
    least, most = network_cost(smallest).macs, network_cost(largest).macs
    assert all(least <= network_cost(space.sample(rng)).macs <= most for _ in range(100))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"head_channels": 24}, r"^search space tiny: head_channels must be one of \[16, 32\], got 24$"),
        ({"image_size": 32}, r"^search space tiny: image_size must be one of \[16, 24\], got 32$"),
        (
            {"stages": (StageSpec("ds", 7, 1, 1.0, 8),)},
            "^search space tiny does not hold the network ds_r1_k7_s1_e1_c8$",
        ),
    ],
)
def test_a_network_the_space_does_not_hold_is_refused(changes: dict[str, object], told: str) -> None:
    arch = replace(tiny_arch("ds_r1_k3_s1_c8"), **changes)
    for use in (supernet_of("tiny").extract, lambda arch: supernet_of("tiny")(torch.randn(2, 3, 16, 16), arch)):
        with pytest.raises(SpaceError, match=told):
            use(arch)


def test_an_extracted_network_is_a_copy_and_draws_nothing_from_the_callers_generator() -> None:
    supernet, arch = supernet_of("tiny"), tiny_arch("ds_r1_k3_s1_c8")
    before = torch.get_rng_state()
    network = supernet.extract(arch)
    assert torch.equal(torch.get_rng_state(), before)
    kept = supernet.conv_stem.weight.clone()
    nn.init.zeros_(network.conv_stem.weight)
    assert torch.equal(supernet.conv_stem.weight, kept)


def test_dropout_is_drawn_in_training_and_not_in_evaluation() -> None:
    supernet, arch = Supernet(TINY, 10, dropout=0.5), tiny_arch("ds_r1_k3_s1_c8")
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(supernet(images, arch), supernet(images, arch))
    supernet.eval()
    assert torch.equal(supernet(images, arch), supernet(images, arch))
