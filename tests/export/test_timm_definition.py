"""timm builds the same network from what is written, for random networks of every space."""

from __future__ import annotations

import random
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scalesearch.arch import ArchSpec, SearchSpace
from scalesearch.errors import ExportError
from scalesearch.export.timm_definition import write_timm_file
from scalesearch.measure.trained import TrainedNetwork, save_network
from scalesearch.nn import build_network
from scalesearch.paths import SEARCH_SPACES
from tests.export.exports import ARCH, CLASSES, new_network, shaken

SPACES = sorted(path.stem for path in SEARCH_SPACES.glob("*.yaml"))


def assert_timm_gives_the_same(trained: TrainedNetwork, folder: Path, image_size: int) -> None:
    save_network(trained, folder / "net.safetensors")
    (folder / "built.py").write_text(write_timm_file(trained, "built", "net.safetensors"), encoding="utf-8")
    built = runpy.run_path(str(folder / "built.py"))
    images = torch.randn(2, 3, image_size, image_size)
    with torch.no_grad():
        expected = trained.network(images)
        torch.testing.assert_close(built["build"]()(images), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 1e-3  # not equal because both are 0
    assert tuple(built["CLASS_NAMES"]) == trained.class_names
    assert built["IMAGE_SIZE"] == trained.arch.image_size


@pytest.mark.parametrize("name", SPACES)
def test_random_networks_of_every_space_give_the_same_outputs_in_timm(name: str, tmp_path: Path) -> None:
    space, rng = SearchSpace.load(name), random.Random(0)
    for seed in range(2):
        assert_timm_gives_the_same(new_network(space.sample(rng), seed), tmp_path, 48)


@pytest.mark.parametrize("activation", ["relu", "hardswish"])
def test_foreign_padding_epsilon_activation_and_deep_strides_are_written(activation: str, tmp_path: Path) -> None:
    blocks = ["cn_r1_k3_s2_c8", "ds_r1_k3_s2_c8_noskip", *["ir_r1_k3_s2_e2.5_c12"] * 4]  # 128 pixels to a cell
    arch = ArchSpec.from_blocks(blocks, stem_channels=12, head_channels=20, image_size=65, activation=activation)
    network = build_network(arch, 3, padding="same", bn_eps=1e-3)
    shaken(network)
    assert_timm_gives_the_same(TrainedNetwork(network, arch, CLASSES), tmp_path, 65)


def test_a_network_that_timm_would_build_otherwise_is_refused_with_the_stage() -> None:
    odd = ArchSpec.from_blocks(["ds_r1_k3_s1_c20", "ir_r1_k3_s2_e1.4_c24_se0.25"], stem_channels=20)  # 28 rounds to 32
    with pytest.raises(
        ExportError,
        match=r"^timm cannot build this network: stage 1, ir_r1_k3_s2_e1\.4_c24_se0\.25, would have 6 squeezed"
        r" channels behind 20 in place of 5$",
    ):
        write_timm_file(new_network(odd), "a", "b")


def test_names_of_classes_and_files_are_text_and_nothing_else(tmp_path: Path) -> None:
    nasty = ('"""\nraise SystemExit\n', "']; raise SystemExit #", "{module}\\")
    trained = replace(new_network(ARCH), class_names=nasty)
    (tmp_path / "x.py").write_text(write_timm_file(trained, 'a"""b', "'); raise SystemExit"), encoding="utf-8")
    assert tuple(runpy.run_path(str(tmp_path / "x.py"))["CLASS_NAMES"]) == nasty
