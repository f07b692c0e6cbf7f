"""What a family consists of: exponents as a person writes them, members, and their rivals."""

from __future__ import annotations

import math

import pytest

from scalesearch.arch import ArchSpec, ScalingFactors, network_cost, published_arch, scale_arch
from scalesearch.arch.scaling import ScalingRule
from scalesearch.errors import ConfigError
from scalesearch.scaling.members import COMPOUND, compound_members, read_phis, with_rivals

B0 = published_arch("efficientnet-b0")
RULE = ScalingRule(ScalingFactors(1.2, 1.1, 1.15))


@pytest.mark.parametrize(
    ("text", "phis"),
    [
        ("0..4", [0.0, 1.0, 2.0, 3.0, 4.0]),
        ("-1..1", [-1.0, 0.0, 1.0]),
        ("0.5..2", [0.5, 1.5]),
        ("0, 1.5,2", [0.0, 1.5, 2.0]),
        ("0..1,1,3", [0.0, 1.0, 3.0]),
        (2, [2.0]),
        ([0, 0.5], [0.0, 0.5]),
    ],
)
def test_exponents_are_read_as_a_person_writes_them(text: object, phis: list[float]) -> None:
    assert read_phis(text) == phis


@pytest.mark.parametrize("text", ["", "0,x", "2..0", "0..", "0..99", [], [math.nan], 11, "1e1"])
def test_what_is_no_exponent_is_refused(text: object) -> None:
    with pytest.raises(ConfigError, match=r"^phi must be exponents in \[-10, 10\], as 0\.\.4 or 0,1,2\.5; got "):
        read_phis(text)


def test_a_member_is_the_base_scaled_by_the_rule_and_knows_its_product() -> None:
    zero, half = compound_members(B0, RULE, [0.0, 0.5], 1000)
    assert (zero.arch, zero.product, zero.label) == (B0, 1.0, "phi=0")
    assert half.arch == scale_arch(B0, RULE.factors, 0.5)
    assert half.product == pytest.approx(RULE.factors.product**0.5)
    assert half.cost == network_cost(half.arch)


def test_each_member_but_the_base_is_followed_by_rivals_at_its_macs() -> None:
    members = with_rivals(B0, compound_members(B0, RULE, [0.0, 1.0], 1000), 1000)
    assert [member.strategy for member in members] == [COMPOUND, COMPOUND, "depth", "width", "resolution", "dWr"]
    compound = members[1]
    for rival in members[2:]:
        assert rival.phi == 1.0
        assert rival.cost.macs == pytest.approx(compound.cost.macs, rel=0.2)
    by_name = {member.strategy: member for member in members[2:]}
    assert by_name["resolution"].arch.stages == B0.stages
    assert by_name["width"].arch.num_blocks == by_name["resolution"].arch.num_blocks == B0.num_blocks
    assert by_name["depth"].arch.image_size == by_name["width"].arch.image_size == B0.image_size
    assert by_name["width"].label == "phi=1 width"


def test_a_rival_that_rounds_to_the_base_is_left_out() -> None:
    shallow = ArchSpec.from_blocks(["ds_r1_k3_s1_c16", "ir_r1_k3_s2_e4_c40"], stem_channels=16, image_size=32)
    members = with_rivals(shallow, compound_members(shallow, RULE, [-1.0], 10), 10)
    assert [member.strategy for member in members] == [COMPOUND, "width", "resolution", "dWr"]  # depth cannot shrink
