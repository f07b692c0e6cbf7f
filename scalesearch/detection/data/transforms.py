"""From a picture of any size to the square a detector sees, with its boxes.

Pixels and boxes go through the same operations of torchvision's v2 transforms. All randomness is drawn from torch's
global generator, as in ``scalesearch.data``. Where there is no picture, there is the fill, the training pictures' mean
colour: after normalising, 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from scalesearch.detection.data.augmentation import BoxAugmentation
from scalesearch.detection.data.sample import BoxSample

Colour: TypeAlias = tuple[int, int, int]
# Height and width in pixels.
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Letterbox:
    """How a whole picture lies in a square: resized until its longer side fits, in the upper left corner.

    The rest, to the right or below, is filled: EfficientDet's convention, in which no offset is left to undo. Sides are
    rounded to pixels, so the two directions are scaled by slightly different factors.
    """

    original_size: Size
    image_size: int

    @property
    def size(self) -> Size:
        """Height and width of the picture inside the square, in pixels."""
        height, width = self.original_size
        factor = self.image_size / max(height, width)
        return max(1, round(height * factor)), max(1, round(width * factor))

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the square to one of the picture: downwards, and to the right."""
        return self.size[0] / self.original_size[0], self.size[1] / self.original_size[1]

    def to_square(self, boxes_xyxy: torch.Tensor) -> torch.Tensor:
        """Map boxes (..., 4) from the picture into the square."""
        return boxes_xyxy * self._factors(boxes_xyxy)

    def to_picture(self, boxes_xyxy: torch.Tensor) -> torch.Tensor:
        """Map boxes (..., 4) from the square back to the picture; what reaches out of it is cut."""
        height, width = self.original_size
        bounds = boxes_xyxy.new_tensor([width, height, width, height])
        return (boxes_xyxy / self._factors(boxes_xyxy)).clamp(min=0.0).minimum(bounds)

    def _factors(self, like: torch.Tensor) -> torch.Tensor:
        down, right = self.scale
        return like.new_tensor([right, down, right, down])


class View(NamedTuple):
    """A picture on its way to the detector: uint8 (3, H, W), its boxes there, and their labels."""

    image: torch.Tensor
    boxes: tv_tensors.BoundingBoxes
    labels: torch.Tensor


def open_view(sample: BoxSample) -> View:
    """Return a picture with the boxes that are trained on: all but the crowds."""
    wanted = ~sample.is_crowd
    boxes = tv_tensors.BoundingBoxes(
        sample.boxes_xyxy[wanted], format="XYXY", canvas_size=tuple(sample.image.shape[-2:])
    )
    return View(sample.image, boxes, sample.labels[wanted])


def letterbox(view: View, place_of: Letterbox, fill: Colour) -> View:
    """Return the whole picture in a square, as ``place_of`` says; every box is kept."""
    square = place_of.image_size, place_of.image_size
    return place(resize(view, place_of.size), square, top=0, left=0, fill=fill)


def flip(view: View) -> View:
    """Mirror left and right."""
    return View(tvf.horizontal_flip(view.image), tvf.horizontal_flip(view.boxes), view.labels)


def resize(view: View, size: Size) -> View:
    """Resize by bilinear interpolation with antialiasing."""
    image, boxes = (tvf.resize(part, list(size), antialias=True) for part in (view.image, view.boxes))
    return View(image, boxes, view.labels)


def place(view: View, size: Size, *, top: int, left: int, fill: Colour) -> View:
    """Lay a picture with its corner at ``top`` and ``left`` of a window; what reaches out is cut, boxes too."""
    height, width = view.image.shape[-2:]
    padding = [max(left, 0), max(top, 0), max(size[1] - left - width, 0), max(size[0] - top - height, 0)]
    image, boxes = view.image, view.boxes
    if any(padding):
        image, boxes = tvf.pad(image, padding, fill=list(fill)), tvf.pad(boxes, padding)
    window = max(-top, 0), max(-left, 0), *size
    return View(tvf.crop(image, *window), tvf.crop(boxes, *window), view.labels)


def keep_visible(placed: View, whole: View, min_share: float) -> View:
    """Drop the boxes of which less than a share of ``whole``'s area is left, or less than a pixel in some direction."""
    sides, whole_sides = _measure_sides(placed.boxes), _measure_sides(whole.boxes)
    is_kept = (sides >= 1.0).all(dim=1) & (sides.prod(dim=1) >= min_share * whole_sides.prod(dim=1))
    boxes = tv_tensors.wrap(placed.boxes[is_kept], like=placed.boxes)
    return View(placed.image, boxes, placed.labels[is_kept])


def draw_window(view: View, window: Size, image_size: int, augmentation: BoxAugmentation, fill: Colour) -> View:
    """Draw a scale, relative to a square of ``image_size``, and a place in a window; lay the picture there.

    The window is then mirrored, or not: cheaper than to mirror the picture, and the places are drawn alike.
    """
    drawn = torch.empty(()).uniform_(augmentation.min_scale, augmentation.max_scale).item()
    height, width = view.image.shape[-2:]
    size = Letterbox((height, width), max(1, round(drawn * image_size))).size
    whole = resize(view, size)
    top, left = _draw_offset(window[0] - size[0]), _draw_offset(window[1] - size[1])
    placed = place(whole, window, top=top, left=left, fill=fill)
    visible = keep_visible(placed, whole, augmentation.min_visible_share)
    return flip(visible) if augmentation.flip and torch.rand(()) < 0.5 else visible


def build_mosaic(views: Sequence[View], image_size: int, augmentation: BoxAugmentation, fill: Colour) -> View:
    """Lay four pictures around a random point of the middle half of a square, each scaled and cut at random."""
    margin = max(1, image_size // 4)
    down, right = torch.randint(margin, image_size - margin + 1, (2,)).tolist()
    windows = [(top, left) for top in ((0, down), (down, image_size)) for left in ((0, right), (right, image_size))]
    images, boxes, labels = [], [], []
    for view, ((top, bottom), (left, end)) in zip(views, windows, strict=True):
        part = draw_window(view, (bottom - top, end - left), image_size, augmentation, fill)
        images.append(part.image)
        boxes.append(tvf.pad(part.boxes, [left, top, image_size - end, image_size - bottom]))
        labels.append(part.labels)
    rows = [torch.cat(images[:2], dim=2), torch.cat(images[2:], dim=2)]
    return View(torch.cat(rows, dim=1), tv_tensors.wrap(torch.cat(boxes), like=boxes[0]), torch.cat(labels))


def jitter_colour(view: View, strength: float) -> View:
    """Change brightness, contrast and saturation, each by a factor in 1 plus or minus ``strength``."""
    jitter = v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)
    return view._replace(image=jitter(view.image))


def _measure_sides(boxes_xyxy: torch.Tensor) -> torch.Tensor:
    corners = boxes_xyxy.as_subclass(torch.Tensor)
    return corners[:, 2:] - corners[:, :2]


def _draw_offset(room: int) -> int:
    """Draw where a picture starts in a window: from 0 to the room there is; or, too large for it, cut before 0."""
    return int(torch.randint(min(room, 0), max(room, 0) + 1, ()))
