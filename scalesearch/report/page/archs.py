"""What a network is made of and where its cost lies, in closed form: networks by stage, detectors by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalesearch.arch import ArchSpec, stage_costs
from scalesearch.arch.cost import Cost, out_size
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.errors import ArchError
from scalesearch.report.page.payload import Arch, Stage


def describe_arch(spec: Mapping[str, Any], num_classes: int | None) -> Arch | None:
    """Return a network or a detector as the page draws it; None where the record holds neither.

    Args:
        spec: As ``to_dict`` of either wrote it.
        num_classes: Outputs of a network's classifier; a detector knows its own.
    """
    try:
        if "backbone" in spec:
            return _describe_detector(DetectorSpec.from_dict(spec))
        return _describe_network(ArchSpec.from_dict(spec), num_classes or 1000)
    except ArchError:
        return None


def _describe_network(arch: ArchSpec, num_classes: int) -> Arch:
    return Arch(
        image_size=arch.image_size,
        blocks=arch.blocks,
        stages=_network_stages(arch, num_classes),
        spec=arch.to_dict(),
    )


def _describe_detector(detector: DetectorSpec) -> Arch:
    """Return the backbone's stages, then neck and heads, whose maps are of several sizes: the finest is drawn."""
    costs, finest = detector_cost(detector), detector.sizes[0]
    backbone = [row for row in _network_stages(detector.used_backbone, 1, detector.image_size) if row["size"]]
    neck = f"{detector.neck} x{detector.neck_cells} {detector.fusion} P{detector.min_level}-P{detector.max_level}"
    channels = detector.neck_channels
    return Arch(
        image_size=detector.image_size,
        blocks=detector.blocks,
        stages=[
            *(row for row in backbone if row["name"] != "head"),
            _stage("neck", neck, finest, channels, detector.neck_cells, costs.neck),
            _stage("class head", "", finest, channels, detector.head_depth, costs.class_head),
            _stage("box head", "", finest, channels, detector.head_depth, costs.box_head),
        ],
        spec=detector.to_dict(),
    )


def _network_stages(arch: ArchSpec, num_classes: int, image_size: int | None = None) -> list[Stage]:
    size = out_size(image_size or arch.image_size, arch.stem_stride)
    shapes = [("", size, arch.stem_channels, 1)]
    for stage in arch.stages:
        size = out_size(size, stage.stride)
        shapes.append((stage.to_block(), size, stage.out_channels, stage.num_blocks))
    shapes += [("", size, arch.head_channels, 1), ("", 0, num_classes, 1)]
    costs = stage_costs(arch, image_size, num_classes)
    return [_stage(name, *shape, cost) for (name, cost), shape in zip(costs, shapes, strict=True)]


def _stage(name: str, block: str, size: int, channels: int, depth: int, cost: Cost) -> Stage:
    params, macs, acts = cost
    return Stage(name=name, block=block, size=size, channels=channels, depth=depth, params=params, macs=macs, acts=acts)
