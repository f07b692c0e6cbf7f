"""Anchors: the boxes that a detector's outputs are relative to, and how outputs become boxes.

An anchor for each cell of each level, size and shape, as in EfficientDet (arXiv 1911.09070, section 5.1) and RetinaNet
(arXiv 1708.02002, section 4): around the cell's center, ``anchor_scale`` strides wide, at ``num_scales`` sizes in an
octave and the spec's aspect ratios. Their order is that of the heads' outputs: level by level from the finest, cell by
cell along rows, sizes before shapes. Offsets are (ty, tx, th, tw), vertical first, as in the released checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scalesearch.detection.arch.spec import DetectorSpec

_LARGEST_GROWTH = math.log(1000 / 16)
"""Of a box over its anchor, in logarithms: beyond, an untrained output would overflow (torchvision's limit)."""


def make_anchors(spec: DetectorSpec, grids: Sequence[tuple[int, int]] | None = None) -> Tensor:
    """Return all anchors as corners in pixels, float32 (A, 4); they may reach out of the image.

    Args:
        spec: The detector.
        grids: Rows and columns of each level's map; those of the spec's image size if not given.
    """
    grids = [(size, size) for size in spec.sizes] if grids is None else grids
    shapes = _shapes(spec)
    levels = []
    for level, (rows, columns) in zip(spec.levels, grids, strict=True):
        stride = 2**level
        y = (torch.arange(rows, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(columns, dtype=torch.float32) + 0.5) * stride
        centers = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 1, 2)
        half = shapes * (stride / 2)
        levels.append(torch.cat([centers - half, centers + half], dim=-1).reshape(-1, 4))
    return torch.cat(levels)


def flatten_outputs(outputs: Sequence[Tensor], num_anchors: int) -> Tensor:
    """Return outputs (N, num_anchors * K, h, w) of each level as (N, A, K), in the order of ``make_anchors``."""
    flat = []
    for one in outputs:
        count, _, rows, columns = one.shape  # not len(one): torch.export would fix the batch to the one it traces
        flat.append(one.permute(0, 2, 3, 1).reshape(count, rows * columns * num_anchors, -1))
    return torch.cat(flat, dim=1)


def encode_boxes(boxes_xyxy: Tensor, anchors: Tensor) -> Tensor:
    """Return the offsets (N, 4) that make boxes (N, 4) of positive size out of anchors (N, 4)."""
    x, y, width, height = _center_form(boxes_xyxy)
    anchor_x, anchor_y, anchor_width, anchor_height = _center_form(anchors)
    return torch.stack(
        [
            (y - anchor_y) / anchor_height,
            (x - anchor_x) / anchor_width,
            (height / anchor_height).log(),
            (width / anchor_width).log(),
        ],
        dim=-1,
    )


def decode_boxes(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes (..., 4) that offsets (..., 4) make out of anchors, as corners; they may be out of the image."""
    anchor_x, anchor_y, anchor_width, anchor_height = _center_form(anchors)
    y = offsets[..., 0] * anchor_height + anchor_y
    x = offsets[..., 1] * anchor_width + anchor_x
    height = offsets[..., 2].clamp(max=_LARGEST_GROWTH).exp() * anchor_height / 2
    width = offsets[..., 3].clamp(max=_LARGEST_GROWTH).exp() * anchor_width / 2
    return torch.stack([x - width, y - height, x + width, y + height], dim=-1)


def _shapes(spec: DetectorSpec) -> Tensor:
    """Return width and height of each anchor of a cell, in strides, (num_anchors, 2)."""
    sizes = [spec.anchor_scale * 2 ** (scale / spec.num_scales) for scale in range(spec.num_scales)]
    return torch.tensor([(size * width, size * height) for size in sizes for width, height in spec.aspect_ratios])


def _center_form(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    left, top, right, bottom = boxes.unbind(-1)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
