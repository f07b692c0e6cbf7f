"""The legend below a picture: what its marks mean, in as many rows as its width takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from scalesearch.report import canvas
from scalesearch.report.drawing import Mark, Rect, draw_box, load_font, one_line

_LONGEST_TITLE = 200


def add_caption(image: Image.Image, entries: Sequence[Mark], title: str, font_size: int) -> Image.Image:
    """Return the picture with a legend below: of each mark its box, small, and its text; in as many rows as needed.

    Args:
        image: What has been drawn.
        entries: Colour, line and text of each; their boxes mean nothing.
        title: Written in a row before them, cut to the width; an empty one takes no row.
        font_size: In pixels.
    """
    font, gap = load_font(font_size), font_size // 2
    swatch, row_height = round(2.2 * font_size), round(1.7 * font_size)
    widths = [swatch + gap + math.ceil(font.getlength(entry.text)) + 2 * gap for entry in entries]
    total = max(image.width, max(widths, default=0) + gap)
    rows = _fill_rows(widths, total - gap)
    heading = _fit(one_line(title, _LONGEST_TITLE), load_font(font_size, bold=True), total - 2 * gap)
    sheet = Image.new("RGB", (total, image.height + gap + row_height * (len(rows) + bool(heading))), "white")
    sheet.paste(image, ((total - image.width) // 2, 0))
    pen, top = ImageDraw.Draw(sheet), image.height + gap // 2
    if heading:
        pen.text((gap, top), heading, font=load_font(font_size, bold=True), fill=canvas.INK)
        top += row_height
    for row in rows:
        left = gap
        for index in row:
            box = Rect(left, top + 1, left + swatch, top + font_size + 2)
            draw_box(sheet, box, entries[index].colour, entries[index].line, max(2, font_size // 6))
            pen.text((left + swatch + gap, top), entries[index].text, font=font, fill=canvas.INK)
            left += widths[index]
        top += row_height
    return sheet


def _fill_rows(widths: Sequence[int], total: int) -> list[list[int]]:
    rows: list[list[int]] = []
    left = total
    for index, width in enumerate(widths):
        if not rows or left + width > total:
            rows, left = [*rows, []], 0
        rows[-1].append(index)
        left += width
    return rows


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut a text's middle, whose ends tell more of a path, until it is narrow enough."""
    shown, kept = text, len(text)
    while kept > 2 and font.getlength(shown) > width:
        kept -= 1
        shown = f"{text[: kept // 3]}…{text[len(text) - (kept - kept // 3) :]}"
    return shown
