"""Weights from a file: what is read, how it is named, and that a file never runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import efficientnet, mobilenet_v2

from scalesearch.arch import ArchSpec
from scalesearch.arch.published import published_arch
from scalesearch.errors import ConfigError
from scalesearch.nn import build_network
from scalesearch.nn.network import build_backbone
from scalesearch.nn.weights import read_weights, rename_torchvision

WEIGHTS = {"conv_stem.weight": torch.arange(4.0), "bn1.bias": torch.ones(2)}


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.victim}",)


def randomise(network: nn.Module) -> nn.Module:
    """Give statistics and biases what a training would leave: of fresh values a mistake in their place is unseen."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in [*network.named_buffers(), *network.named_parameters()]:
            if name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.1)
            elif name.endswith("running_var") or value.ndim == 1:
                value.uniform_(0.5, 1.5)
    return network.eval()


def assert_same(found: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(WEIGHTS)
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "net.safetensors")
    assert set(read_weights(tmp_path / "net.safetensors")) == set(WEIGHTS)


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3},
        {"state_dict": {"conv_stem.weight": torch.zeros(4)}, "state_dict_ema": WEIGHTS},
        {"model": {"state_dict": WEIGHTS}},
        {f"module.{name}": value for name, value in WEIGHTS.items()} | {"n": 3},
        {"model": {f"model.{name}": value for name, value in WEIGHTS.items()}},
        {f"module._orig_mod.{name}": value for name, value in WEIGHTS.items()},
    ],
    ids=["bare", "state_dict", "ema first", "nested", "module.", "model.", "compiled"],
)
def test_what_training_loops_wrap_around_a_state_dict_is_taken_off(tmp_path: Path, content: Any, suffix: str) -> None:
    torch.save(content, tmp_path / f"net{suffix}")
    assert_same(read_weights(tmp_path / f"net{suffix}"))


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, new_format: bool) -> None:
    path, victim = tmp_path / "net.pt", tmp_path / "victim"
    content = {"state_dict": WEIGHTS, "args": Attack(victim)}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    sentence = r"^\S+net\.pt: a pickle of tensors alone is read, got one that would run (posix|nt)\.system; save .*"
    with pytest.raises(ConfigError, match=sentence):
        read_weights(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("net.onnx", b"", r"weights are read from \.safetensors, \.pt, \.pth, got \.onnx"),
        ("net", b"", r"got none"),
        ("net.pth", None, r"a file with weights is wanted, got none \(No such file or directory\)"),
        ("net.safetensors", None, r"a file with weights is wanted, got none \(.*"),
        ("net.pt", b"", r"damaged or no \.pt file"),
        ("net.pt", b"PK\x03\x04 not a zip", r"damaged or no \.pt file"),
        ("net.pt", b"not a pickle", r"a pickle of tensors alone is read, got one that torch does not read as such"),
        ("net.safetensors", b"", r"damaged or no \.safetensors file"),
        ("net.safetensors", b"\xff" * 64, r"damaged or no \.safetensors file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/{name}: .*{sentence}"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("content", [3, {"state_dict": {}}, {"epoch": 3}, [torch.ones(1)]])
def test_a_pickle_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(ConfigError, match=r"net\.pt: a state dict, names with tensors, is wanted, got none$"):
        read_weights(tmp_path / "net.pt")


def test_torchvisions_b0_gives_its_features_in_ours(tmp_path: Path) -> None:
    theirs = randomise(efficientnet.efficientnet_b0(weights=None))
    torch.save(theirs.state_dict(), tmp_path / "b0.pth")
    ours = build_network(published_arch("efficientnet-b0"), 1000).eval()
    left = ours.load_state_dict(read_weights(tmp_path / "b0.pth"), strict=False)
    assert {name.split(".")[0] for name in left.missing_keys} == {"conv_head", "bn2", "classifier"}
    assert all(name.startswith(("features.8.", "classifier.")) for name in left.unexpected_keys)
    assert_same_features(ours, theirs)


def test_torchvisions_v2_blocks_are_renamed() -> None:
    settings = [
        efficientnet.FusedMBConvConfig(1, 3, 1, 16, 16, 2),
        efficientnet.FusedMBConvConfig(4, 3, 2, 16, 24, 2),
        efficientnet.MBConvConfig(4, 3, 2, 24, 32, 2),
    ]
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    theirs = randomise(efficientnet.EfficientNet(settings, dropout=0.0, last_channel=64, norm_layer=norm))
    blocks = ["cn_r2_k3_s1_e1_c16_skip", "er_r2_k3_s2_e4_c24", "ir_r2_k3_s2_e4_c32_se0.25"]
    arch = ArchSpec.from_blocks(blocks, stem_channels=16, head_channels=64, image_size=64)
    ours = build_backbone(arch, bn_eps=1e-3).eval()
    left = ours.load_state_dict(rename_torchvision(theirs.state_dict()), strict=False)
    assert left.missing_keys == []
    assert {name.split(".")[0] for name in left.unexpected_keys} == {"features", "classifier"}
    assert_same_features(ours, theirs)


def assert_same_features(ours: Any, theirs: Any) -> None:
    images = torch.randn(1, 3, 75, 75)
    with torch.inference_mode():
        expected = theirs.features[0](images)
        for stage, found in zip(theirs.features[1:-1], ours.forward_features(images), strict=True):
            expected = stage(expected)
            assert expected.std() > 1e-3
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_other_networks_of_torchvision_keep_their_names() -> None:
    theirs = mobilenet_v2(weights=None).state_dict()
    renamed = rename_torchvision(theirs)
    assert {name for name in renamed if name not in theirs} == {"conv_stem.weight"} | {
        f"bn1.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
