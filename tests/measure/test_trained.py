"""A trained network's file gives the same network back, and anything else is refused with a sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scalesearch.errors import ConfigError
from scalesearch.measure.trained import NETWORK, TrainedNetwork, load_network, save_network
from scalesearch.nn import build_network
from tests.export.exports import ARCH, CLASSES, NORMALISATION, new_network, shaken


def logits(trained: TrainedNetwork) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = trained.network(torch.rand(2, 3, 33, 32, generator=torch.Generator().manual_seed(1)))
    return out


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_network(new_network(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def change(saved: Path, facts: dict[str, Any] | str) -> None:
    """Write the file with other metadata."""
    with safe_open(saved, "pt") as file:
        own = json.loads(file.metadata()[NETWORK])
    save_file(load_file(saved), saved, {NETWORK: facts if isinstance(facts, str) else json.dumps({**own, **facts})})


def test_a_loaded_network_gives_the_same_outputs_and_knows_its_classes(saved: Path) -> None:
    loaded = load_network(saved)
    assert torch.equal(logits(loaded), logits(new_network()))
    assert (loaded.arch, loaded.class_names, loaded.normalisation) == (ARCH, CLASSES, NORMALISATION)
    assert not loaded.network.training


def test_padding_and_epsilon_come_back(tmp_path: Path) -> None:
    network = build_network(ARCH, 4, padding="same", bn_eps=1e-3, bn_momentum=0.3)
    trained = TrainedNetwork(network, ARCH)
    shaken(network)
    save_network(trained, tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors")
    assert torch.equal(logits(loaded), logits(trained))
    assert (loaded.network.bn1.momentum, loaded.class_names, loaded.normalisation) == (0.3, (), None)


def test_the_weights_have_timms_names_for_any_reader_and_one_network_is_one_file(saved: Path, tmp_path: Path) -> None:
    assert load_file(saved).keys() == new_network().network.state_dict().keys()
    save_network(new_network(), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_loading_draws_no_random_number(saved: Path) -> None:
    state = torch.random.get_rng_state()
    load_network(saved)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ("{", "metadata scalesearch.network must be JSON, got '{'"),
        ("[]", "format must be 1, the one this version of scalesearch reads, got None"),
        ({"format": 2}, "format must be 1, the one this version of scalesearch reads, got 2"),
        ({"more": 1}, "keys must be .*, got .*more.*"),
        ({"arch": "efficientnet-b0"}, "arch must be a mapping, got efficientnet-b0"),
        ({"arch": {"blocks": ["ds_r1_k4_s1_c8"]}}, "block string 'ds_r1_k4_s1_c8': kernel_size must be odd, got 4"),
        ({"num_classes": True}, "num_classes must be from 1 to 1,000,000, got True"),
        ({"num_classes": 10**30}, "num_classes must be from 1 to 1,000,000, got 10*"),
        ({"num_classes": 4}, r"weight classifier\.weight must be float32 \(4, 16\), as a network of .*, got .*3, 16.*"),
        ({"class_names": ["a"]}, "class_names must be 3, one a class, got 1"),
        ({"class_names": [1, 2, 3]}, r"class_names must be a list of texts, got \[1, 2, 3\]"),
        ({"mean": None}, "mean must be a finite number a channel, got None"),
        ({"std": [1.0, 0.0, 1.0]}, "std must be a finite number above 0 a channel, got .*"),
        ({"padding": "none"}, "padding must be one of symmetric, same, got none"),
        ({"bn_eps": "x"}, "bn_eps must be a number, got x"),
        ({"bn_momentum": 2}, "bn_momentum must be in .*, got 2"),
    ],
)
def test_changed_metadata_are_refused(saved: Path, facts: dict[str, Any] | str, sentence: str) -> None:
    change(saved, facts)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(saved))}: {sentence}$"):
        load_network(saved)


def test_a_network_that_cannot_be_built_again_is_not_saved(tmp_path: Path) -> None:
    trained = new_network()
    trained.network.conv_head = torch.nn.Conv2d(16, 16, 1)  # with a bias
    with pytest.raises(
        ConfigError, match=r"^weight conv_head\.bias must be nothing, as a network of this architecture"
    ):
        save_network(trained, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
