"""One loop, explicit: budgets, optimisers, schedule, running mean, clipping, failures, evaluation."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scalesearch.arch import ArchSpec
from scalesearch.data import Augmentation, DataConfig, ImageData, load_data
from scalesearch.data.split import MemorySplit
from scalesearch.data.transforms import Normalisation
from scalesearch.errors import DivergenceError
from scalesearch.measure.optimisation import OPTIMIZERS
from scalesearch.measure.steps import Callbacks
from scalesearch.measure.training import TrainConfig, evaluate, fit
from scalesearch.nn import build_network

SIZE = 16
TINY = ArchSpec.from_blocks(
    ["ds_r1_k3_s2_c8_se0.25", "ir_r2_k3_s1_e2_c8"], stem_channels=8, head_channels=16, image_size=SIZE, stem_stride=1
)
PLAIN = Augmentation(crop_padding=0.0, flip=False)


@pytest.fixture(scope="module")
def patches() -> ImageData:
    return load_data(DataConfig(patches_per_class=4, eval_patches_per_class=2, stored_size=SIZE))


@pytest.fixture(scope="module")
def shades() -> MemorySplit:
    """Two classes that one look tells apart: dark and bright noise."""
    generator = torch.Generator().manual_seed(0)
    dark, bright = (torch.randint(low, low + 100, (16, 3, SIZE, SIZE), generator=generator) for low in (0, 150))
    images = torch.cat([dark, bright]).to(torch.uint8).numpy()
    return MemorySplit(images, torch.arange(32) // 16, Normalisation((0.5,) * 3, (0.25,) * 3), 2)


def new_network(num_classes: int = 11, seed: int = 0, **regularisation: float) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(TINY, num_classes, **regularisation)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def train(data: ImageData, seed: int, **changes: Any) -> dict[str, Tensor]:
    network = new_network(seed=seed, dropout=0.2, drop_path=0.2)
    fit(network, data.train, TrainConfig(steps=3, batch_size=16, **changes), image_size=SIZE)
    return weights_of(network)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema_decay": 0.9, "clip_norm": 1.0},
        {"augmentation": Augmentation(min_crop_area=0.5, randaugment_ops=1, mixup_alpha=0.2, cutmix_alpha=1.0)},
    ],
    ids=["plain", "ema and clipping", "all augmentation"],
)
def test_one_seed_gives_one_set_of_weights_bit_for_bit_and_another_seed_another(patches, changes):
    first, again, other = (train(patches, seed, **changes) for seed in (0, 0, 1))
    assert are_equal(first, again)
    assert not are_equal(first, other)


def test_the_seed_also_decides_order_and_augmentation(patches):
    results = []
    for seed in (0, 1):
        network = new_network(seed=0)
        torch.manual_seed(seed)
        fit(network, patches.train, TrainConfig(steps=2, batch_size=16), image_size=SIZE)
        results.append(weights_of(network))
    assert not are_equal(*results)


@pytest.mark.parametrize("budget", [{"steps": None, "epochs": 2.5}, {"steps": 5}, {"steps": 7}])
def test_training_takes_the_steps_of_its_budget_and_tells_of_each(patches, budget):
    config = TrainConfig(batch_size=20, **budget)  # two batches a pass of 44 images
    told = []
    info = fit(
        new_network(),
        patches.train,
        config,
        image_size=SIZE,
        callbacks=Callbacks(on_step=lambda *step: told.append(step)),
    )
    assert info.steps == config.num_steps(44) == (budget["steps"] or 5)
    assert told == [(step, info.steps) for step in range(1, info.steps + 1)]
    assert info.train_seconds > 0


def test_a_batch_larger_than_the_training_split_is_all_of_it(patches):
    sizes = []
    network = new_network()
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    fit(network, patches.train, TrainConfig(steps=2, batch_size=1000), image_size=SIZE)
    assert sizes == [44, 44]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_learns_to_tell_dark_from_bright(shades, optimizer):
    rate = {"sgd": 0.1, "rmsprop": 0.01, "adamw": 0.01}[optimizer]
    network = new_network(num_classes=2)
    before = evaluate(network, shades, image_size=SIZE)
    config = TrainConfig(optimizer=optimizer, learning_rate=rate, steps=30, batch_size=32, augmentation=PLAIN)
    info = fit(network, shades, config, image_size=SIZE)
    after = evaluate(network, shades, image_size=SIZE)
    assert info.loss < 0.5 * math.log(2)
    assert after.loss < 0.5 * before.loss
    assert after.top1 == 1.0


def test_the_loss_told_is_the_mean_of_the_last_tenth(shades):
    config = TrainConfig(learning_rate=1e-12, weight_decay=0, steps=20, batch_size=32, augmentation=PLAIN)
    network = new_network(num_classes=2).train()
    batch = next(
        shades.batches(batch_size=32, image_size=SIZE, augmentation=None, shuffle=False, drop_last=False)
    )  # every batch is the whole split, so every loss is the same
    loss = nn.functional.cross_entropy(network(batch[0]), batch[1]).item()
    assert fit(network, shades, config, image_size=SIZE).loss == pytest.approx(loss, rel=1e-4)


def weights_of_each_step(network, images, config):
    seen = []
    told = Callbacks(on_step=lambda *_: seen.append(weights_of(network)))
    fit(network, images.train, config, image_size=SIZE, callbacks=told)
    return seen


def test_without_a_running_mean_the_last_weights_are_kept(patches):
    network = new_network()
    seen = weights_of_each_step(network, patches, TrainConfig(steps=3, batch_size=16))
    assert are_equal(weights_of(network), seen[-1])
    assert not are_equal(seen[0], seen[-1])


@pytest.mark.parametrize("decay", [0.05, 0.99])
def test_with_a_running_mean_its_weights_and_buffers_are_kept(patches, decay):
    network = new_network()
    seen = weights_of_each_step(
        network, patches, TrainConfig(steps=4, batch_size=16, learning_rate=0.05, ema_decay=decay)
    )
    mean = seen[0]
    for count, weights in enumerate(seen[1:], start=1):
        keep = min(decay, (1 + count) / (10 + count))
        mean = {
            name: keep * mean[name] + (1 - keep) * value if value.is_floating_point() else value
            for name, value in weights.items()
        }
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, mean[name], rtol=1e-4, atol=1e-6)
    assert not are_equal(weights_of(network), seen[-1])


EVERY_RANDOMNESS = {
    "augmentation": Augmentation(min_crop_area=0.5, randaugment_ops=1, mixup_alpha=0.2, cutmix_alpha=1.0)
}


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, EVERY_RANDOMNESS], ids=["plain", "ema", "augmentation"])
def test_a_training_that_passes_its_rungs_ends_bit_for_bit_as_one_without(patches, changes):
    config = TrainConfig(steps=6, batch_size=16, **changes)
    asked, weights = [], []

    def read(steps: int, network: nn.Module) -> bool:
        asked.append((steps, evaluate(network, patches.val, image_size=SIZE).num_images))
        torch.rand(7)  # even a reading that draws does not move the training
        return True

    for keys in ({}, {"rungs": (2, 4, 6), "keep_on": read}):
        network = new_network(dropout=0.2, drop_path=0.2)
        info = fit(network, patches.train, config, image_size=SIZE, callbacks=Callbacks(**keys))
        weights.append(weights_of(network))
        assert info.steps == 6
    assert are_equal(*weights)
    assert asked == [(2, len(patches.val)), (4, len(patches.val))]  # nothing is left to stop at the last step


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_training_that_is_stopped_keeps_the_network_that_was_read_and_tells_its_steps(patches, ema_decay):
    read, told = [], []

    def stop_at_the_second(steps: int, network: nn.Module) -> bool:
        read.append(weights_of(network))
        return steps < 4

    network = new_network()
    config = TrainConfig(steps=9, batch_size=16, ema_decay=ema_decay)
    info = fit(
        network,
        patches.train,
        config,
        image_size=SIZE,
        callbacks=Callbacks(on_step=lambda step, _: told.append(step), rungs=(2, 4, 8), keep_on=stop_at_the_second),
    )
    assert info.steps == 4
    assert told == [1, 2, 3, 4]
    assert are_equal(weights_of(network), read[1])
    assert not are_equal(*read)


def take_one_sgd_step(data: ImageData, **changes: Any) -> float:
    """Return the length of one step of plain gradient descent with a learning rate of 1."""
    network = new_network()
    before = copy.deepcopy(list(network.parameters()))
    plain = {"optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0}
    fit(network, data.train, TrainConfig(**plain, steps=1, batch_size=44, **changes), image_size=SIZE)
    moved = [after.detach() - old for after, old in zip(network.parameters(), before, strict=True)]
    return math.sqrt(sum((change**2).sum().item() for change in moved))


def test_clipping_bounds_the_update(patches):
    free = take_one_sgd_step(patches)
    assert free > 0.1
    assert take_one_sgd_step(patches, clip_norm=0.01) == pytest.approx(0.01, rel=1e-3)
    assert take_one_sgd_step(patches, clip_norm=2 * free) == pytest.approx(free, rel=1e-5)


@pytest.mark.parametrize("augmentation", [Augmentation(mixup_alpha=0.4), Augmentation(cutmix_alpha=1.0)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_soft_targets_and_label_smoothing_train(patches, augmentation, label_smoothing):
    config = TrainConfig(steps=2, batch_size=22, augmentation=augmentation, label_smoothing=label_smoothing)
    network = new_network()
    before = weights_of(network)
    info = fit(network, patches.train, config, image_size=SIZE)
    assert math.isfinite(info.loss)
    assert not are_equal(before, weights_of(network))


def test_label_smoothing_keeps_the_loss_of_a_learnt_problem_up(shades):
    losses = []
    for smoothing in (0.0, 0.5):
        config = TrainConfig(learning_rate=0.02, steps=30, batch_size=32, augmentation=PLAIN, label_smoothing=smoothing)
        losses.append(fit(new_network(num_classes=2), shades, config, image_size=SIZE).loss)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))  # half of each target is spread over two classes
    assert losses[0] < entropy - 1e-3 < losses[1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_is_not_finite_ends_the_training_at_its_step(patches, optimizer):
    config = TrainConfig(optimizer=optimizer, learning_rate=1e30, warmup=0.0, steps=6, batch_size=16)
    with pytest.raises(DivergenceError, match=r"^the loss was (nan|inf) at step [2-6] of 6$"):
        fit(new_network(), patches.train, config, image_size=SIZE)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_weights_stay_channels_last(patches, ema_decay):
    network = new_network()
    fit(network, patches.train, TrainConfig(steps=2, batch_size=16, ema_decay=ema_decay), image_size=SIZE)
    kernels = [weight for weight in network.parameters() if weight.ndim == 4 and min(weight.shape[1:]) > 1]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_a_network_is_in_training_mode_after_training(patches):
    network = new_network().eval()
    fit(network, patches.train, TrainConfig(steps=1, batch_size=16), image_size=SIZE)
    assert network.training


class Brightness(nn.Module):
    """Says 1 for an image whose mean is above 0, else 0."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


