from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import yaml

from scalesearch.arch.published import published_arch
from scalesearch.arch.spec import ArchSpec
from scalesearch.detection.arch.published import published_detector
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.errors import ArchError

D0 = published_detector("efficientdet-d0")
SMALL = ArchSpec.from_blocks(
    ["cn_r1_k3_s1_e1_c8", "ir_r1_k3_s2_e2_c12", "ir_r1_k3_s1_e2_c16", "ir_r1_k3_s2_e2_c24"],
    stem_channels=8,
    image_size=32,
    stem_stride=1,
)
ODD = DetectorSpec(
    backbone=SMALL,
    image_size=97,
    num_classes=3,
    neck="panet",
    fusion="softmax",
    neck_channels=20,
    neck_cells=1,
    head_depth=2,
    min_level=1,
    max_level=4,
    num_scales=2,
    aspect_ratios=((1, 1), (2.5, 0.4)),
    anchor_scale=3,
    activation="relu",
    redundant_bias=False,
)


def test_the_defaults_are_d0s() -> None:
    assert DetectorSpec(backbone=published_arch("efficientnet-b0")) == D0


def test_a_detector_is_a_value() -> None:
    assert hash(replace(ODD)) == hash(ODD)
    with pytest.raises(FrozenInstanceError):
        ODD.num_classes = 4  # type: ignore[misc]


def test_whole_numbers_are_the_same_detector_as_floats() -> None:
    assert replace(ODD, anchor_scale=3.0, aspect_ratios=((1.0, 1.0), (2.5, 0.4))).to_dict() == ODD.to_dict()
    assert json.dumps(ODD.to_dict()["anchor_scale"]) == "3.0"


def test_levels_halve_and_round_up() -> None:
    assert (list(D0.levels), D0.sizes, D0.num_anchors) == ([3, 4, 5, 6, 7], (64, 32, 16, 8, 4), 9)
    assert (list(ODD.levels), ODD.sizes, ODD.num_anchors) == ([1, 2, 3, 4], (49, 25, 13, 7), 4)


def test_each_level_takes_the_deepest_stage_with_its_reduction() -> None:
    assert [(info.stage, info.reduction) for info in D0.features] == [(2, 8), (4, 16), (6, 32)]
    assert D0.input_channels == (40, 112, 320, 64, 64)


def test_levels_that_the_backbone_lacks_are_pooled() -> None:
    assert [(info.stage, info.reduction) for info in ODD.features] == [(2, 2), (3, 4)]
    assert ODD.input_channels == (16, 24, 20, 20)
    assert ODD.used_backbone == SMALL


def test_stages_beyond_the_coarsest_level_are_not_part_of_the_detector() -> None:
    spec = replace(ODD, min_level=0, max_level=1)
    assert spec.input_channels == (8, 16)
    assert spec.used_backbone == replace(SMALL, stages=SMALL.stages[:3])


@pytest.mark.parametrize("spec", [D0, ODD, published_detector("efficientdet-d7x")])
def test_a_detector_read_back_is_the_same(spec: DetectorSpec) -> None:
    values = spec.to_dict()
    assert DetectorSpec.from_dict(json.loads(json.dumps(values))) == spec
    assert DetectorSpec.from_dict(yaml.safe_load(yaml.safe_dump(values))) == spec


def test_a_mapping_needs_only_a_backbone_which_may_be_a_name() -> None:
    assert DetectorSpec.from_dict({"backbone": "efficientnet-b0"}) == D0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        ({"image_size": 512.0}, "image_size must be a whole number of at least 1, got 512.0"),
        ({"neck_cells": 0}, "neck_cells must be a whole number of at least 1, got 0"),
        ({"head_depth": True}, "head_depth must be a whole number of at least 1, got True"),
        ({"neck": "nasfpn"}, "neck must be one of fpn, panet, bifpn, got 'nasfpn'"),
        ({"fusion": "fastattn"}, "fusion must be one of sum, softmax, fast, got 'fastattn'"),
        ({"activation": "gelu"}, "activation must be one of silu, relu, hardswish, got 'gelu'"),
        ({"redundant_bias": 1}, "redundant_bias must be true or false, got 1"),
        ({"min_level": 0}, "min_level must be in 1 .. 5, the levels of the backbone's stages, got 0"),
        ({"min_level": 6, "max_level": 7}, "min_level must be in 1 .. 5, the levels of the backbone's stages, got 6"),
        ({"max_level": 3}, "max_level must be a whole number above min_level 3, got 3"),
        ({"anchor_scale": 0}, "anchor_scale must be a finite number above 0, got 0"),
        ({"anchor_scale": float("inf")}, "anchor_scale must be a finite number above 0, got inf"),
        ({"aspect_ratios": ()}, "aspect_ratios must be pairs of a width and a height above 0, got ()"),
        ({"aspect_ratios": (1.0, 2.0)}, "aspect_ratios must be pairs of a width and a height above 0, got (1.0, 2.0)"),
        (
            {"aspect_ratios": ((1.0, 0),)},
            "aspect_ratios must be pairs of a width and a height above 0, got ((1.0, 0),)",
        ),
        ({"backbone": "b0"}, "backbone must be an architecture, got 'b0'"),
    ],
)
def test_a_field_outside_its_range_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchError, match=f"^{re.escape(sentence)}$"):
        replace(D0, **values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"neck": "fpn"}, r"^a detector has the keys backbone, image_size, .*; got no backbone$"),
        ({"backbone": "efficientnet-b0", "head": 3}, r"^a detector has the keys backbone, .*; got head$"),
        ({"backbone": "efficientnet-b9"}, r"^published networks are .*; got 'efficientnet-b9'"),
        ({"backbone": 3}, r"^backbone must be a mapping with the key blocks, or an architecture's name, got 3$"),
        ({"backbone": {"blocks": ["x"]}}, r"^backbone: block string 'x': it must begin with"),
        (
            {"backbone": "efficientnet-b0", "aspect_ratios": [1.0]},
            r"^aspect_ratios must be pairs of .*, got \(1\.0,\)$",
        ),
    ],
)
def test_a_mapping_that_is_no_detector_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchError, match=sentence):
        DetectorSpec.from_dict(values)
