"""Boxes and labels lie where they should, can be read, and do not hide one another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from scalesearch.report import canvas
from scalesearch.report.drawing import Drawing, Line, Mark, Rect, draw_box, one_line, text_colour

GREY = 128
COLOURS = (canvas.BLUE, canvas.VERMILLION, canvas.GREEN, canvas.ORANGE, canvas.PURPLE, canvas.SKY)
BOX = (100.0, 50.0, 200.0, 120.0)


def picture(height: int = 300, width: int = 400) -> torch.Tensor:
    return torch.full((3, height, width), GREY, dtype=torch.uint8)


def new_drawing(height: int = 300, width: int = 400, side: int | None = None) -> Drawing:
    return Drawing.of(picture(height, width), (height, width), side)


def is_colour(image: Image.Image, colour: str) -> np.ndarray:
    return (np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2)


def is_untouched(image: Image.Image) -> np.ndarray:
    return (np.asarray(image) == GREY).all(axis=2)


@pytest.mark.parametrize(
    ("size", "side", "drawn"),
    [
        ((300, 400), None, (400, 300)),
        ((64, 128), None, (320, 160)),
        ((1, 1), None, (320, 320)),
        ((3, 2000), None, (2000, 3)),
        ((300, 400), 200, (200, 150)),
        ((2000, 3), 10, (1, 10)),
    ],
)
def test_a_drawing_has_the_pictures_own_size_unless_that_is_small(
    size: tuple[int, int], side: int | None, drawn: tuple[int, int]
) -> None:
    assert new_drawing(*size, side=side).image.size == drawn


def test_the_line_runs_around_the_box_and_leaves_what_is_in_it() -> None:
    drawing = new_drawing()
    drawing.draw([Mark(BOX, "", canvas.BLUE)])
    width = drawing.line_width
    rows, columns = np.nonzero(is_colour(drawing.image, canvas.BLUE))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (100 - width, 50 - width, 199 + width, 119 + width)
    assert is_untouched(drawing.image)[52:118, 102:198].all()


def test_the_line_has_a_white_rim_on_both_sides() -> None:
    drawing = new_drawing()
    drawing.draw([Mark(BOX, "", canvas.BLUE)])
    across = np.asarray(drawing.image)[80, 90:110]
    white, blue = (across == 255).all(axis=1), (across == ImageColor.getrgb(canvas.BLUE)).all(axis=1)
    assert np.flatnonzero(blue).tolist() == [8, 9]
    assert np.flatnonzero(white).tolist() == [7, 10]


def test_boxes_of_a_smaller_copy_are_drawn_where_they_belong() -> None:
    small = Drawing.of(picture(150, 200), (300, 400), side=400)
    small.draw([Mark(BOX, "", canvas.BLUE)])
    whole = new_drawing(side=400)
    whole.draw([Mark(BOX, "", canvas.BLUE)])
    assert np.array_equal(is_colour(small.image, canvas.BLUE), is_colour(whole.image, canvas.BLUE))


@pytest.mark.parametrize("box", [(0, 0, 400, 300), (0, 0, 0.1, 0.1), (399.9, 299.9, 400, 300), (0, 150, 400, 150.2)])
def test_a_box_at_the_edge_or_without_a_pixel_is_seen(box: tuple[float, ...]) -> None:
    drawing = new_drawing()
    drawing.draw([Mark(box, "", canvas.BLUE)])
    assert is_colour(drawing.image, canvas.BLUE).sum() >= 32


def test_lines_are_told_apart_without_colour() -> None:
    inked = {}
    lines: tuple[Line, ...] = ("solid", "dashed", "dotted")
    for line in lines:
        image = Image.new("RGB", (200, 200), "black")
        draw_box(image, Rect(10, 10, 190, 190), canvas.BLUE, line, 3)
        top = is_colour(image, canvas.BLUE)[11, 10:190]
        assert (np.asarray(image)[11, 10:190] != 0).any(axis=1).all()  # where there is no ink, there is white
        assert top[0]
        assert top[-1]
        inked[line] = 1 + int((np.diff(top.astype(int)) == 1).sum())
    assert inked["solid"] == 1
    assert inked["solid"] < inked["dashed"] < inked["dotted"]


def test_labels_stand_in_the_picture_and_not_on_each_other() -> None:
    drawing = new_drawing(600, 800)
    corners = [(x, y, x + 60, y + 40) for x in (0, 150, 300, 450, 600, 740) for y in (0, 100, 300, 560)]
    drawing.draw([Mark(corner, "class name 0.99", canvas.GREEN) for corner in corners])
    assert len(drawing.plates) == len(corners)
    for plate in drawing.plates:
        assert plate.left >= 0
        assert plate.top >= 0
        assert plate.right <= 800
        assert plate.bottom <= 600
    for one, other in itertools.combinations(drawing.plates, 2):
        assert one.overlap([other]) == 0


def test_the_first_mark_lies_on_top_and_has_the_best_place() -> None:
    drawing = new_drawing()
    drawing.draw([Mark(BOX, "first", canvas.BLUE), Mark(BOX, "second", canvas.ORANGE)])
    assert is_colour(drawing.image, canvas.BLUE)[80, 98]
    assert (drawing.plates[0].left, drawing.plates[0].bottom) == (100 - 2, 50 - 2)  # above, at the left


def test_where_labels_must_collide_the_first_is_read() -> None:
    drawing = new_drawing(20, 400)
    drawing.draw(
        [Mark((0, 5, 400, 15), f"name {number}", colour) for number, colour in enumerate((*COLOURS, *COLOURS))]
    )
    alone = new_drawing(20, 400)
    alone.draw([Mark((0, 5, 400, 15), "name 0", COLOURS[0])])
    first = alone.plates[0]
    assert drawing.plates[0] == first
    assert any(first.overlap([plate]) for plate in drawing.plates[1:])
    assert drawing.image.crop(first).tobytes() == alone.image.crop(first).tobytes()


@pytest.mark.parametrize("colour", COLOURS)
def test_text_stands_off_from_every_plate_by_wcags_ratio(colour: str) -> None:
    ratio = (luminance("white") + 0.05) / (luminance(colour) + 0.05)
    contrast = ratio if text_colour(colour) == "white" else 21 / ratio
    assert contrast >= 4.5


def luminance(colour: str) -> float:
    channels = np.array(ImageColor.getrgb(colour)) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\r\n\tand more", "two lines and more"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("\x1b[31mred\x00", "[31mred"),
        ("undecodable \udcff", "undecodable"),
        ("right to left \u202e", "right to left"),
        ("größe 猫", "größe 猫"),
        (" \n", ""),
        ("x" * 10_000, "x" * 31 + "…"),
    ],
)
def test_any_text_becomes_one_short_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
    drawing = new_drawing()
    drawing.draw([Mark(BOX, text, canvas.BLUE)])
    assert len(drawing.plates) == bool(shown)
