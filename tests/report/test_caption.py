"""A picture's legend stands below it, whatever its width."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageColor

from scalesearch.report import canvas
from scalesearch.report.caption import add_caption
from scalesearch.report.drawing import Mark

GREY = 128


def has_colour(image: Image.Image, colour: str) -> bool:
    return bool((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2).any())


def test_a_caption_lies_below_the_picture_and_does_not_touch_it() -> None:
    image = Image.new("RGB", (400, 100), (GREY, GREY, GREY))
    entries = [Mark((), "3 found", canvas.BLUE), Mark((), "4 missed", canvas.ORANGE, "dashed")]
    sheet = add_caption(image, entries, "a title", 12)
    assert sheet.size[0] == 400
    assert np.array_equal(np.asarray(sheet)[:100], np.asarray(image))
    below = sheet.crop((0, 100, 400, sheet.height))
    assert has_colour(below, canvas.BLUE)
    assert has_colour(below, canvas.ORANGE)
    assert add_caption(image, entries, "", 12).height < sheet.height


def test_a_narrow_picture_has_its_caption_in_more_rows_and_a_title_that_fits() -> None:
    image = Image.new("RGB", (40, 100), "black")
    entries = [Mark((), text, canvas.BLUE) for text in ("3 found", "4 missed", "11 false alarms")]
    narrow = add_caption(image, entries, "a/very/long/path/of/a/picture.jpg", 12)
    wide = add_caption(Image.new("RGB", (600, 100)), entries, "a title", 12)
    assert narrow.height > wide.height
    assert 40 < narrow.width < 200
    rim = np.asarray(narrow)[102:, -3:]
    assert (rim == 255).all()  # nothing runs out of it
