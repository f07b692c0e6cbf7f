"""Ink on a photograph: boxes, and labels that do not collide. Pillow, at the photograph's own pixels.

Whatever lies under them, boxes and labels are seen: a box's line has a white rim, a label stands on a plate of its own.
Colours are told apart with every common colour blindness, and never say alone what a line style or a word can say too.
Text is drawn with matplotlib's DejaVu Sans, the same on every machine; it lacks Chinese, Japanese and Korean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont

Line = Literal["solid", "dashed", "dotted"]

LEAST_SIDE = 320
"""A smaller picture is enlarged to this longer side, for its labels to be read."""

_LEAST_FONT, _FONT_SHARE, _LINE_SHARE = 11, 1 / 52, 1 / 320
_LONGEST_TEXT = 32
_DASHES: dict[Line, tuple[int, int]] = {"solid": (1, 0), "dashed": (5, 3), "dotted": (2, 2)}  # in widths of the line


class Mark(NamedTuple):
    """A box to be drawn, corners in the annotated picture's pixels; the text may be anything."""

    box_xyxy: tuple[float, ...]
    text: str
    colour: str
    line: Line = "solid"


class Rect(NamedTuple):
    """Edges in pixels of a drawing; the right and lower ones lie outside, as in a slice."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, others: Sequence[Rect]) -> float:
        """Return the area shared with other rectangles, summed."""
        edges = np.asarray(others, dtype=np.float64).reshape(-1, 4)
        width = np.minimum(self.right, edges[:, 2]) - np.maximum(self.left, edges[:, 0])
        height = np.minimum(self.bottom, edges[:, 3]) - np.maximum(self.top, edges[:, 1])
        return float((width.clip(0) * height.clip(0)).sum())


@dataclass(slots=True, eq=False)
class Drawing:
    """A picture that is drawn on.

    Attributes:
        image: What is there so far.
        scale: Pixels of the drawing to one of the annotated picture, to the right and downwards.
        plates: Where labels stand.
    """

    image: Image.Image
    scale: tuple[float, float]
    plates: list[Rect] = field(default_factory=list)

    @classmethod
    def of(cls, picture: torch.Tensor, original_size: tuple[int, int], side: int | None) -> Drawing:
        """Begin with a picture.

        Args:
            picture: Uint8 (3, H, W); it may be a smaller copy of the annotated one.
            original_size: Height and width of the annotated picture, in whose pixels boxes are given.
            side: Of the drawing, the longer one in pixels; the picture's own, or ``LEAST_SIDE``, if not given.
        """
        height, width = picture.shape[-2:]
        factor = (side or max(LEAST_SIDE, height, width)) / max(height, width)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
        if size != image.size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        return cls(image, (size[0] / original_size[1], size[1] / original_size[0]))

    @property
    def line_width(self) -> int:
        """Of a box, in pixels."""
        return max(2, round(max(self.image.size) * _LINE_SHARE))

    @property
    def font_size(self) -> int:
        """Of labels and caption, in pixels."""
        return max(_LEAST_FONT, round(max(self.image.size) * _FONT_SHARE))

    def draw(self, marks: Sequence[Mark]) -> None:
        """Draw marks, in the order of their importance: the first is on top and has the best place for its label."""
        rects = [self._place(mark.box_xyxy) for mark in marks]
        for mark, rect in reversed(list(zip(marks, rects, strict=True))):
            draw_box(self.image, rect, mark.colour, mark.line, self.line_width)
        named = [(one_line(mark.text), mark.colour, rect) for mark, rect in zip(marks, rects, strict=True)]
        labels = [(text, colour, self._find_plate(text, rect, rects)) for text, colour, rect in named if text]
        for text, colour, plate in reversed(labels):
            self._write(text, colour, plate)

    def _place(self, box_xyxy: Sequence[float]) -> Rect:
        """Return the outer edge of a box's line, which runs around the box as far as the picture has room."""
        across, down = self.scale
        (wide, high), (left, top, right, bottom) = self.image.size, box_xyxy
        left, right = _span(left * across, right * across, wide, self.line_width)
        top, bottom = _span(top * down, bottom * down, high, self.line_width)
        return Rect(left, top, right, bottom)

    @property
    def _padding(self) -> int:
        return max(2, self.font_size // 5)

    def _find_plate(self, text: str, box: Rect, boxes: Sequence[Rect]) -> Rect:
        font = load_font(self.font_size)
        width = math.ceil(font.getlength(text)) + 2 * self._padding
        height = sum(font.getmetrics()) + self._padding
        places = self._places(box, width, height)
        # a plate on another plate hides what it says; on a box, only part of a line and of what lies there
        hides = [20 * place.overlap(self.plates) + place.overlap(boxes) + rank for rank, place in enumerate(places)]
        self.plates.append(places[hides.index(min(hides))])
        return self.plates[-1]

    def _write(self, text: str, colour: str, plate: Rect) -> None:
        pen, corner = ImageDraw.Draw(self.image), (plate.left + self._padding, plate.top + self._padding / 2)
        pen.rectangle(pixels(plate), fill=colour)
        pen.text(corner, text, font=load_font(self.font_size), fill=text_colour(colour))

    def _places(self, box: Rect, width: int, height: int) -> list[Rect]:
        """Return where a label may stand, best first: above, below, beside and in its box, moved into the picture."""
        right, bottom = box.right - width, box.bottom - height
        corners = [
            *((box.left, box.top - height), (box.left, box.bottom), (right, box.top - height), (right, box.bottom)),
            *((box.right, box.top), (box.left - width, box.top), (box.right, bottom), (box.left - width, bottom)),
            *((box.left, box.top), (right, box.top), (box.left, bottom), (right, bottom)),
        ]
        wide, high = self.image.size
        inside = [(max(0, min(x, wide - width)), max(0, min(y, high - height))) for x, y in corners]
        return [Rect(x, y, x + width, y + height) for x, y in inside]


def draw_box(image: Image.Image, rect: Rect, colour: str, line: Line, width: int) -> None:
    """Draw a rectangle's line, ``width`` pixels inwards from its edge, with a rim of white around it."""
    pen = ImageDraw.Draw(image)
    rim = max(1, width // 3)
    for side in _sides(rect, width):
        pen.rectangle(pixels(Rect(side.left - rim, side.top - rim, side.right + rim, side.bottom + rim)), fill="white")
    for side in _sides(rect, width):
        for dash in _dashes(side, line, width):
            pen.rectangle(pixels(dash), fill=colour)


def pixels(rect: Rect) -> tuple[float, float, float, float]:
    """Return Pillow's corners, of which the second is inside; it takes none that are the wrong way around."""
    return rect.left, rect.top, max(rect.left, rect.right - 1), max(rect.top, rect.bottom - 1)


def one_line(text: str, longest: int = _LONGEST_TEXT) -> str:
    r"""Return any text as one short line that can be drawn.

    Example:
        >>> one_line("red\n  cell"), one_line("a" * 40, 5)
        ('red cell', 'aaaa…')
    """
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def text_colour(plate: str) -> str:
    """Return black or white, whichever stands off more from a colour (WCAG 2's contrast).

    Example:
        >>> text_colour("#0072B2"), text_colour("#E69F00")
        ('white', 'black')
    """
    parts = [part / 255 for part in ImageColor.getrgb(plate)[:3]]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


@cache
def load_font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, as matplotlib brings it, at a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def _span(first: float, last: float, size: int, width: int) -> tuple[int, int]:
    """Return where a box's two lines begin and end: around it, in the picture, and never one upon the other."""
    begin, end = max(0, round(first) - width), min(size, round(last) + width)
    if end - begin < 3 * width:
        begin = max(0, min((begin + end - 3 * width) // 2, size - 3 * width))
        end = min(size, begin + 3 * width)
    return begin, end


def _sides(rect: Rect, width: int) -> list[Rect]:
    left, top, right, bottom = rect
    return [
        Rect(left, top, right, top + width),
        Rect(left, bottom - width, right, bottom),
        Rect(left, top, left + width, bottom),
        Rect(right - width, top, right, bottom),
    ]


def _dashes(side: Rect, line: Line, width: int) -> list[Rect]:
    """Return the parts of a side that are inked; both ends are, so that the corners show."""
    on, off = (part * width for part in _DASHES[line])
    length = max(side.right - side.left, side.bottom - side.top)
    if not off or length <= 2 * on:
        return [side]
    count = max(1, round((length - on) / (on + off)))
    starts = [round(index * (length - on) / count) for index in range(count + 1)]
    if side.right - side.left >= side.bottom - side.top:
        return [Rect(side.left + start, side.top, side.left + start + on, side.bottom) for start in starts]
    return [Rect(side.left, side.top + start, side.right, side.top + start + on) for start in starts]
