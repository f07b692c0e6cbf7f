import pytest
import torch

from scalesearch.detection.data import BoxAugmentation, Letterbox, box_batches
from scalesearch.detection.data.storing import StoredSource
from scalesearch.errors import DataError

ALL = BoxAugmentation(min_scale=0.1, max_scale=2.0, mosaic_share=0.5, colour_jitter=0.4)


@pytest.fixture
def source(make_sample, make_source):
    """Five pictures of different sizes with 0 to 4 boxes; the first box of each is a crowd."""
    return make_source(
        [
            make_sample(
                [(n, n, 10 + n, 12), (0, 0, 9, 9), (3, 4, 8, 9), (1, 1, 30, 20)][:n],
                height=30 + 10 * n,
                width=60 - 5 * n,
                crowds=(0,),
                image_id=100 + n,
            )
            for n in range(5)
        ]
    )


def collect(source, grey, *, batch_size=2, image_size=48, augmentation=None, shuffle=False, drop_last=False):
    settings = {"augmentation": augmentation, "shuffle": shuffle, "drop_last": drop_last}
    return list(box_batches(source, grey, batch_size=batch_size, image_size=image_size, **settings))


def test_every_picture_comes_once_in_order(source, grey):
    batches = collect(source, grey)
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.cat([batch.image_ids for batch in batches]).tolist() == [100, 101, 102, 103, 104]
    assert batches[0].images.shape == (2, 3, 48, 48)
    assert batches[0].images.dtype == torch.float32


def test_evaluation_has_every_box_but_the_crowds_and_the_way_back(source, grey):
    (batch,) = collect(source, grey, batch_size=5)
    for index in range(5):
        truth = source.read_truth(index)
        back = batch.letterboxes[index].to_picture(batch.boxes_xyxy[index])
        torch.testing.assert_close(back, truth.boxes_xyxy[~truth.is_crowd], atol=1e-3, rtol=0)
        assert batch.labels[index].tolist() == truth.labels[~truth.is_crowd].tolist()
    assert batch.letterboxes[2] == Letterbox((50, 50), 48)


def test_the_way_back_leads_to_the_original_pixels_of_a_stored_copy(source, grey):
    stored = StoredSource(source, stored_size=33, memory_limit=2**20)
    (batch,) = collect(stored, grey, batch_size=5)
    for index in range(5):
        truth = source.read_truth(index)
        back = batch.letterboxes[index].to_picture(batch.boxes_xyxy[index])
        torch.testing.assert_close(back, truth.boxes_xyxy[~truth.is_crowd], atol=1e-3, rtol=0)


def test_a_box_too_small_for_a_pixel_is_kept_in_evaluation(make_sample, make_source, grey):
    source = make_source([make_sample([(0, 0, 1, 1)], height=900, width=900)])
    (batch,) = collect(source, grey)
    assert len(batch.labels[0]) == 1


def test_where_there_is_no_picture_the_batch_is_nearly_0(source, grey):
    (batch,) = collect(source, grey, batch_size=5)
    # 30 x 60 pixels in a square: below the picture there is fill, a half rounded to whole grey levels.
    assert batch.images[0, :, 24:].abs().max() < 0.01


@pytest.mark.parametrize("augmentation", [None, BoxAugmentation(), BoxAugmentation(mosaic_share=1.0), ALL])
def test_empty_pictures_go_through(make_sample, make_source, grey, augmentation):
    (batch,) = collect(make_source([make_sample([])] * 3), grey, batch_size=3, augmentation=augmentation)
    assert batch.images.shape == (3, 3, 48, 48)
    for boxes, labels in zip(batch.boxes_xyxy, batch.labels, strict=True):
        assert (boxes.shape, boxes.dtype) == ((0, 4), torch.float32)
        assert (labels.shape, labels.dtype) == ((0,), torch.int64)


def test_augmented_boxes_are_plain_tensors_inside_the_square(source, grey):
    torch.manual_seed(0)
    for batch in [batch for _ in range(10) for batch in collect(source, grey, augmentation=ALL)]:
        assert batch.letterboxes == []
        for boxes in batch.boxes_xyxy:
            assert type(boxes) is torch.Tensor
            assert (boxes >= 0).all()
            assert (boxes <= 48).all()
            assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


def test_one_seed_is_one_pass_bit_for_bit_and_another_seed_another(source, grey):
    def run(seed):
        torch.manual_seed(seed)
        return collect(source, grey, augmentation=ALL, shuffle=True)

    first, again, other = run(0), run(0), run(1)
    for one, same in zip(first, again, strict=True):
        assert torch.equal(one.images, same.images)
        assert torch.equal(one.image_ids, same.image_ids)
        assert all(map(torch.equal, one.boxes_xyxy, same.boxes_xyxy))
        assert all(map(torch.equal, one.labels, same.labels))
    assert any(not torch.equal(one.images, changed.images) for one, changed in zip(first, other, strict=True))


def test_evaluation_draws_nothing(source, grey):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    collect(source, grey)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_pass_leaves_the_stored_pictures_as_they_were(source, grey):
    before = [(sample.image.clone(), sample.boxes_xyxy.clone()) for sample in source.samples]
    collect(source, grey, augmentation=ALL)
    collect(source, grey)
    for sample, (image, boxes) in zip(source.samples, before, strict=True):
        assert torch.equal(sample.image, image)
        assert torch.equal(sample.boxes_xyxy, boxes)


def test_shuffling_draws_an_order_of_all_pictures(source, grey):
    torch.manual_seed(0)
    orders = [torch.cat([batch.image_ids for batch in collect(source, grey, shuffle=True)]).tolist() for _ in range(5)]
    assert all(sorted(order) == [100, 101, 102, 103, 104] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_a_smaller_last_batch_can_be_left_out(source, grey):
    assert [len(batch) for batch in collect(source, grey, drop_last=True)] == [2, 2]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "batch_size and image_size must be at least 1, got 0 and 48"),
        ({"image_size": 7}, "image_size must be at least 8, got 7"),
        ({"batch_size": 6, "drop_last": True}, "batch_size must be at most the 5 images when drop_last is on, got 6"),
    ],
)
def test_a_pass_that_cannot_be_made_is_refused_before_it_begins(source, grey, settings, sentence):
    defaults = {"batch_size": 2, "image_size": 48, "augmentation": None, "shuffle": False, "drop_last": False}
    with pytest.raises(DataError, match=sentence):
        box_batches(source, grey, **defaults | settings)


def test_mosaics_come_in_the_asked_for_share(make_sample, make_source, grey):
    source = make_source([make_sample([])])
    torch.manual_seed(0)
    for _ in range(200):
        collect(source, grey, augmentation=BoxAugmentation(mosaic_share=0.25), batch_size=1)
    num_mosaics = (len(source.reads) - 200) / 3
    assert 30 < num_mosaics < 70
