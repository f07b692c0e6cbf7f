"""One line turns a file into a model that takes RGB in [0, 1] and knows what it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import scalesearch
from scalesearch.data.transforms import Normalisation
from scalesearch.detection.nn.trained import save_trained
from scalesearch.errors import ConfigError
from scalesearch.export.models import DetectorModel
from scalesearch.measure.trained import save_network
from tests.export.exports import ARCH, CLASSES, NORMALISATION, new_detector, new_network


def test_a_classifier_is_ready_and_normalises_as_its_training_did(tmp_path: Path) -> None:
    trained = new_network()
    save_network(trained, tmp_path / "net.safetensors")
    model = scalesearch.load(tmp_path / "net.safetensors")
    assert (model.arch, model.class_names, model.normalisation, model.image_size) == (ARCH, CLASSES, NORMALISATION, 32)
    assert not any(module.training for module in model.modules())
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = trained.network(NORMALISATION(pixels))
        torch.testing.assert_close(model(pixels / 255), expected, rtol=1e-5, atol=1e-5)


def test_images_go_in_as_they_are_where_the_normalisation_is_not_known(tmp_path: Path) -> None:
    trained = new_network(classes=())
    save_network(trained, tmp_path / "net.safetensors")
    model = scalesearch.load(str(tmp_path / "net.safetensors"))
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(model(images), trained.network(images))


def test_a_detector_gives_boxes_in_pixels_and_scores(tmp_path: Path) -> None:
    save_trained(new_detector(), tmp_path / "detector.safetensors")
    model = scalesearch.load(tmp_path / "detector.safetensors")
    assert isinstance(model, DetectorModel)
    with torch.no_grad():
        boxes, scores = model(torch.rand(2, 3, 64, 64))
    assert boxes.shape == (2, len(model.anchors), 4)
    assert scores.shape == (2, len(model.anchors), 3)
    assert 0 <= boxes.min() < boxes.max() <= 64
    assert (model.image_size, model.category_ids) == (64, (7, 90, 3))
    assert isinstance(model.normalisation, Normalisation)


def test_a_model_moves_and_keeps_its_networks_names(tmp_path: Path) -> None:
    save_network(new_network(), tmp_path / "net.safetensors")
    model = scalesearch.load(tmp_path / "net.safetensors").to(torch.float64)
    assert model(torch.rand(1, 3, 32, 32, dtype=torch.float64)).dtype == torch.float64
    assert model.network.state_dict().keys() == new_network().network.state_dict().keys()


def test_other_files_are_refused(tmp_path: Path) -> None:
    wanted = "a file that a training or an export of scalesearch wrote is wanted"
    with pytest.raises(ConfigError, match=rf"none\.safetensors: {wanted}, got no file by that name$"):
        scalesearch.load(tmp_path / "none.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ConfigError, match=rf"{wanted}, got a safetensors file without scalesearch\.network or .*"):
        scalesearch.load(tmp_path / "bare.safetensors")


def test_load_is_a_name_of_the_package_that_loads_only_what_a_model_needs(tmp_path: Path) -> None:
    save_network(new_network(), tmp_path / "net.safetensors")
    code = (
        "import sys, scalesearch; before = 'torch' in sys.modules; scalesearch.load('net.safetensors');"
        "print(before, [name for name in ('optuna', 'pandas', 'matplotlib', 'hydra', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False []\n"), done.stderr
