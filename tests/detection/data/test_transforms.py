import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.detection.data import BoxAugmentation, Letterbox
from scalesearch.detection.data.transforms import (
    build_mosaic,
    draw_window,
    flip,
    jitter_colour,
    keep_visible,
    letterbox,
    open_view,
    place,
    resize,
)

FILL = (1, 2, 3)
SIDES = st.integers(1, 3000)
SHARES = st.floats(0.0, 1.0)
STILL = BoxAugmentation(flip=False, min_scale=1.0, max_scale=1.0)


def boxes_of(view):
    return view.boxes.as_subclass(torch.Tensor)


def is_covered_by_its_label(view):
    """Say whether the middle of each box shows the grey that ``make_sample`` gave its label."""
    middles = (boxes_of(view)[:, :2] + boxes_of(view)[:, 2:]) / 2
    seen = [int(view.image[0, int(y), int(x)]) for x, y in middles.tolist()]
    return seen == (10 * view.labels).tolist()


@given(SIDES, SIDES, st.integers(8, 1536), st.tuples(SHARES, SHARES, SHARES, SHARES))
def test_boxes_go_into_the_square_and_back(height, width, image_size, shares):
    into = Letterbox((height, width), image_size)
    sides = torch.tensor([width, height, width, height])
    boxes = torch.tensor(shares).view(2, 2).sort(dim=0).values.flatten() * sides
    square = into.to_square(boxes)
    assert (square >= 0).all()
    assert (square <= image_size * (1 + 1e-6)).all()
    torch.testing.assert_close(into.to_picture(square), boxes, atol=1e-3, rtol=0)


@given(SIDES, SIDES, st.integers(8, 1536))
def test_the_longer_side_fills_the_square(height, width, image_size):
    size = Letterbox((height, width), image_size).size
    assert max(size) == image_size
    assert min(size) >= 1


def test_a_prediction_outside_the_picture_is_cut_at_its_edge():
    into = Letterbox((30, 40), 80)
    assert into.to_picture(torch.tensor([[-4.0, 10.0, 90.0, 75.0]])).tolist() == [[0.0, 5.0, 40.0, 30.0]]


def test_a_picture_lies_in_the_upper_left_corner_and_the_rest_is_filled(make_sample):
    view = open_view(make_sample([(10, 5, 30, 20), (0, 0, 40, 30)], labels=[5, 6]))
    square = letterbox(view, Letterbox((30, 40), 80), FILL)
    assert square.image.shape == (3, 80, 80)
    assert (square.image[:, 60:] == torch.tensor(FILL, dtype=torch.uint8).view(3, 1, 1)).all()
    assert boxes_of(square).tolist() == [[20.0, 10.0, 60.0, 40.0], [0.0, 0.0, 80.0, 60.0]]
    assert square.boxes.canvas_size == (80, 80)


def test_a_stored_copy_lands_where_its_original_would(make_sample):
    into = Letterbox((301, 407), 64)
    boxes = torch.tensor([[17.0, 33.0, 210.0, 250.0]])
    copy = open_view(make_sample((boxes / 3).tolist(), height=100, width=136))
    landed = letterbox(copy, into, FILL)
    assert landed.image.shape == (3, 64, 64)
    torch.testing.assert_close(boxes_of(landed), into.to_square(boxes), atol=0.2, rtol=0)


def test_crowds_are_not_trained_on(make_sample):
    view = open_view(make_sample([(0, 0, 9, 9), (5, 5, 9, 9), (1, 1, 4, 4)], crowds=(1,)))
    assert view.labels.tolist() == [0, 2]
    assert boxes_of(view).tolist() == [[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 4.0, 4.0]]


def test_flipping_moves_boxes_with_their_pixels_and_twice_is_nothing(make_sample):
    view = open_view(make_sample([(3, 5, 10, 20)], labels=[7]))
    once, twice = flip(view), flip(flip(view))
    assert boxes_of(once).tolist() == [[30.0, 5.0, 37.0, 20.0]]
    assert is_covered_by_its_label(once)
    assert torch.equal(twice.image, view.image)
    assert torch.equal(boxes_of(twice), boxes_of(view))


def test_resizing_scales_each_direction_by_its_own_factor(make_sample):
    resized = resize(open_view(make_sample([(10, 5, 30, 20)])), (60, 20))
    assert resized.image.shape == (3, 60, 20)
    assert boxes_of(resized).tolist() == [[5.0, 10.0, 15.0, 40.0]]


@pytest.mark.parametrize(("top", "left"), [(0, 0), (-6, 4), (7, -11), (-10, -20), (20, 30)])
def test_a_placed_picture_is_cut_and_filled_to_the_pixel(make_sample, top, left):
    view = open_view(make_sample([(10, 5, 30, 20)], labels=[7]))
    placed = place(view, (25, 35), top=top, left=left, fill=FILL)
    expected = torch.tensor(FILL, dtype=torch.uint8).view(3, 1, 1).repeat(1, 25, 35)
    for row in range(max(0, top), min(25, top + 30)):
        for column in range(max(0, left), min(35, left + 40)):
            expected[:, row, column] = view.image[:, row - top, column - left]
    assert torch.equal(placed.image, expected)
    moved = [(10 + left, 35), (5 + top, 25), (30 + left, 35), (20 + top, 25)]
    assert boxes_of(placed).tolist() == [[min(max(corner, 0), end) for corner, end in moved]]


