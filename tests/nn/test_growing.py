"""Inherited weights: the larger network computes what its sibling did, and learns on from there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from scalesearch.arch import ArchSpec, StageSpec
from scalesearch.arch.published import published_arch
from scalesearch.arch.scaling import EFFICIENTNET_FACTORS, resize_arch, scale_arch
from scalesearch.errors import ArchError
from scalesearch.nn import Network, build_network
from scalesearch.nn.growing import grow_weights

SMALL = ArchSpec.from_blocks(
    [
        "cn_r1_k3_s1_c8_skip",
        "ds_r1_k3_s1_c16_se0.25",
        "er_r2_k3_s2_e3_c24_se0.25",
        "ir_r2_k5_s2_e3_c32_se0.25",
        "ir_r1_k3_s1_e2_c48",
    ],
    stem_channels=8,
    head_channels=64,
    image_size=16,
    stem_stride=1,
)
WIDE, DEEP = resize_arch(SMALL, width_mult=2.0), resize_arch(SMALL, depth_mult=2.0)
NUM_CLASSES = 5
# The last BatchNorm of each block that SMALL lacks at twice its depth.
SILENCED = {
    f"blocks.{at}.weight" for at in ("0.1.bn1", "1.1.bn2", "2.2.bn2", "2.3.bn2", "3.2.bn3", "3.3.bn3", "4.1.bn3")
}
SCALINGS = {
    "wider": (1.0, 2.0),
    "a little wider": (1.0, 1.3),
    "much wider": (1.0, 3.7),
    "deeper": (2.0, 1.0),
    "both": (1.5, 1.5),
    "as it is": (1.0, 1.0),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def trained(arch: ArchSpec, **kwargs: object) -> Network:
    """Return a network as training may leave it: every vector has values of its own, so that a wrong one shows."""
    network = build_network(arch, NUM_CLASSES, **kwargs)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")):
            nn.init.uniform_(tensor, 0.5, 1.5)
        elif tensor.ndim == 1:
            nn.init.normal_(tensor, std=0.2)
    return network


def grow(sibling: Network, from_arch: ArchSpec, to_arch: ArchSpec) -> tuple[Network, tuple[str, ...]]:
    network = build_network(to_arch, NUM_CLASSES)
    return network, grow_weights(sibling.state_dict(), from_arch, network, to_arch)


def assert_same_function(one: nn.Module, other: nn.Module, size: int) -> None:
    images = torch.randn(4, 3, size, size, dtype=next(one.parameters()).dtype)
    with torch.no_grad():
        expected, outputs = one(images), other(images)
    assert expected.std() > 1e-3  # not equal because both are 0
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_grown_network_computes_what_its_sibling_does(scaling: str, training: bool) -> None:
    sibling, large = trained(SMALL).train(training), resize_arch(SMALL, *SCALINGS[scaling])
    network, changed = grow(sibling, SMALL, large)
    assert changed == ()
    assert_same_function(sibling, network.train(training), 16)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_a_published_network_grows_by_the_papers_rule(padding: str) -> None:
    b0 = published_arch("efficientnet-b0")
    b1 = scale_arch(b0, EFFICIENTNET_FACTORS, phi=2)
    sibling = trained(b0, padding=padding).double().eval()
    network = build_network(b1, NUM_CLASSES, padding=padding).double().eval()
    assert grow_weights(sibling.state_dict(), b0, network, b1) == ()
    assert_same_function(sibling, network, 64)


@st.composite
def archs(draw: st.DrawFn) -> ArchSpec:
    """Draw small networks whose further blocks can add nothing, with widths that scaling keeps apart."""
    activation = draw(st.sampled_from(["silu", "relu", "hardswish"]))
    stages = []
    for _ in range(draw(st.integers(1, 3))):
        block = draw(st.sampled_from(["ds", "ir", "er", *(["cn"] if activation != "relu" else [])]))
        stages.append(
            StageSpec(
                block,
                kernel_size=draw(st.sampled_from([1, 3, 5])),
                stride=draw(st.integers(1, 2)),
                expand_ratio=draw(st.sampled_from([1, 2.5, 4])) if block in ("ir", "er") else 1.0,
                out_channels=8 * draw(st.integers(1, 3)),
                num_blocks=draw(st.integers(1, 2)),
                se_ratio=0.0 if block == "cn" else draw(st.sampled_from([0, 0.25, 1])),
            )
        )
    return ArchSpec(
        tuple(stages),
        stem_channels=8 * draw(st.integers(1, 2)),
        head_channels=draw(st.integers(1, 40)),
        stem_stride=draw(st.integers(1, 2)),
        activation=activation,
    )


@settings(max_examples=60)
@given(archs(), st.floats(1, 3), st.floats(1, 3))
def test_any_network_keeps_its_function_at_any_scaling(arch: ArchSpec, depth_mult: float, width_mult: float) -> None:
    large = resize_arch(arch, depth_mult, width_mult)
    sibling = trained(arch).double().eval()
    network = build_network(large, NUM_CLASSES).double().eval()
    assert grow_weights(sibling.state_dict(), arch, network, large) == ()
    assert_same_function(sibling, network, 9)


def test_leading_channels_are_the_siblings_and_do_not_listen_to_further_ones() -> None:
    sibling, large = trained(SMALL).state_dict(), resize_arch(SMALL, 2.0, 1.5)
    network = build_network(large, NUM_CLASSES)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grow_weights(sibling, SMALL, network, large)
    grown = network.state_dict()
    for name, old in sibling.items():
        leading = tuple(slice(length) for length in old.shape)
        assert torch.equal(grown[name][leading], old), name
        if old.ndim > 1:
            assert torch.count_nonzero(grown[name][: len(old), old.shape[1] :]) == 0, name
    for name, tensor in grown.items():
        num_old = len(sibling[name]) if name in sibling and tensor.ndim else 0
        if tensor.ndim and f"{name.rpartition('.')[0]}.weight" not in SILENCED:
            assert torch.equal(tensor[num_old:], fresh[name][num_old:]), name


def take_steps(network: Network, num_steps: int) -> dict[str, Tensor]:
    """Train on noise and return the gradients of the last step."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    images, targets = torch.randn(16, 3, 16, 16), torch.arange(16) % NUM_CLASSES
    for _ in range(num_steps):
        optimizer.zero_grad()
        F.cross_entropy(network.train()(images), targets).backward()
        optimizer.step()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("activation", ["silu", "relu", "hardswish"])
