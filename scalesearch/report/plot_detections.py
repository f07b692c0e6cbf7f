"""Pictures of what a detector finds and of what it misses, one by one or as a sheet of many.

Nothing is computed here: detections are handed in, and ``scalesearch.detection.boxes.matched`` says which are right.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from scalesearch.detection.boxes.decoding import Detections
from scalesearch.detection.boxes.matched import Outcomes
from scalesearch.detection.data.sample import BoxSource
from scalesearch.report import canvas
from scalesearch.report.caption import add_caption
from scalesearch.report.drawing import Drawing, Line, Mark, load_font, one_line

CLASS_COLOURS = (canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.VERMILLION, canvas.SKY, canvas.PURPLE)
"""Of classes 0, 1, 2, ...; the seventh begins again, and its name tells it from the first."""

TILE_SIDE = 480
"""Longer side of a picture in a sheet, in pixels."""

_FOUND: tuple[str, Line] = canvas.BLUE, "solid"
_MISSED: tuple[str, Line] = canvas.ORANGE, "dashed"
_FALSE_ALARM: tuple[str, Line] = canvas.VERMILLION, "dotted"


def draw_detections(
    picture: torch.Tensor,
    detections: Detections,
    class_names: Sequence[str],
    *,
    original_size: tuple[int, int] | None = None,
    side: int | None = None,
) -> Image.Image:
    """Draw a picture with its detections, each with its class and score.

    Args:
        picture: Uint8 (3, H, W).
        detections: Best first; the best is drawn on top.
        class_names: Of each label, any text.
        original_size: Height and width in whose pixels the boxes are, where ``picture`` is a smaller copy.
        side: The drawing's longer side in pixels; the picture's own, or ``LEAST_SIDE`` if that is more, if not given.
    """
    drawing = Drawing.of(picture, original_size or _size(picture), side)
    drawing.draw(
        [
            Mark(tuple(box), f"{one_line(class_names[label])} {score:.2f}", CLASS_COLOURS[label % len(CLASS_COLOURS)])
            for box, score, label in zip(*(part.tolist() for part in detections), strict=True)
        ]
    )
    return drawing.image


def draw_outcomes(
    picture: torch.Tensor,
    outcomes: Outcomes,
    class_names: Sequence[str],
    *,
    original_size: tuple[int, int] | None = None,
    side: int | None = None,
    title: str = "",
) -> Image.Image:
    """Draw a picture with what was found, missed and wrongly claimed, and a caption with the counts.

    Found boxes are solid, missed ones dashed, false alarms dotted; only mistakes have labels, which say so in words.

    Args:
        picture: Uint8 (3, H, W).
        outcomes: Of this picture.
        class_names: Of each label, any text.
        original_size: As in ``draw_detections``.
        side: As in ``draw_detections``.
        title: In the caption, before the counts.
    """
    names = [one_line(name) for name in class_names]
    drawing = Drawing.of(picture, original_size or _size(picture), side)
    missed = [
        Mark(tuple(box), f"missed {names[label]}", *_MISSED)
        for box, label in zip(outcomes.missed_xyxy.tolist(), outcomes.missed_labels.tolist(), strict=True)
    ]
    alarms = [
        Mark(tuple(box), f"false {names[label]} {score:.2f}", *_FALSE_ALARM)
        for box, score, label in zip(*(part.tolist() for part in outcomes.false_alarms), strict=True)
    ]
    found = [Mark(tuple(box), "", *_FOUND) for box in outcomes.found.boxes_xyxy.tolist()]
    drawing.draw([*missed, *alarms, *found])
    return add_caption(drawing.image, _legend(outcomes), title, drawing.font_size)


def draw_mistakes(
    source: BoxSource,
    ranked: Sequence[tuple[int, Outcomes]],
    class_names: Sequence[str],
    *,
    num_columns: int | None = None,
    side: int = TILE_SIDE,
    title: str = "",
) -> Image.Image:
    """Draw pictures of a split with their outcomes as one sheet; the caller cuts ``ranked`` to those it wants.

    Args:
        source: The split.
        ranked: As ``rank_pictures`` gives them: positions in the split, and outcomes.
        class_names: Of each label.
        num_columns: As in ``draw_gallery``.
        side: Longer side of each picture in pixels.
        title: Over the sheet.

    Raises:
        DataError: A picture cannot be read.
    """
    tiles = [
        draw_outcomes(
            source.read(index).image,
            outcomes,
            class_names,
            original_size=source.read_truth(index).original_size,
            side=side,
            title=source.describe(index),
        )
        for index, outcomes in ranked
    ]
    return draw_gallery(tiles, num_columns=num_columns, title=title)


def draw_gallery(
    tiles: Sequence[Image.Image], *, num_columns: int | None = None, title: str = "", gap: int = 12
) -> Image.Image:
    """Compose drawn pictures, row by row, into one sheet on white; none is resized.

    Args:
        tiles: At least one; they may differ in size.
        num_columns: Of the grid; about as many as rows, if not given.
        title: Over all, where there is one.
        gap: Pixels around each picture.
    """
    assert tiles, "a sheet of at least one picture"
    columns = min(len(tiles), num_columns or math.ceil(math.sqrt(len(tiles))))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    widths = [max(tile.width for tile in tiles[column::columns]) for column in range(columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    font = load_font(max(14, round(sum(widths) / 60)), bold=True)
    top = gap + (round(1.5 * font.size) if title else 0)
    sheet = Image.new("RGB", (sum(widths) + gap * (columns + 1), top + sum(heights) + gap * len(rows)), "white")
    if title:
        ImageDraw.Draw(sheet).text((gap, gap), one_line(title, 200), font=font, fill=canvas.INK)
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for tile, width in zip(row, widths, strict=False):
            sheet.paste(tile, (left, top))
            left += width + gap
        top += height + gap
    return sheet


def save_picture(image: Image.Image, path: Path) -> Path:
    """Write a PNG, whole or not at all, and return its path; missing folders are made, a file there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.png")
    try:
        image.save(temporary, format="PNG")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _legend(outcomes: Outcomes) -> list[Mark]:
    found, missed, alarms = (
        len(part) for part in (outcomes.found.labels, outcomes.missed_labels, outcomes.false_alarms.labels)
    )
    return [
        Mark((), f"{found} found", *_FOUND),
        Mark((), f"{missed} missed", *_MISSED),
        Mark((), f"{alarms} false alarm{'' if alarms == 1 else 's'}", *_FALSE_ALARM),
    ]


def _size(picture: torch.Tensor) -> tuple[int, int]:
    height, width = picture.shape[-2:]
    return height, width