@pytest.mark.parametrize(("share", "kept"), [(0.25, [0, 1]), (0.5, [0, 1]), (0.51, [0])])
def test_a_box_of_which_too_little_is_left_is_dropped(make_sample, share, kept):
    whole = open_view(make_sample([(20, 0, 40, 10), (0, 0, 20, 10), (0, 0, 10, 10)]))
    placed = place(whole, (30, 40), top=0, left=-10, fill=FILL)
    visible = keep_visible(placed, whole, share)
    assert visible.labels.tolist() == kept
    assert boxes_of(visible)[0].tolist() == [10.0, 0.0, 30.0, 10.0]
    assert visible.boxes.canvas_size == (30, 40)


def test_a_box_of_less_than_a_pixel_is_dropped(make_sample):
    whole = open_view(make_sample([(0, 0, 0.9, 20), (0, 0, 1, 20)]))
    assert keep_visible(whole, whole, 0.25).labels.tolist() == [1]


def test_scales_and_places_are_drawn_from_the_whole_range(make_sample):
    view = open_view(make_sample([(0, 0, 40, 40)], height=40, width=40))
    augmentation = BoxAugmentation(flip=False, min_scale=0.25, max_scale=2.0, min_visible_share=0.01)
    torch.manual_seed(0)
    drawn = [boxes_of(draw_window(view, (40, 40), 40, augmentation, FILL))[0] for _ in range(300)]
    widths = torch.stack([box[2] - box[0] for box in drawn])
    assert 10 <= widths.min() < 12
    assert widths.max() == 40
    small = torch.stack([box for box in drawn if box[2] - box[0] < 20])
    assert small[:, :2].min() < 3
    assert small[:, 2:].max() > 37


def test_scale_1_of_a_picture_that_fits_moves_nothing(make_sample):
    view = open_view(make_sample([(10, 5, 30, 20)], height=40, width=40))
    drawn = draw_window(view, (40, 40), 40, STILL, FILL)
    assert torch.equal(drawn.image, view.image)
    assert torch.equal(boxes_of(drawn), boxes_of(view))


def test_about_half_of_the_windows_are_mirrored(make_sample):
    view = open_view(make_sample([(0, 0, 10, 10)], height=40, width=40))
    augmentation = BoxAugmentation(flip=True, min_scale=1.0, max_scale=1.0)
    torch.manual_seed(0)
    lefts = [float(boxes_of(draw_window(view, (40, 40), 40, augmentation, FILL))[0, 0]) for _ in range(100)]
    assert set(lefts) == {0.0, 30.0}
    assert 30 < lefts.count(30.0) < 70


@pytest.mark.parametrize("image_size", [8, 33, 96])
def test_a_mosaic_keeps_every_box_inside_and_on_its_own_pixels(make_sample, image_size):
    sizes = [(40, 40), (30, 60), (64, 20), (16, 16)]
    views = [
        open_view(
            make_sample([(2, 2, 12, 10), (0, 0, 15, 15)][: n % 3], height=h, width=w, labels=[n, n + 10][: n % 3])
        )
        for n, (h, w) in enumerate(sizes)
    ]
    for seed in range(20):
        torch.manual_seed(seed)
        mosaic = build_mosaic(views, image_size, BoxAugmentation(min_scale=0.3, max_scale=2.0), FILL)
        assert mosaic.image.shape == (3, image_size, image_size)
        assert mosaic.boxes.canvas_size == (image_size, image_size)
        assert len(mosaic.labels) == len(mosaic.boxes)
        assert (boxes_of(mosaic) >= 0).all()
        assert (boxes_of(mosaic) <= image_size).all()
        assert (boxes_of(mosaic)[:, 2:] - boxes_of(mosaic)[:, :2] >= 1).all()


def test_a_mosaic_shows_each_box_where_its_label_is(make_sample):
    views = [open_view(make_sample([(0, 0, 40, 40)], height=40, width=40, labels=[n + 1])) for n in range(4)]
    for seed in range(20):
        torch.manual_seed(seed)
        mosaic = build_mosaic(views, 40, BoxAugmentation(min_scale=0.5, max_scale=2.0, min_visible_share=0.01), FILL)
        assert is_covered_by_its_label(mosaic)


def test_a_mosaic_without_a_box_is_no_special_case(make_sample):
    mosaic = build_mosaic([open_view(make_sample([]))] * 4, 32, STILL, FILL)
    assert mosaic.boxes.shape == (0, 4)
    assert mosaic.labels.shape == (0,)


def test_jittered_colours_change_pixels_alone(make_sample):
    view = open_view(make_sample([(10, 5, 30, 20)], labels=[7]))
    torch.manual_seed(0)
    jittered = jitter_colour(view, 0.5)
    assert jittered.image.dtype == torch.uint8
    assert not torch.equal(jittered.image, view.image)
    assert torch.equal(boxes_of(jittered), boxes_of(view))
