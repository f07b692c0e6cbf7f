"""The closed form against released figures, against what is counted on built detectors, and against arithmetic.

Counted apart from scalesearch: multiply-adds by PyTorch's FlopCounterMode, parameters by their elements, activations by
hooks on every convolution. Everything runs on the meta device, on shapes alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scalesearch.arch.cost import Cost
from scalesearch.arch.spec import ArchSpec
from scalesearch.detection.arch.cost import DetectorCost, detector_cost
from scalesearch.detection.arch.fusion import NECKS
from scalesearch.detection.arch.published import EFFICIENTDETS, published_detector
from scalesearch.detection.arch.spec import FUSIONS, DetectorSpec
from scalesearch.detection.nn.detector import build_detector

MEASURED = ["d0", "d1", "d2", "d3", "d4"]
PARTS = ("backbone", "fpn", "class_net", "box_net")


@pytest.mark.parametrize("variant", MEASURED)
def test_a_released_detector_costs_what_is_measured_part_by_part(published: dict[str, Any], variant: str) -> None:
    measured = published[variant]["measured"]
    cost = detector_cost(published_detector(f"efficientdet-{variant}"))
    assert {part: each.params for part, each in zip(PARTS, cost, strict=True)} == measured["params_by"]
    assert {part: each.macs for part, each in zip(PARTS, cost, strict=True)} == measured["macs_by"]
    assert (cost.total.params, cost.total.macs) == (measured["params"], measured["macs"])


def test_every_measured_detector_is_tested(published: dict[str, Any]) -> None:
    assert [name for name, row in published.items() if "measured" in row] == MEASURED


def count(detector: nn.Module, height: int, width: int) -> DetectorCost:
    """Count a detector on the meta device, one image; its parts bear effdet's names."""
    acts: Counter[str] = Counter()

    def add(part: str, output: torch.Tensor) -> None:
        acts[part] += output.numel()

    for part in PARTS:
        for module in detector.get_submodule(part).modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _, __, output, part=part: add(part, output))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        detector.eval()(torch.empty(1, 3, height, width, device="meta"))
    flops = counter.get_flop_counts()
    root = type(detector).__name__
    # the backbone's features are asked for by a method, which the counter gives to nobody
    macs = {part: sum(flops[f"{root}.{part}"].values()) // 2 for part in PARTS if part != "backbone"}
    macs["backbone"] = counter.get_total_flops() // 2 - sum(macs.values())
    params = {part: sum(each.numel() for each in detector.get_submodule(part).parameters()) for part in PARTS}
    return DetectorCost(*(Cost(params[part], macs[part], acts[part]) for part in PARTS))


def count_built(spec: DetectorSpec, padding: str = "symmetric") -> DetectorCost:
    with torch.device("meta"):
        detector = build_detector(spec, padding=padding)  # type: ignore[arg-type]
    return count(detector, spec.image_size, spec.image_size)


@pytest.mark.parametrize("name", EFFICIENTDETS)
def test_closed_form_is_what_is_counted_on_released_detectors(name: str) -> None:
    spec = published_detector(name)
    assert count_built(spec, "same") == detector_cost(spec)


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFICIENTDETS)
def test_closed_form_is_what_is_counted_on_effdets_own_networks(name: str) -> None:
    effdet, config = pytest.importorskip("effdet"), pytest.importorskip("effdet.config")
    spec = published_detector(name)
    with torch.device("meta"):
        theirs = effdet.EfficientDet(
            config.get_efficientdet_config(f"tf_{name.replace('-', '_')}"), pretrained_backbone=False
        )
    assert count(theirs, spec.image_size, spec.image_size) == detector_cost(spec)


@st.composite
def stages(draw: st.DrawFn) -> str:
    block = draw(
        st.sampled_from(["ds_r{r}_k3_s{s}_e1_c{c}", "ir_r{r}_k5_s{s}_e3_c{c}_se0.25", "er_r{r}_k3_s{s}_e2_c{c}"])
    )
    return block.format(
        r=draw(st.integers(1, 2)), s=draw(st.sampled_from([1, 2])), c=draw(st.sampled_from([8, 12, 24]))
    )