def test_further_blocks_learn(activation: str) -> None:
    small = replace(SMALL, stages=SMALL.stages[1:], activation=activation)
    network, _ = grow(trained(small), small, resize_arch(small, depth_mult=2.0))
    block = network.blocks[0][1]
    assert torch.count_nonzero(block.bn2.weight) == 0
    gradients = take_steps(network, 3)
    further = {name: gradient for name, gradient in gradients.items() if name.startswith("blocks.0.1.")}
    assert len(further) == len(list(block.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in further.values())
    assert block.bn2.weight.abs().min() > 0


def test_further_channels_learn_and_are_listened_to() -> None:
    network, _ = grow(trained(SMALL), SMALL, WIDE)
    stem, ears = network.conv_stem.weight, network.blocks[4][0].conv_pw.weight[:64, 32:]
    assert torch.count_nonzero(ears) == 0
    assert take_steps(network, 1)["conv_stem.weight"][8:].abs().max() == 0
    gradients = take_steps(network, 1)
    assert gradients["conv_stem.weight"].flatten(1).abs().amax(1).min() > 0
    assert torch.count_nonzero(ears) > 0.99 * ears.numel()  # a step may land on 0
    assert len({tuple(row) for row in stem.flatten(1).tolist()}) == 16


def test_a_block_that_cannot_add_nothing_is_told() -> None:
    small = ArchSpec.from_blocks(
        ["cn_r1_k3_s1_c8", "ir_r1_k3_s1_e2_c16_noskip", "cn_r1_k3_s1_c24_skip"], activation="relu"
    )
    network, changed = grow(trained(small), small, resize_arch(small, depth_mult=2.0))
    assert changed == ("blocks.0.1", "blocks.1.1", "blocks.2.1")
    assert network.blocks[1][1].bn3.weight.min() == 1


@pytest.mark.parametrize(("narrow", "wide"), [(12, 16), (16, 24)])
def test_a_residual_that_only_one_network_has_is_told(narrow: int, wide: int) -> None:
    small = ArchSpec.from_blocks(["ir_r2_k3_s1_e2_c16"], stem_channels=narrow)
    large = replace(small, stem_channels=wide, stages=(replace(small.stages[0], out_channels=16),))
    assert grow(trained(small), small, large)[1] == ("blocks.0.0",)


def with_stage(**changes: object) -> ArchSpec:
    """Return ``SMALL`` with another stage 3."""
    return replace(SMALL, stages=(*SMALL.stages[:3], replace(SMALL.stages[3], **changes), SMALL.stages[4]))


@pytest.mark.parametrize(
    ("large", "told"),
    [
        (replace(SMALL, stages=SMALL.stages[:4]), "^the larger network must have the sibling's 5 stages, got 4$"),
        (with_stage(kernel_size=3), "^stage 3: kernel_size must be the sibling's 5, got 3$"),
        (with_stage(block="er"), "^stage 3: block must be the sibling's ir, got er$"),
        (with_stage(stride=1), "^stage 3: stride must be the sibling's 2, got 1$"),
        (with_stage(se_ratio=0.0), r"^stage 3: se_ratio must be the sibling's 0\.25, got 0\.0$"),
        (with_stage(skip=False), "^stage 3: skip must be the sibling's True, got False$"),
        (with_stage(out_channels=24), "^stage 3: out_channels must be at least the sibling's 32, got 24$"),
        (with_stage(num_blocks=1), "^stage 3: num_blocks must be at least the sibling's 2, got 1$"),
        (replace(SMALL, head_channels=32), "^head_channels must be at least the sibling's 64, got 32$"),
        (replace(SMALL, stem_stride=2), "^stem_stride must be the sibling's 1, got 2$"),
        (replace(SMALL, activation="relu"), "^activation must be the sibling's silu, got relu$"),
    ],
)
def test_a_network_that_is_no_larger_sibling_is_refused(large: ArchSpec, told: str) -> None:
    with pytest.raises(ArchError, match=told):
        grow(trained(SMALL), SMALL, large)


@pytest.mark.parametrize(
    ("weights_of", "built", "num_classes", "told"),
    [
        (WIDE, WIDE, 5, r"^the sibling: conv_stem\.weight must be \(8, 3, 3, 3\), got \(16, 3, 3, 3\)$"),
        (SMALL, SMALL, 5, r"^the network: conv_stem\.weight must be \(16, 3, 3, 3\), got \(8, 3, 3, 3\)$"),
        (SMALL, WIDE, 7, r"^the sibling: classifier\.weight must be \(7, 64\), got \(5, 64\)$"),
        (DEEP, WIDE, 5, r"^the sibling: blocks\.0\.1\.conv\.weight must be absent, got \(8, 8, 3, 3\)$"),
        (None, WIDE, 5, r"^the sibling: conv_stem\.weight must be \(8, 3, 3, 3\), got absent$"),
    ],
)
def test_weights_of_another_network_are_refused(
    weights_of: ArchSpec | None, built: ArchSpec, num_classes: int, told: str
) -> None:
    sibling = build_network(weights_of, 5).state_dict() if weights_of else {}
    with pytest.raises(ArchError, match=told):
        grow_weights(sibling, SMALL, build_network(built, num_classes), WIDE)


def test_the_sibling_stays_as_it_is_and_one_seed_gives_one_network() -> None:
    sibling, large = trained(SMALL), resize_arch(SMALL, 1.5, 1.5)
    before = {name: tensor.clone() for name, tensor in sibling.state_dict().items()}
    grown = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        grown.append(grow(sibling, SMALL, large)[0].state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in sibling.state_dict().items())
    assert all(torch.equal(tensor, grown[1][name]) for name, tensor in grown[0].items())
    assert not all(torch.equal(tensor, grown[2][name]) for name, tensor in grown[0].items())
