import numpy as np
import pytest

from scalesearch.detection.data.sample import BoxSubset


@pytest.fixture
def source(make_sample, make_source):
    return make_source([make_sample([(0, 0, 5, 5 + n)], image_id=n) for n in range(5)])


def test_a_subset_gives_its_pictures_in_its_own_order(source):
    subset = BoxSubset(source, np.array([3, 1]))
    assert len(subset) == 2
    assert [subset.read(index).image_id for index in range(2)] == [3, 1]
    assert [subset.read_truth(index).image_id for index in range(2)] == [3, 1]
    assert subset.describe(1) == "sample 1"


def test_a_truth_without_as_many_labels_as_boxes_is_our_mistake(make_sample):
    sample = make_sample([(0, 0, 5, 5)])
    with pytest.raises(AssertionError):
        type(sample)(
            **{name: getattr(sample, name) for name in sample.__dataclass_fields__} | {"labels": sample.areas[:0]}
        )
