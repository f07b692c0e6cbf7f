"""Shares of batches: together they are the batch, and drawing apart leaves the generators alike."""

from __future__ import annotations

import pytest
import torch

from scalesearch.data import Augmentation, DataConfig, ImageData, Share, load_data


@pytest.fixture(scope="module", params=[2048, 1], ids=["in memory", "streamed"])
def data(request: pytest.FixtureRequest) -> ImageData:
    per_class = 4 if request.param > 1 else 60
    config = DataConfig(
        patches_per_class=per_class,
        eval_patches_per_class=2,
        stored_size=64,
        memory_mib=request.param,
        loader_workers=0,
    )
    loaded = load_data(config)
    assert loaded.streams is (request.param == 1)
    return loaded


def batches(data: ImageData, share: Share | None, augmentation: Augmentation | None) -> list[tuple[torch.Tensor, ...]]:
    torch.manual_seed(3)
    given = data.train.batches(
        batch_size=22, image_size=16, augmentation=augmentation, shuffle=True, drop_last=True, share=share
    )
    return list(given)


def test_two_shares_are_the_whole_batch(data: ImageData) -> None:
    whole, one, two = (batches(data, share, None) for share in (None, Share(0, 2), Share(1, 2)))
    assert len(whole) == len(one) == len(two)
    for (images, labels), (first, first_labels), (second, second_labels) in zip(whole, one, two, strict=True):
        assert torch.equal(images[0::2], first)
        assert torch.equal(images[1::2], second)
        assert torch.equal(labels[0::2], first_labels)
        assert torch.equal(labels[1::2], second_labels)


def test_images_are_changed_apart_and_generators_stand_alike(data: ImageData) -> None:
    augmentation = Augmentation(min_crop_area=0.5, mixup_alpha=0.2)
    states = []
    for rank in (0, 1):
        batches(data, Share(rank, 2), augmentation)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
    torch.manual_seed(5)
    with Share(0, 2).apart():
        first = torch.rand(3)
    torch.manual_seed(5)
    with Share(1, 2).apart():
        assert not torch.equal(torch.rand(3), first)
