import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.detection.data.cleaning import (
    NO_AREA,
    NO_BOX,
    OUTSIDE,
    StatedBox,
    Tally,
    UnusableBoxError,
    build_truth,
)

HEIGHT, WIDTH = 30, 40
NUMBERS = st.floats(min_value=-1e6, max_value=1e6) | st.sampled_from([0.0, 30.0, 40.0, math.nan, math.inf])


def stated(*corners, area=None):
    return StatedBox(corners, label=0, is_crowd=False, area=area)


def test_a_box_inside_is_kept_to_the_last_pixel():
    tally = Tally()
    assert tally.clean(stated(0.0, 0.0, 40.0, 30.0), (HEIGHT, WIDTH)).corners == (0.0, 0.0, 40.0, 30.0)
    assert (tally.clipped, dict(tally.dropped)) == (0, {})


def test_a_box_that_reaches_out_is_cut_and_counted():
    tally = Tally()
    assert tally.clean(stated(-3.0, 5.0, 50.0, 31.0), (HEIGHT, WIDTH)).corners == (0.0, 5.0, 40.0, 30.0)
    assert tally.clipped == 1


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((5.0, 5.0, 5.0, 9.0), NO_AREA),
        ((5.0, 9.0, 8.0, 5.0), NO_AREA),
        # Some width in 8 bytes, none in the 4 that are stored.
        ((500.0, 5.0, 500.000001, 9.0), NO_AREA),
        ((40.0, 5.0, 44.0, 9.0), OUTSIDE),
        ((-9.0, 5.0, 0.0, 9.0), OUTSIDE),
        ((math.nan, 5.0, 8.0, 9.0), NO_BOX),
        ((1.0, 5.0, math.inf, 9.0), NO_BOX),
    ],
)
def test_a_box_that_cannot_be_used_says_why(corners, reason):
    with pytest.raises(UnusableBoxError, match=reason):
        Tally().clean(stated(*corners), (HEIGHT, WIDTH))


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_whatever_is_kept_lies_inside_with_an_area(corners):
    try:
        cleaned = Tally().clean(stated(*corners), (HEIGHT, WIDTH))
    except UnusableBoxError:
        return
    ((x1, y1, x2, y2),) = build_truth(1, (HEIGHT, WIDTH), [cleaned]).boxes_xyxy.tolist()
    assert 0 <= x1 < x2 <= WIDTH
    assert 0 <= y1 < y2 <= HEIGHT


def test_losses_are_counted_by_reason_and_no_loss_is_no_reason():
    tally = Tally()
    tally.drop(UnusableBoxError(OUTSIDE))
    tally.drop(OUTSIDE, 2)
    tally.drop(NO_AREA, 0)
    assert dict(tally.dropped) == {OUTSIDE: 3}


def test_an_area_is_the_stated_one_or_else_the_boxs_own():
    truth = build_truth(1, (HEIGHT, WIDTH), [stated(1.0, 2.0, 4.0, 6.0, area=7.0), stated(1.0, 2.0, 4.0, 6.0)])
    assert truth.areas.tolist() == [7.0, 12.0]


def test_a_picture_without_a_box_has_tensors_of_the_same_types():
    truth = build_truth(1, (HEIGHT, WIDTH), [])
    assert truth.boxes_xyxy.shape == (0, 4)
    types = (truth.boxes_xyxy.dtype, truth.labels.dtype, truth.is_crowd.dtype, truth.areas.dtype)
    assert types == (torch.float32, torch.int64, torch.bool, torch.float32)
