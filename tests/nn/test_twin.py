"""The twin test: the closed form is what is counted on the built network, on every space and every published network.

Counted apart from scalesearch: multiply-adds by PyTorch's FlopCounterMode, parameters by their elements, activations by
hooks on every convolution. Everything runs on the meta device, on shapes alone.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scalesearch.arch.cost import Cost, network_cost, stage_costs
from scalesearch.arch.published import EFFICIENTNETS, published_arch
from scalesearch.arch.scaling import ScalingFactors, ScalingRule
from scalesearch.arch.space import SearchSpace
from scalesearch.arch.spec import ArchSpec
from scalesearch.nn import Network, build_network
from scalesearch.scaling.members import compound_members, with_rivals

REPOSITORY = Path(__file__).resolve().parents[2]
SPACES = sorted(path.stem for path in (REPOSITORY / "search_spaces").glob("*.yaml"))
PUBLISHED = REPOSITORY.parent / "shared" / "reference" / "published.json"
IMAGE_SIZES = (33, 47, 32, 64)


def build_on_meta(arch: ArchSpec, num_classes: int, padding: str = "symmetric") -> Network:
    with torch.device("meta"):
        return build_network(arch, num_classes, padding=padding).eval()


def count(network: Network, image_size: int) -> Cost:
    """Count a network on the meta device, one image."""
    acts = 0

    def add(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal acts
        acts += output.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.empty(1, 3, image_size, image_size, device="meta"))
    params = sum(parameter.numel() for parameter in network.parameters())
    assert counter.get_total_flops() % 2 == 0
    return Cost(params, counter.get_total_flops() // 2, acts)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_closed_form_is_what_is_counted_on_random_networks(name):
    space, rng = SearchSpace.load(name), random.Random(0)
    for index in range(50):
        arch = space.sample(rng)
        image_size, num_classes = IMAGE_SIZES[index % 4], (10, 1000)[index % 2]
        network = build_on_meta(arch, num_classes, ("symmetric", "same")[index // 4 % 2])
        assert count(network, image_size) == network_cost(arch, image_size, num_classes), arch.to_dict()


@pytest.mark.parametrize("name", EFFICIENTNETS)
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_closed_form_is_what_is_counted_on_published_networks(name, padding):
    arch = published_arch(name)
    assert count(build_on_meta(arch, 1000, padding), arch.image_size) == network_cost(arch)


@pytest.mark.parametrize(
    ("factors", "rounding"),
    [((1.2, 1.1, 1.15), "ceil"), ((1.0, 1.3, 1.1), "round"), ((1.5, 1.0, 1.15), "floor")],
)
def test_closed_form_is_what_is_counted_on_families_and_their_rivals(factors, rounding):
    base = published_arch("efficientnet-b0")
    rule = ScalingRule(ScalingFactors(*factors), rounding)
    members = with_rivals(base, compound_members(base, rule, [-1.0, 1.0], 10), 10)
    assert {member.strategy for member in members} == {"compound", "depth", "width", "resolution", "dWr"}
    for member in members:
        counted = count(build_on_meta(member.arch, 10), member.arch.image_size)
        assert counted == member.cost, member.label


@pytest.mark.parametrize("name", SPACES)
def test_stage_costs_are_what_is_counted_stage_by_stage(name):
    arch = SearchSpace.load(name).sample(random.Random(1))
    network = build_on_meta(arch, 10)
    parts = {
        "stem": (network.conv_stem, network.bn1),
        **{f"stage {index}": (stage,) for index, stage in enumerate(network.blocks)},
        "head": (network.conv_head, network.bn2),
        "classifier": (network.classifier,),
    }
    params = {
        part: sum(p.numel() for module in modules for p in module.parameters()) for part, modules in parts.items()
    }
    assert {part: cost.params for part, cost in stage_costs(arch, 33, 10)} == params


def measured_figures() -> dict[str, dict[str, object]]:
    """Return the reference figures by network; none where the shared folder is absent."""
    if not PUBLISHED.is_file():
        return {}
    rows = json.loads(PUBLISHED.read_text(encoding="utf-8"))["efficientnet"]
    return {f"efficientnet-{name}": row["measured"] for name, row in rows.items() if "measured" in row}


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="shared/reference/published.json is not beside the repository")
@pytest.mark.parametrize(("name", "measured"), measured_figures().items())
def test_built_networks_have_the_reference_figures(name, measured):
    arch = published_arch(name)
    network = build_on_meta(arch, 1000)
    params, macs = count_by_kind(network, arch.image_size)
    assert params == measured["params_by"]
    assert macs == measured["macs_by"]
    assert count(network, arch.image_size) == Cost(measured["params"], measured["macs"], measured["acts"])


def count_by_kind(network: Network, image_size: int) -> tuple[dict[str, int], dict[str, int]]:
    """Count parameters and macs by kind of layer, in the reference file's words."""
    params: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    handles = []
    for name, module in network.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.Linear)):
            continue
        kind = kind_of(name, module)
        params[kind.split("_")[0]] += sum(parameter.numel() for parameter in module.parameters())

        def add(module: nn.Module, inputs: object, output: torch.Tensor, kind: str = kind) -> None:
            macs[kind] += output.numel() * module.weight[0].numel() if kind != "bn" else 0

        handles.append(module.register_forward_hook(add))
    with torch.inference_mode():
        network(torch.empty(1, 3, image_size, image_size, device="meta"))
    for handle in handles:
        handle.remove()
    del macs["bn"]
    return dict(params), dict(macs)


def kind_of(name: str, module: nn.Module) -> str:
    if isinstance(module, nn.Linear):
        return "fc"
    if isinstance(module, nn.BatchNorm2d):
        return "bn"
    if ".se." in name:
        return "se"
    if module.groups > 1:
        return "conv_dw"
    return "conv_pw" if module.kernel_size == (1, 1) else "conv_full"
