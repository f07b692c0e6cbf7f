"""Optimisation: budgets, the learning rate, what is decayed, and what is refused."""

from __future__ import annotations

import math
import re

import pytest
from torch import nn

from scalesearch.errors import ConfigError
from scalesearch.measure.optimisation import OPTIMIZERS, build_optimizer, learning_rate_factor
from scalesearch.measure.training import TrainConfig


@pytest.mark.parametrize(
    ("budget", "num_images", "steps"),
    [
        ({"steps": None, "epochs": 2, "batch_size": 10}, 39, 6),  # three whole batches a pass
        ({"steps": None, "epochs": 0.5, "batch_size": 10}, 100, 5),
        ({"steps": None, "epochs": 0.01, "batch_size": 10}, 100, 1),
        ({"steps": None, "epochs": 3, "batch_size": 64}, 40, 3),  # fewer images than a batch: one batch a pass
        ({"steps": 7, "batch_size": 10}, 100, 7),
    ],
)
def test_the_budget_is_steps_or_passes_over_whole_batches(budget, num_images, steps):
    assert TrainConfig(**budget).num_steps(num_images) == steps


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({"steps": 3, "epochs": 2.0}, "two ways to say one thing, got 3 and 2.0; set the other one to null"),
        ({"steps": None}, "train.steps or train.epochs must be given, got neither"),
    ],
)
def test_the_budget_is_given_in_exactly_one_way(budget, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        TrainConfig(**budget)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 1 / 11), (4, 5 / 11), (9, 10 / 11), (10, 1.0), (55, 0.5), (99, 0.5 * (1 + math.cos(math.pi * 89 / 90)))],
)
def test_the_learning_rate_rises_linearly_and_falls_by_half_a_cosine(step, factor):
    assert learning_rate_factor(step, 100, TrainConfig(warmup=0.1)) == pytest.approx(factor)


def test_the_learning_rate_never_passes_its_peak_and_ends_near_zero():
    config = TrainConfig(warmup=0.3)
    factors = [learning_rate_factor(step, 50, config) for step in range(50)]
    assert factors.index(max(factors)) == 15
    assert factors == sorted(factors[:15]) + sorted(factors[15:], reverse=True)
    assert 0 < min(factors) == factors[-1] < 0.01


@pytest.mark.parametrize(("warmup", "num_steps"), [(0.0, 1), (0.0, 4), (0.9, 1), (0.5, 1), (0.99, 3)])
def test_the_learning_rate_is_above_zero_and_at_most_its_peak_however_short_the_training(warmup, num_steps):
    config = TrainConfig(warmup=warmup)
    assert all(0 < learning_rate_factor(step, num_steps, config) <= 1 for step in range(num_steps))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_are_decayed_and_biases_and_batch_norm_are_not(optimizer):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4))
    built = build_optimizer(network, TrainConfig(optimizer=optimizer, weight_decay=0.3))
    decay = {id(weight): group["weight_decay"] for group in built.param_groups for weight in group["params"]}
    assert {name: decay[id(weight)] for name, weight in network.named_parameters()} == {
        name: 0.3 if weight.ndim > 1 else 0.0 for name, weight in network.named_parameters()
    }
    assert sum(len(group["params"]) for group in built.param_groups) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("optimizer", "adam", "must be one of adamw, rmsprop, sgd, got 'adam'"),
        ("learning_rate", 0, "must be above 0, got 0"),
        ("learning_rate", math.nan, "must be above 0, got nan"),
        ("epochs", -1.0, "must be above 0, got -1.0"),
        ("steps", 0, "must be above 0, got 0"),
        ("batch_size", 0, "must be above 0, got 0"),
        ("clip_norm", 0.0, "must be above 0, got 0.0"),
        ("weight_decay", -0.1, "must be in [0, 1), got -0.1"),
        ("momentum", 1.0, "must be in [0, 1), got 1.0"),
        ("warmup", 1.0, "must be in [0, 1), got 1.0"),
        ("label_smoothing", 1.5, "must be in [0, 1), got 1.5"),
        ("ema_decay", 1.0, "must be in [0, 1), got 1.0"),
        ("dropout", math.nan, "must be in [0, 1), got nan"),
        ("drop_path", -1, "must be in [0, 1), got -1"),
    ],
)
def test_a_value_outside_its_range_is_refused_by_its_key(key, value, allowed):
    with pytest.raises(ConfigError, match=re.escape(f"train.{key} {allowed}") + "$"):
        TrainConfig(**{"steps": None if key == "epochs" else 300, key: value})
