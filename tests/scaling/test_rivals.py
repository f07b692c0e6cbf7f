"""Rivals at equal macs: each strategy's nearest network, whichever way the base must be scaled."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch import ArchSpec, network_cost, published_arch
from scalesearch.arch.scaling import resize_arch
from scalesearch.errors import ConfigError
from scalesearch.scaling.rivals import STRATEGIES, nearest_published, rival_archs

B0 = published_arch("efficientnet-b0")
B0_MACS = network_cost(B0).macs
ODD = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_e1_c13", "ir_r3_k5_s2_e6_c21_se0.25_noskip"],
    stem_channels=33,
    head_channels=101,
    image_size=97,
    stem_stride=1,
)


def test_the_exponents_of_a_strategy_add_up_to_one() -> None:
    for exponents in STRATEGIES.values():
        assert sum(exponents) == pytest.approx(1)


def test_fast_scaling_grows_macs_by_s_and_activations_by_s_to_the_0_6() -> None:
    # plain convolutions in eights, where nothing is rounded: what the paper's formulas speak of
    depth, width, resolution = STRATEGIES["dWr"]
    s = 2.0**20
    base = ArchSpec.from_blocks(["cn_r16_k3_s1_c8"], stem_channels=8, head_channels=8, image_size=64, stem_stride=1)
    scaled = resize_arch(base, s**depth, s ** (width / 2), s ** (resolution / 2))
    assert (scaled.num_blocks, scaled.stem_channels, scaled.image_size) == (64, 2048, 128)
    stage, stage_before = ((network_cost(arch, num_classes=1)) for arch in (scaled, base))
    assert math.log(stage.macs / stage_before.macs, s) == pytest.approx(1, abs=0.01)
    assert math.log(stage.acts / stage_before.acts, s) == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 2.0, 8.0])
def test_a_rival_is_what_its_multipliers_give_and_its_figures_are_of_it(ratio: float) -> None:
    rivals = rival_archs(B0, ratio * B0_MACS, rounding="ceil")
    assert list(rivals) == ["depth", "width", "resolution", "dWr"]
    for rival in rivals.values():
        assert resize_arch(B0, rival.depth_mult, rival.width_mult, rival.resolution_mult) == rival.arch
        assert rival.cost == network_cost(rival.arch)
        assert rival.realised_ratio == rival.cost.macs / B0_MACS
        assert rival.miss == rival.cost.macs / (ratio * B0_MACS) - 1


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0, 8.0])
def test_a_strategy_moves_its_own_dimensions_only(ratio: float) -> None:
    rivals = rival_archs(B0, ratio * B0_MACS)
    assert (rivals["depth"].width_mult, rivals["depth"].resolution_mult) == (1, 1)
    assert (rivals["width"].depth_mult, rivals["width"].resolution_mult) == (1, 1)
    assert (rivals["resolution"].depth_mult, rivals["resolution"].width_mult) == (1, 1)
    fast = rivals["dWr"]
    s = fast.width_mult ** (2 / 0.8)
    assert (fast.depth_mult, fast.resolution_mult) == pytest.approx((s**0.1, s**0.05))
    assert all((mult > 1) == (ratio > 1) for mult in (fast.depth_mult, fast.width_mult, fast.resolution_mult))


@settings(max_examples=20)
@given(
    st.sampled_from([B0, ODD]),
    st.floats(-5, 5),
    st.sampled_from(["ceil", "round", "floor"]),
    st.integers(1, 1000),
)
def test_no_network_along_a_strategy_is_nearer(base: ArchSpec, octaves: float, rounding, num_classes: int) -> None:
    def macs(depth: float, width: float, resolution: float) -> int:
        return network_cost(
            resize_arch(base, depth, width, resolution, rounding=rounding), num_classes=num_classes
        ).macs

    target = 2**octaves * macs(1, 1, 1)
    rivals = rival_archs(base, target, num_classes=num_classes, rounding=rounding)
    for name, (depth, width, resolution) in STRATEGIES.items():
        growths = [2 ** (octaves + offset / 16) for offset in range(-48, 49)]
        seen = [macs(s**depth, s ** (width / 2), s ** (resolution / 2)) for s in [*growths, 1.0]]
        assert abs(rivals[name].cost.macs - target) <= min(abs(each - target) for each in seen)


@pytest.mark.parametrize("base", [B0, ODD])
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_base_itself_is_every_rival_at_its_own_macs(base: ArchSpec, name: str) -> None:
    rival = rival_archs(base, network_cost(base).macs)[name]
    assert (rival.arch, rival.miss, rival.depth_mult, rival.width_mult, rival.resolution_mult) == (base, 0, 1, 1, 1)


def test_depth_alone_cannot_go_below_one_block_a_stage_and_says_by_how_much_it_misses() -> None:
    rival = rival_archs(B0, B0_MACS / 100, rounding="ceil")["depth"]
    assert [stage.num_blocks for stage in rival.arch.stages] == [1] * 7
    assert rival.depth_mult == 0.25  # of stages of up to four blocks
    assert rival.miss > 10


def test_a_base_out_of_step_with_its_own_path_hides_no_network() -> None:
    # 9 and 13 channels are 16 and 16 on either side of a width of 1, and 8 and 16 just below: more than the base
    base = ArchSpec.from_blocks(
        ["cn_r1_k3_s1_c9", "cn_r2_k3_s1_c13"], stem_channels=16, head_channels=16, image_size=16
    )
    below = network_cost(resize_arch(base, width_mult=0.985)).macs
    assert network_cost(base).macs < below < network_cost(resize_arch(base, width_mult=0.999)).macs
    assert rival_archs(base, below)["width"].miss == 0


def test_rounded_up_fast_scaling_deepens_where_it_should_widen() -> None:
    up, nearest = (rival_archs(B0, 2 * B0_MACS, rounding=rounding)["dWr"] for rounding in ("ceil", "round"))
    assert (up.arch.num_blocks, nearest.arch.num_blocks) == (23, B0.num_blocks)
    assert up.width_mult < nearest.width_mult
    assert up.cost.acts > nearest.cost.acts
    assert nearest == rival_archs(B0, 2 * B0_MACS)["dWr"]


def test_multipliers_are_told_in_few_digits() -> None:
    rivals = rival_archs(B0, 2 * B0_MACS)
    assert len(f"{rivals['width'].width_mult!r}") <= 5
    assert len(f"{rivals['resolution'].resolution_mult!r}") <= 6
    assert len(f"{rivals['depth'].depth_mult!r}") <= 3


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_a_target_that_is_no_cost_is_refused(target: float) -> None:
    with pytest.raises(ConfigError, match=rf"^target_macs must be a finite number above 0, got {target}$"):
        rival_archs(B0, target)


def test_each_released_network_is_nearest_to_itself() -> None:
    for index in range(8):
        name = f"efficientnet-b{index}"
        assert nearest_published(network_cost(published_arch(name))) == (name, 1.0)


def test_nearest_is_by_ratio_not_by_difference() -> None:
    b0, b1 = (network_cost(published_arch(name)) for name in ("efficientnet-b0", "efficientnet-b1"))
    below_the_mean = math.sqrt(b0.macs * b1.macs) * 1.01  # nearer b0 by difference
    assert below_the_mean < (b0.macs + b1.macs) / 2
    name, ratio = nearest_published(b0._replace(macs=round(below_the_mean)))
    assert (name, round(ratio, 3)) == ("efficientnet-b1", round(below_the_mean / b1.macs, 3))
