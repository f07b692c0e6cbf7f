"""Pictures of detections, of mistakes, and sheets of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from scalesearch.detection.boxes.decoding import Detections
from scalesearch.detection.boxes.matched import Outcomes, rank_pictures, sort_detections
from scalesearch.detection.data.config import BoxDataConfig
from scalesearch.detection.data.loading import open_boxes
from scalesearch.detection.data.sample import BoxSource, BoxTruth
from scalesearch.detection.data.storing import StoredSource
from scalesearch.report import canvas
from scalesearch.report.plot_detections import (
    CLASS_COLOURS,
    draw_detections,
    draw_gallery,
    draw_mistakes,
    draw_outcomes,
    save_picture,
)

PICTURE = torch.full((3, 300, 400), 128, dtype=torch.uint8)
NAMES = ("cat", "<script>\n")
NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def claims(*boxes: tuple[list[float], int]) -> Detections:
    return Detections(
        torch.tensor([box for box, _ in boxes]),
        torch.linspace(0.9, 0.5, len(boxes)),
        torch.tensor([label for _, label in boxes]),
    )


def outcomes(found: Detections = NOTHING, alarms: Detections = NOTHING, missed: Detections = NOTHING) -> Outcomes:
    return Outcomes(found, alarms, missed.boxes_xyxy, missed.labels)


def has_colour(image: Image.Image, colour: str) -> bool:
    return bool((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2).any())


@pytest.fixture(scope="module")
def made() -> BoxSource:
    config = BoxDataConfig(made_image_size=96, made_train_images=6, made_val_images=4, made_test_images=1)
    return open_boxes(config).val or pytest.fail("made has a val split")


def perfect(truth: BoxTruth) -> Detections:
    return Detections(truth.boxes_xyxy, torch.ones(len(truth.labels)), truth.labels)


def test_each_class_has_its_colour_and_the_seventh_the_firsts_again() -> None:
    for label, colour in enumerate((*CLASS_COLOURS, CLASS_COLOURS[0])):
        image = draw_detections(PICTURE, claims(([50.0, 50, 90, 90], label)), [str(each) for each in range(7)])
        assert [other for other in CLASS_COLOURS if has_colour(image, other)] == [colour]
    assert len(set(CLASS_COLOURS)) == 6


def test_a_picture_without_detections_is_the_picture() -> None:
    assert np.array_equal(np.asarray(draw_detections(PICTURE, NOTHING, NAMES)), PICTURE.permute(1, 2, 0).numpy())


def test_drawing_does_not_change_the_picture_it_is_given() -> None:
    before = PICTURE.clone()
    draw_detections(PICTURE, claims(([50.0, 50, 90, 90], 1)), NAMES)
    assert torch.equal(PICTURE, before)


@pytest.mark.parametrize(
    ("kind", "colour"), [("found", canvas.BLUE), ("missed", canvas.ORANGE), ("alarms", canvas.VERMILLION)]
)
def test_each_outcome_has_its_mark_and_the_others_are_not_in_the_picture(kind: str, colour: str) -> None:
    image = draw_outcomes(PICTURE, outcomes(**{kind: claims(([50.0, 50, 190, 190], 1))}), NAMES)
    drawn = image.crop((0, 0, 400, 300))
    colours = (canvas.BLUE, canvas.ORANGE, canvas.VERMILLION)
    assert [each for each in colours if has_colour(drawn, each)] == [colour]
    caption = image.crop((0, 300, *image.size))
    assert all(has_colour(caption, each) for each in colours)  # the legend explains all three


def test_the_counts_are_in_the_caption() -> None:
    one, two = (claims(*[([50.0, 50, 60, 60], 0)] * count) for count in (1, 2))
    caption = {
        name: np.asarray(draw_outcomes(PICTURE, each, NAMES))[300:]
        for name, each in (("one", outcomes(one)), ("two", outcomes(two)), ("again", outcomes(two)))
    }
    assert np.array_equal(caption["two"], caption["again"])
    assert not np.array_equal(caption["one"], caption["two"])


def test_a_sheet_shows_the_pictures_asked_for_also_from_smaller_copies(made: BoxSource) -> None:
    detections = [perfect(made.read_truth(0)), *[NOTHING] * (len(made) - 1)]
    ranked = rank_pictures(detections, made)
    names = [str(digit) for digit in range(10)]
    sheet = draw_mistakes(made, ranked[:3], names, num_columns=3, side=200, title="worst")
    assert sheet.width == 3 * 200 + 4 * 12
    smaller = draw_mistakes(StoredSource(made, 48, 0), ranked[:3], names, num_columns=3, side=200, title="worst")
    for colour in (canvas.ORANGE, canvas.BLUE):
        ink = [(np.asarray(each) == ImageColor.getrgb(colour)).all(axis=2) for each in (sheet, smaller)]
        assert np.array_equal(*ink)


def test_what_was_drawn_is_what_was_matched(made: BoxSource) -> None:
    index = next(index for index in range(len(made)) if len(made.read_truth(index).labels))
    truth = made.read_truth(index)
    right = sort_detections(perfect(truth), truth)
    wrong = sort_detections(perfect(truth)._replace(labels=(truth.labels + 1) % 10), truth)
    names = [str(digit) for digit in range(10)]
    for each, expected in ((right, canvas.BLUE), (wrong, canvas.VERMILLION)):
        image = draw_outcomes(made.read(index).image, each, names).crop((0, 0, 320, 320))
        assert has_colour(image, expected)
        assert has_colour(image, canvas.ORANGE) == (each is wrong)


@pytest.mark.parametrize(
    ("count", "columns", "grid"), [(1, None, (1, 1)), (5, None, (3, 2)), (5, 2, (2, 3)), (2, 9, (2, 1))]
)
def test_a_gallery_is_a_grid_and_every_tile_is_in_it_as_it_is(
    count: int, columns: int | None, grid: tuple[int, int]
) -> None:
    tiles = [Image.new("RGB", (50, 40), (index + 1, 0, 0)) for index in range(count)]
    sheet = draw_gallery(tiles, num_columns=columns, gap=10)
    assert sheet.size == (grid[0] * 60 + 10, grid[1] * 50 + 10)
    for index, tile in enumerate(tiles):
        left, top = 10 + 60 * (index % grid[0]), 10 + 50 * (index // grid[0])
        assert np.array_equal(np.asarray(sheet.crop((left, top, left + 50, top + 40))), np.asarray(tile))


def test_tiles_of_different_sizes_do_not_overlap() -> None:
    sizes = [(50, 40), (20, 90), (70, 10), (30, 30)]
    tiles = [Image.new("RGB", size, (index + 1, 0, 0)) for index, size in enumerate(sizes)]
    pixels = np.asarray(draw_gallery(tiles, num_columns=2, title="a title"))
    for index, (width, height) in enumerate(sizes):
        assert (pixels == (index + 1, 0, 0)).all(axis=2).sum() == width * height


def test_a_saved_picture_is_whole_the_same_each_time_and_alone(tmp_path: Path) -> None:
    image = draw_detections(PICTURE, claims(([50.0, 50, 90, 90], 1)), NAMES)
    path = save_picture(image, tmp_path / "new" / "a.jpg.png")
    before = path.read_bytes()
    assert before == save_picture(image, path).read_bytes()
    with Image.open(path) as again:
        assert again.format == "PNG"
        assert np.array_equal(np.asarray(again), np.asarray(image))
    assert [each.name for each in path.parent.iterdir()] == ["a.jpg.png"]