@pytest.mark.parametrize("batch_size", [1, 7, 30, 31, 32, 1000])
def test_evaluation_counts_every_image_once_however_the_batches_fall(shades, batch_size):
    labels = shades.labels.clone()
    labels[-3:] = 0  # the last, incomplete batches hold the mistakes
    info = evaluate(
        Brightness(),
        MemorySplit(shades.images, labels, shades.normalisation, 2),
        image_size=SIZE,
        batch_size=batch_size,
    )
    whole = evaluate(Brightness(), shades, image_size=SIZE)
    assert (info.top1, info.num_images) == (29 / 32, 32)
    assert (whole.top1, whole.num_images) == (1.0, 32)
    assert info.loss > whole.loss


def test_the_loss_of_an_evaluation_is_the_mean_over_images(shades):
    images, targets = next(
        shades.batches(batch_size=32, image_size=SIZE, augmentation=None, shuffle=False, drop_last=False)
    )
    mean = float(nn.functional.cross_entropy(Brightness()(images), targets))
    assert evaluate(Brightness(), shades, image_size=SIZE, batch_size=5).loss == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_changes_neither_mode_nor_weights_nor_buffers(patches, training):
    network = new_network(dropout=0.5).train(training)
    before = weights_of(network)
    first, again = (evaluate(network, patches.val, image_size=SIZE) for _ in range(2))
    assert first == again  # dropout is off
    assert network.training is training
    assert are_equal(before, weights_of(network))


def test_a_network_that_was_evaluated_first_can_be_trained(patches):
    network = new_network()
    evaluate(network, patches.val, image_size=SIZE)
    fit(network, patches.train, TrainConfig(steps=1, batch_size=16), image_size=SIZE)
    assert math.isfinite(evaluate(network, patches.val, image_size=SIZE).loss)


def test_outputs_that_are_not_finite_are_no_accuracy(shades):
    network = nn.Sequential(Brightness(), nn.Threshold(1e9, math.nan))
    with pytest.raises(DivergenceError, match="outputs on the evaluation images are not finite"):
        evaluate(network, shades, image_size=SIZE)
