"""Weights into a classifier: what fits is kept, and a sentence says what did not."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from scalesearch.arch import ArchSpec, published_arch
from scalesearch.errors import ConfigError
from scalesearch.nn import build_network
from scalesearch.nn.pretrained import load_fitting

ARCH = ArchSpec.from_blocks(["ir_r1_k3_s2_e2_c8"], stem_channels=8, head_channels=16, image_size=16)
B0 = published_arch("efficientnet-b0")


def outputs_agree(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.allclose(ours.eval()(images), theirs.eval()(images), atol=1e-4)


def test_a_timm_checkpoint_loads_whole(tmp_path: Path) -> None:
    theirs = timm.create_model("efficientnet_b0", num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "b0.pth")
    ours = build_network(B0, 7)
    info = load_fitting(ours, tmp_path / "b0.pth")
    assert (info.share, info.fresh, info.ignored) == (1.0, (), ())
    assert outputs_agree(ours, theirs)


def test_a_torchvision_checkpoint_loads_whole_with_its_head(tmp_path: Path) -> None:
    theirs = torchvision.models.efficientnet_b0(num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "b0.pth")
    ours = build_network(B0, 7)
    info = load_fitting(ours, tmp_path / "b0.pth")
    assert (info.share, info.fresh, info.ignored) == (1.0, (), ())
    assert outputs_agree(ours, theirs)


def test_another_number_of_classes_leaves_the_classifier_fresh(tmp_path: Path) -> None:
    save_file(build_network(ARCH, 10).state_dict(), tmp_path / "ten.safetensors")
    network = build_network(ARCH, 3)
    before = network.classifier.weight.clone()
    info = load_fitting(network, tmp_path / "ten.safetensors")
    assert info.fresh == ("classifier.weight", "classifier.bias")
    assert torch.equal(network.classifier.weight, before)
    assert "left fresh 2 (classifier), ignored 0" in info.describe()


def test_the_features_alone_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    save_file(build_network(ARCH, 3).state_dict(), tmp_path / "three.safetensors")
    assert load_fitting(build_network(ARCH, 3), tmp_path / "three.safetensors").fresh == ()
    info = load_fitting(build_network(ARCH, 3), tmp_path / "three.safetensors", keeps="features")
    assert info.fresh == ("classifier.weight", "classifier.bias")


def test_a_network_that_shares_no_convolution_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    other = ArchSpec.from_blocks(["ds_r1_k5_s2_c24"], stem_channels=24, head_channels=8, image_size=16)
    weights = {**build_network(other, 3).state_dict(), "bn2.weight": torch.full((16,), 9.0)}  # one vector fits
    save_file(weights, tmp_path / "other.safetensors")
    network = build_network(ARCH, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ConfigError, match=r"conv_stem\.weight must be \(8, 3, 3, 3\), got \(24, 3, 3, 3\)"):
        load_fitting(network, tmp_path / "other.safetensors")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
