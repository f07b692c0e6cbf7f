import pytest
import torch

from scalesearch.detection.data.storing import StoredSource, shrink


@pytest.fixture
def source(make_sample, make_source):
    return make_source([make_sample([(10, 5, 30, 20)], height=60, width=80, image_id=n) for n in range(3)])


def test_a_larger_picture_is_shrunk_with_its_boxes(make_sample):
    sample = shrink(make_sample([(10, 5, 30, 20)], height=60, width=80), 40)
    assert sample.image.shape == (3, 30, 40)
    assert sample.boxes_xyxy.tolist() == [[5.0, 2.5, 15.0, 10.0]]
    assert sample.original_size == (60, 80)
    assert sample.areas.tolist() == [300.0]


def test_a_smaller_picture_stays_as_it_is(make_sample):
    sample = make_sample([(10, 5, 30, 20)])
    assert shrink(sample, 40) is sample


def test_a_side_is_never_shrunk_to_nothing(make_sample):
    sample = shrink(make_sample([(0, 0, 1, 1000)], height=1000, width=1), 50)
    assert sample.image.shape == (3, 50, 1)
    assert sample.boxes_xyxy.tolist() == [[0.0, 0.0, 1.0, 50.0]]


def test_a_picture_is_decoded_once(source):
    stored = StoredSource(source, stored_size=640, memory_limit=2**20)
    first, again = stored.read(2), stored.read(2)
    assert first is again
    assert source.reads == [2]


def test_what_does_not_fit_is_decoded_each_time(source):
    one_picture = 3 * 30 * 40
    stored = StoredSource(source, stored_size=40, memory_limit=2 * one_picture)
    passes = [[stored.read(index) for index in range(3)] for _ in range(2)]
    assert source.reads == [0, 1, 2, 2]
    assert stored.kept_bytes == 2 * one_picture
    for one, other in zip(*passes, strict=True):
        assert torch.equal(one.image, other.image)


def test_the_truth_stays_in_the_original_pixels(source):
    stored = StoredSource(source, stored_size=40, memory_limit=0)
    assert stored.read_truth(1).boxes_xyxy.tolist() == [[10.0, 5.0, 30.0, 20.0]]
    assert (len(stored), stored.describe(1)) == (3, "sample 1")
    assert source.reads == []