@st.composite
def detectors(draw: st.DrawFn) -> DetectorSpec:
    """Draw detectors on backbones that reach more levels than the neck takes, as many, or fewer."""
    backbone = ArchSpec.from_blocks(
        draw(st.lists(stages(), min_size=1, max_size=6)), stem_channels=8, stem_stride=draw(st.sampled_from([1, 2]))
    )
    own = [backbone.stem_stride * backbone.stages[0].stride, backbone.reduction]
    min_level = draw(st.integers(own[0].bit_length() - 1, own[1].bit_length() - 1))
    return DetectorSpec(
        backbone=backbone,
        image_size=draw(st.integers(1, 130)),
        num_classes=draw(st.integers(1, 20)),
        neck=draw(st.sampled_from(NECKS)),
        fusion=draw(st.sampled_from(FUSIONS)),
        neck_channels=draw(st.sampled_from([1, 8, 12, 20, 24])),  # some are a stage's own: no projection
        neck_cells=draw(st.integers(1, 3)),
        head_depth=draw(st.integers(1, 3)),
        min_level=min_level,
        max_level=min_level + draw(st.integers(1, 5)),
        num_scales=draw(st.integers(1, 3)),
        aspect_ratios=((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))[: draw(st.integers(1, 3))],
        redundant_bias=draw(st.booleans()),
    )


@pytest.mark.slow
@settings(max_examples=60)
@given(detectors(), st.sampled_from(["symmetric", "same"]))
def test_closed_form_is_what_is_counted_on_random_detectors(spec: DetectorSpec, padding: str) -> None:
    assert count_built(spec, padding) == detector_cost(spec)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("neck", NECKS)
def test_closed_form_is_what_is_counted_on_every_neck(neck: str, fusion: str) -> None:
    base = published_detector("efficientdet-d0")
    for image_size, max_level in [(509, 7), (33, 8), (256, 5)]:
        spec = replace(base, neck=neck, fusion=fusion, image_size=image_size, max_level=max_level)
        assert count_built(spec) == detector_cost(spec)


@given(detectors())
def test_the_parts_add_up(spec: DetectorSpec) -> None:
    cost = detector_cost(spec)
    for index, name in enumerate(Cost._fields):
        assert getattr(cost.total, name) == sum(part[index] for part in cost)


@given(detectors(), st.sampled_from(["neck_cells", "head_depth", "num_classes"]))
def test_what_is_added_costs_more_where_it_is_added(spec: DetectorSpec, name: str) -> None:
    cost, more = detector_cost(spec), detector_cost(replace(spec, **{name: getattr(spec, name) + 1}))
    parts = {"neck_cells": ["neck"], "head_depth": ["class_head", "box_head"], "num_classes": ["class_head"]}[name]
    assert {part for part in cost._fields if getattr(cost, part) != getattr(more, part)} == set(parts)
    assert all(
        less < greater for part in parts for less, greater in zip(getattr(cost, part), getattr(more, part), strict=True)
    )


def test_fusion_weights_are_parameters_and_no_macs() -> None:
    spec = published_detector("efficientdet-d0")
    plain, fast = detector_cost(replace(spec, fusion="sum")), detector_cost(spec)
    weights = spec.neck_cells * (5 * 2 + 3 * 3)  # BiFPN over five levels: five nodes of two inputs, three of three
    assert fast.neck.params - plain.neck.params == weights
    assert (fast.neck.macs, fast.neck.acts) == (plain.neck.macs, plain.neck.acts)


def test_a_head_costs_what_its_layers_cost() -> None:
    # written out by hand: 8 channels, one level of 4 x 4 and one of 2 x 2, one layer, 2 anchors of 3 classes
    spec = DetectorSpec(
        backbone=ArchSpec.from_blocks(["cn_r1_k3_s1_e1_c8"], stem_channels=8, stem_stride=1),
        image_size=4,
        num_classes=3,
        neck_channels=8,
        head_depth=1,
        min_level=0,
        max_level=1,
        num_scales=2,
        aspect_ratios=((1, 1),),
        redundant_bias=False,
    )
    layer, predict, cells = 8 * 9 + 8 * 8, 8 * 9 + 8 * 6, 16 + 4
    expected = Cost(layer + predict + 6 + 2 * 2 * 8, (layer + predict) * cells, (8 + 8 + 8 + 6) * cells)
    assert detector_cost(spec).class_head == expected
