from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.arch.published import published_arch
from scalesearch.arch.scaling import EFFICIENTNET_FACTORS, ScalingFactors, ScalingRule, scale_arch
from scalesearch.arch.spec import ArchSpec
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.arch.published import EFFICIENTDETS, published_detector
from scalesearch.detection.arch.scaling import scale_detector
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.errors import ArchError

D0 = published_detector("efficientdet-d0")
RULE = ScalingRule(EFFICIENTNET_FACTORS)
SMALL = replace(D0, image_size=96, neck_channels=24, neck_cells=1, head_depth=1, num_classes=5)

FORMULA_AND_RELEASED = {
    # name: what differs, by the formula from D0 and as released
    "efficientdet-d1": {},
    "efficientdet-d2": {"neck_channels": (120, 112)},
    "efficientdet-d3": {},
    "efficientdet-d4": {"neck_channels": (216, 224)},
    "efficientdet-d5": {"neck_cells": (8, 7), "image_size": (1152, 1280)},
    "efficientdet-d6": {"neck_cells": (9, 8), "fusion": ("fast", "sum")},
    "efficientdet-d7": {
        "neck_channels": (520, 384),
        "neck_cells": (10, 8),
        "image_size": (1408, 1536),
        "fusion": ("fast", "sum"),
        "anchor_scale": (4.0, 5.0),
    },
}


@pytest.mark.parametrize(("phi", "name"), list(enumerate(FORMULA_AND_RELEASED, start=1)))
def test_the_released_detectors_depart_from_the_formula_where_it_is_said(phi: int, name: str) -> None:
    released = published_detector(name)
    scaled = scale_detector(D0, phi, published_arch(EFFICIENTDETS[name].backbone))
    fields = set(DetectorSpec.__dataclass_fields__)
    differ = {
        f: (getattr(scaled, f), getattr(released, f)) for f in fields if getattr(scaled, f) != getattr(released, f)
    }
    assert differ == FORMULA_AND_RELEASED[name]


@pytest.mark.parametrize("phi", range(8))
def test_from_d0_the_formula_is_the_papers(phi: int) -> None:
    scaled = scale_detector(D0, phi, D0.backbone)
    assert (scaled.neck_cells, scaled.head_depth, scaled.image_size) == (3 + phi, 3 + phi // 3, 512 + 128 * phi)
    assert abs(scaled.neck_channels - 64 * 1.35**phi) <= 4
    assert scaled.neck_channels % 8 == 0


@given(st.floats(1, 2), st.floats(1, 2))
def test_phi_0_is_the_detector_itself(alpha: float, beta: float) -> None:
    odd = replace(SMALL, neck_channels=21, image_size=97)
    assert scale_detector(odd, 0, ScalingRule(ScalingFactors(alpha, beta, 1.1), "round")) == odd


def test_a_rule_scales_the_backbone_with_the_same_phi() -> None:
    scaled = scale_detector(SMALL, 2, ScalingRule(EFFICIENTNET_FACTORS, "floor"))
    assert scaled.backbone == scale_arch(SMALL.backbone, EFFICIENTNET_FACTORS, 2, rounding="floor")


def test_a_small_base_grows_by_its_own_quarters() -> None:
    sizes = [scale_detector(SMALL, phi, RULE).image_size for phi in (-1, 0, 0.5, 1, 2, 4)]
    assert sizes == [72, 96, 108, 120, 144, 192]


@given(st.floats(-8, 8), st.floats(0, 3))
def test_a_larger_phi_is_a_larger_detector(phi: float, more: float) -> None:
    names = ("image_size", "neck_channels", "neck_cells", "head_depth")
    small, large = scale_detector(SMALL, phi, RULE), scale_detector(SMALL, phi + more, RULE)
    assert all(getattr(small, name) <= getattr(large, name) for name in names)
    assert all(
        less <= greater for less, greater in zip(detector_cost(small).total, detector_cost(large).total, strict=True)
    )


def test_everything_else_stays() -> None:
    base = replace(SMALL, neck="panet", fusion="softmax", max_level=6, anchor_scale=3.0, redundant_bias=False)
    scaled = scale_detector(base, 3, RULE)
    grown = {
        name: getattr(scaled, name) for name in ("backbone", "neck_channels", "neck_cells", "head_depth", "image_size")
    }
    assert scaled == replace(base, **grown)
    assert (scaled.neck_cells, scaled.head_depth, scaled.image_size) == (4, 2, 168)
    assert scaled.neck_channels == 8 * math.floor(24 * 1.35**3 / 8 + 0.5)


def test_a_backbone_without_the_finest_level_is_refused() -> None:
    shallow = ArchSpec.from_blocks(["ds_r1_k3_s1_e1_c16", "ir_r1_k3_s2_e6_c24"])
    with pytest.raises(ArchError, match=r"min_level must be in 1 \.\. 2, the levels of the backbone's stages, got 3"):
        scale_detector(D0, 1, shallow)
