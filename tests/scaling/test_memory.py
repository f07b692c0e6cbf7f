"""What a pass takes, the memory a training takes at least, and trainings refused for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from scalesearch.arch import ArchSpec, ScalingFactors, network_cost, scale_arch
from scalesearch.errors import ConfigError
from scalesearch.measure import available_memory
from scalesearch.measure.memory import peak_memory_mib
from scalesearch.measure.memory_floor import memory_floor_mib
from scalesearch.measure.training import TrainConfig
from scalesearch.nn import build_network
from scalesearch.scaling import memory as memory_file
from scalesearch.scaling.memory import available_gib, check_memory, check_trainings, pass_memory_mib
from scalesearch.study.settings import StudyConfig
from tests.scaling.test_limits import TINY
from tests.study.stand_ins import settings


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_pass_traced_on_shapes_takes_what_the_built_network_does(batch_size: int) -> None:
    before = torch.get_rng_state()
    traced = pass_memory_mib(TINY, num_classes=10, batch_size=batch_size)
    assert torch.equal(torch.get_rng_state(), before)
    assert traced == peak_memory_mib(build_network(TINY, 10), 16, batch_size)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_pass_on_cuda_leaves_the_random_state_and_takes_the_weights_at_least() -> None:
    before = torch.get_rng_state()
    peak = pass_memory_mib(TINY, num_classes=10, device="cuda")
    assert torch.equal(torch.get_rng_state(), before)
    assert peak > 4 * network_cost(TINY, num_classes=10).params / 2**20


def test_the_memory_of_a_training_is_that_of_its_weights_and_kept_activations() -> None:
    cost = network_cost(TINY, num_classes=10)
    by_images = [memory_floor_mib(TINY, batch_size, num_classes=10) * 2**20 for batch_size in (1, 2)]
    assert by_images[1] - by_images[0] == 4 * 3 * cost.acts
    assert 2 * by_images[0] - by_images[1] == 4 * 4 * cost.params  # weights, gradients, two running means of adamw
    sgd = memory_floor_mib(TINY, 1, num_classes=10, optimizer="sgd", averaged=True, amp=True) * 2**20
    assert sgd == 4 * 4 * cost.params + 2 * 3 * cost.acts


@pytest.mark.parametrize("activation", ["silu", "relu", "hardswish"])
def test_autograd_keeps_at_least_what_is_predicted(activation: Any) -> None:
    arch = ArchSpec.from_dict({**TINY.to_dict(), "activation": activation})
    network, kept = build_network(arch, 10).train(), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(torch.rand(4, 3, 16, 16)).sum()
    cost = network_cost(arch, num_classes=10)
    predicted = memory_floor_mib(arch, 4, num_classes=10, optimizer="adamw") * 2**20 - 4 * 4 * cost.params
    activations = sum(kept.values()) - 4 * cost.params
    assert loss.requires_grad
    assert 0.8 * activations < predicted < 1.1 * activations


def test_a_training_that_cannot_fit_is_refused_with_both_figures() -> None:
    check_memory(TINY, 64, memory_floor_mib(TINY, 64))
    here = available_gib()
    per_image_mib = memory_floor_mib(TINY, 2) - memory_floor_mib(TINY, 1)
    batch_size = math.ceil(here * 1024 / per_image_mib)
    needed = memory_floor_mib(TINY, batch_size) / 1024
    sentence = (
        rf"^training 3 blocks at 16 px in batches of {batch_size} takes at least {needed:,.1f} GiB of memory, and cpu"
        rf" has {here:,.1f} GiB; make train\.batch_size or the network smaller$"
    )
    with pytest.raises(ConfigError, match=sentence):
        check_memory(TINY, batch_size, memory_floor_mib(TINY, batch_size))


def test_trainings_at_once_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_file, "available_gib", lambda device: 1.5 * memory_floor_mib(TINY, 64) / 1024)
    check_memory(TINY, 64, memory_floor_mib(TINY, 64))
    with pytest.raises(ConfigError, match=r"GiB of memory for 2 at once, and cpu has"):
        check_memory(TINY, 64, memory_floor_mib(TINY, 64), num_workers=2)


def test_a_control_group_limits_the_memory_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    free = available_gib()
    for text, expected in (("1073741824\n", min(1.0, free)), ("max\n", None)):
        (tmp_path / "memory.max").write_text(text, encoding="ascii")
        monkeypatch.setattr(available_memory, "_CGROUP_LIMITS", (tmp_path / "memory.max", tmp_path / "missing"))
        assert expected is None or available_gib() == expected
    assert available_gib() >= free


def test_an_unknown_optimizer_and_an_empty_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer must be one of adamw, rmsprop, sgd, got 'adam'$"):
        memory_floor_mib(TINY, 1, optimizer="adam")
    with pytest.raises(ConfigError, match=r"^batch_size must be at least 1, got 0$"):
        memory_floor_mib(TINY, 0)


def test_of_a_parts_networks_the_one_that_takes_most_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = StudyConfig(**settings(tmp_path, workers=2))
    archs = [scale_arch(TINY, ScalingFactors(1.0, 1.0, gamma)) for gamma in (1.0, 2.0, 1.5)]
    data = config.load_data()
    monkeypatch.setattr(memory_file, "available_gib", lambda device: 1e-6)
    with pytest.raises(ConfigError, match=r"^training 3 blocks at 32 px in batches of 11 .* for 2 at once, and cpu"):
        check_trainings(config, archs, data)


def test_a_batch_is_no_larger_than_the_images_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = StudyConfig(**settings(tmp_path, train=TrainConfig(steps=1, batch_size=1_000_000)))
    data = config.load_data()
    enough = memory_floor_mib(TINY, len(data.train), num_classes=data.num_classes) / 1024
    monkeypatch.setattr(memory_file, "available_gib", lambda device: enough)
    check_trainings(config, [TINY], data)
    monkeypatch.setattr(memory_file, "available_gib", lambda device: 0.999 * enough)
    with pytest.raises(ConfigError, match=rf"in batches of {len(data.train)} takes at least"):
        check_trainings(config, [TINY], data)
