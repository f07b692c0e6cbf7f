import numpy as np
import pytest
import torch

from scalesearch.data.formats.patches import PICTURES as ALL_PICTURES
from scalesearch.detection.data.made import (
    DIGIT_HEIGHTS,
    LEAST_CONTRAST,
    PICTURES,
    choose_digits,
    load_digits,
    open_made,
    scale_digit,
)

SPLITS = ("train", "val", "test")


def open_small(*, train=40, val=10, test=10, image_size=128, seed=0):
    return open_made(num_images={"train": train, "val": val, "test": test}, image_size=image_size, seed=seed)


@pytest.fixture(scope="module")
def opened():
    return open_small()


def test_no_picture_is_in_two_splits_and_each_is_in_one():
    assert sorted(sum(PICTURES.values(), ())) == sorted(ALL_PICTURES)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_digit_is_in_two_splits_and_each_is_in_one(seed):
    chosen = {split: np.concatenate(choose_digits(split, seed)) for split in SPLITS}
    everything = np.concatenate(list(chosen.values()))
    assert sorted(everything.tolist()) == list(range(1797))
    assert len(chosen["train"]) > 1000
    assert min(len(members) for split in SPLITS for members in choose_digits(split, seed)) >= 30


def test_a_scaled_digit_touches_all_four_edges_of_its_box_and_is_about_as_tall_as_asked():
    framed, _ = load_digits()
    for digit in framed[::25]:
        for height in (DIGIT_HEIGHTS[0], 29, DIGIT_HEIGHTS[1]):
            coverage = scale_digit(digit, height)
            is_ink = coverage >= 0.5
            assert is_ink[0].any()
            assert is_ink[-1].any()
            assert is_ink[:, 0].any()
            assert is_ink[:, -1].any()
            assert abs(coverage.shape[0] - height) <= max(2, 0.1 * height)


@pytest.mark.parametrize("image_size", [32, 48, 128])
def test_every_digit_fits_the_smallest_image(image_size):
    framed, _ = load_digits()
    tallest = min(DIGIT_HEIGHTS[1], image_size // 2)
    assert max(max(scale_digit(digit, tallest).shape) for digit in framed) <= image_size
    assert len(open_small(train=20, image_size=image_size).train.read(0).image[0]) == image_size


def test_boxes_bound_the_pixels_that_the_digits_changed(opened):
    """Repainted without its digits, an image differs inside the boxes alone, and up to each box's edges."""
    train = opened.train
    bare = type(train)(train.split, train.image_size, ((),) * len(train), train.truths, train.seeds)
    for index in range(len(train)):
        sample = train.read(index)
        is_changed = (sample.image != bare.read(index).image).any(dim=0)
        for left, top, right, bottom in sample.boxes_xyxy.int().tolist():
            part = is_changed[top:bottom, left:right]
            assert part[0].any()
            assert part[-1].any()
            assert part[:, 0].any()
            assert part[:, -1].any()
            is_changed[top:bottom, left:right] = False
        assert not is_changed.any()


def test_digits_stand_off_from_what_lies_under_them(opened):
    train = opened.train
    bare = type(train)(train.split, train.image_size, ((),) * len(train), train.truths, train.seeds)
    for index in range(len(train)):
        sample, before = train.read(index), bare.read(index).image.float().mean(dim=0)
        for (left, top, right, bottom), placed in zip(
            sample.boxes_xyxy.int().tolist(), train.digits[index], strict=True
        ):
            ink = sample.image.float().mean(dim=0)[top:bottom, left:right][torch.from_numpy(placed.coverage == 1)]
            # A colour cut at black or white, or painted thinner, comes a little closer.
            assert abs(ink.mean() - before[top:bottom, left:right].mean()) > 0.5 * LEAST_CONTRAST


def test_boxes_lie_inside_and_do_not_overlap(opened):
    for truth in opened.train.truths + opened.val.truths + opened.test.truths:
        taken = torch.zeros(128, 128)
        for left, top, right, bottom in truth.boxes_xyxy.int().tolist():
            assert 0 <= left < right <= 128
            assert 0 <= top < bottom <= 128
            taken[top:bottom, left:right] += 1
        assert taken.max() <= 1


def test_heights_span_the_range_and_some_images_are_empty():
    truths = open_small(train=300).train.truths
    heights = torch.cat([truth.boxes_xyxy[:, 3] - truth.boxes_xyxy[:, 1] for truth in truths])
    assert heights.min() < 14
    assert 24 < heights.median() < 34
    assert heights.max() > 58
    assert 3 <= sum(len(truth.labels) == 0 for truth in truths) <= 30
    counts = torch.bincount(torch.cat([truth.labels for truth in truths]), minlength=10)
    assert counts.min() > 0.5 * counts.max()


def test_one_seed_is_one_data_set_and_another_seed_another(opened):
    again, other = open_small(), open_small(seed=1)
    for split in SPLITS:
        one, same, changed = (getattr(each, split).read(3) for each in (opened, again, other))
        assert torch.equal(one.image, same.image)
        assert torch.equal(one.boxes_xyxy, same.boxes_xyxy)
        assert not torch.equal(one.image, changed.image)
    assert opened.identity == again.identity != other.identity


def test_the_splits_are_drawn_apart(opened):
    corners = [getattr(opened, split).read_truth(index).boxes_xyxy[:, :2] for split in SPLITS for index in range(10)]
    filled = [tuple(map(tuple, each.tolist())) for each in corners if len(each)]
    assert len(set(filled)) == len(filled)


def test_reading_an_image_twice_gives_the_same(opened):
    assert torch.equal(opened.val.read(2).image, opened.val.read(2).image)


def test_more_images_begin_with_the_same_ones(opened):
    more = open_small(train=60)
    assert torch.equal(more.train.read(39).image, opened.train.read(39).image)
    assert more.identity != opened.identity


def test_what_is_made_says_so(opened):
    assert opened.val.describe(3) == "made val[3]"
    assert opened.class_names == tuple("0123456789")
    assert opened.category_ids == tuple(range(1, 11))
    image_ids = [truth.image_id for split in SPLITS for truth in getattr(opened, split).truths]
    assert len(set(image_ids)) == 60
