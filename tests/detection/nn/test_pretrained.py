"""Weights of other people's networks, and of our own search's, in a detector."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torchvision.models import efficientnet_b0, resnet18

from scalesearch.detection.arch.published import published_detector
from scalesearch.detection.nn.detector import Detector, build_detector
from scalesearch.detection.nn.pretrained import PretrainedInfo, load_pretrained
from scalesearch.errors import ConfigError
from scalesearch.nn import build_network
from tests.detection.detectors import BACKBONE, tiny_spec
from tests.nn.test_weights import Attack, randomise

REDUCTIONS = (8, 16, 32)
D0 = published_detector("efficientdet-d0")


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def save(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def effdets() -> nn.Module:
    effdet = pytest.importorskip("effdet")
    config = effdet.get_efficientdet_config("tf_efficientdet_d0")
    config.update(image_size=[128, 128])
    torch.manual_seed(0)
    return randomise(effdet.EfficientDet(config, pretrained_backbone=False))


@pytest.mark.parametrize("name", ["d0.safetensors", "d0.pth"])
def test_effdets_detector_gives_its_outputs(tmp_path: Path, effdets: nn.Module, name: str) -> None:
    ours = build_detector(D0, padding="same", backbone_bn_eps=1e-3).eval()
    info = load_pretrained(ours, save(tmp_path / name, effdets.state_dict()))
    assert (info.source, info.fresh, info.ignored) == ("detector", (), ())
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        for mine, other in zip(ours(images), effdets(images), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_what_effdets_bench_saves_is_a_detector_too(tmp_path: Path, effdets: nn.Module) -> None:
    from effdet import DetBenchTrain

    bench = DetBenchTrain(effdets)
    info = load_pretrained(build_detector(D0), save(tmp_path / "bench.pt", {"state_dict": bench.state_dict()}))
    assert (info.source, info.fresh) == ("detector", ())
    assert len(info.ignored) == len(bench.state_dict()) - len(effdets.state_dict())


def test_another_number_of_classes_leaves_only_the_prediction_fresh(tmp_path: Path, effdets: nn.Module) -> None:
    torch.manual_seed(1)
    ours = build_detector(replace(D0, num_classes=5))
    before = state_of(ours)
    info = load_pretrained(ours, save(tmp_path / "d0.pth", effdets.state_dict()))
    prediction = ("class_net.predict.conv_pw.weight", "class_net.predict.conv_pw.bias")
    assert info.fresh == prediction
    after, theirs = ours.state_dict(), effdets.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in prediction)
    assert all(torch.equal(after[name], theirs[name]) for name in info.loaded)
    assert set(info.loaded) == {name for name in after if not name.endswith("num_batches_tracked")} - set(prediction)


def test_a_detector_without_redundant_biases_keeps_ours_at_zero(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = build_detector(tiny_spec(redundant_bias=False))
    info = load_pretrained(build_detector(tiny_spec()), save(tmp_path / "tiny.pt", theirs.state_dict()))
    assert info.fresh
    assert all(name.endswith(".bias") and not name.startswith("backbone") for name in info.fresh)


@pytest.mark.parametrize("name", ["b0.safetensors", "b0.pt"])
def test_timms_classifier_gives_its_features(tmp_path: Path, name: str) -> None:
    theirs = randomise(timm.create_model("efficientnet_b0", pretrained=False))
    ours = build_detector(D0)
    before = state_of(ours)
    info = load_pretrained(ours, save(tmp_path / name, theirs.state_dict()))
    assert info.source == "backbone"
    assert {name.split(".")[0] for name in info.ignored} == {"conv_head", "bn2", "classifier"}
    assert {name.split(".")[0] for name in info.fresh} == {"fpn", "class_net", "box_net"}
    assert all(torch.equal(ours.state_dict()[name], before[name]) for name in info.fresh)
    images = torch.randn(1, 3, 75, 75)
    with torch.inference_mode():
        expected = theirs.forward_intermediates(images, intermediates_only=True)[-3:]
        for found, wanted in zip(ours.eval().backbone.features(images, REDUCTIONS), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_torchvisions_classifier_gives_its_features(tmp_path: Path) -> None:
    theirs = randomise(efficientnet_b0(weights=None))
    ours = build_detector(D0).eval()
    info = load_pretrained(ours, save(tmp_path / "b0.pth", theirs.state_dict()))
    assert info.source == "backbone"
    assert all(name.startswith(("features.8.", "classifier.")) for name in info.ignored)
    images = torch.randn(1, 3, 75, 75)
    with torch.inference_mode():
        # the stages that end at a reduction of 8, 16 and 32
        expected = [theirs.features[:stage](images) for stage in (4, 6, 8)]
        for found, wanted in zip(ours.backbone.features(images, REDUCTIONS), expected, strict=True):
            assert wanted.std() > 1e-3
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_checkpoint_of_our_own_search_loads(tmp_path: Path) -> None:
    network = randomise(build_network(BACKBONE, 10))
    save_model(network, str(tmp_path / "trial-3.safetensors"))
    detector = build_detector(tiny_spec())
    load_pretrained(detector, tmp_path / "trial-3.safetensors")
    mine = detector.backbone.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in network.state_dict().items() if name in mine)


def test_stages_that_the_detector_does_not_use_are_ignored(tmp_path: Path) -> None:
    network = build_network(BACKBONE, 10)
    detector = build_detector(tiny_spec(max_level=4))
    assert len(detector.backbone.blocks) == 4
    info = load_pretrained(detector, save(tmp_path / "deep.pt", network.state_dict()))
    parts = {name.rpartition(".0.")[0] or name.split(".")[0] for name in info.ignored}
    assert parts == {"blocks.4", "conv_head", "bn2", "classifier"}


def test_a_file_that_lacks_batch_norms_counts_loads(tmp_path: Path) -> None:
    state = {
        name: value for name, value in build_network(BACKBONE, 10).state_dict().items() if "num_batches" not in name
    }
    info = load_pretrained(build_detector(tiny_spec()), save(tmp_path / "old.pt", state))
    assert not any(name.startswith("backbone") for name in info.fresh)


def test_the_detectors_layout_in_memory_stays(tmp_path: Path) -> None:
    path = save(tmp_path / "net.pt", build_network(BACKBONE, 10).state_dict())
    detector: Any = build_detector(tiny_spec())
    detector.to(memory_format=torch.channels_last)
    load_pretrained(detector, path)
    assert detector.backbone.conv_stem.weight.is_contiguous(memory_format=torch.channels_last)


def _without_stem(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name != "bn1.weight"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            lambda: timm.create_model("efficientnet_b0", pretrained=False).state_dict(),
            r"which has \(8, 3, 3, 3\) at conv_stem\.weight, got \(32, 3, 3, 3\)$",
        ),
        (
            lambda: build_detector(D0).state_dict(),
            r"which has \(8, 3, 3, 3\) at conv_stem\.weight, got \(32, 3, 3, 3\)$",
        ),
        (
            lambda: _without_stem(build_network(BACKBONE, 10).state_dict()),
            r"which has \(8,\) at bn1\.weight, got nothing$",
        ),
        (
            # a deeper sibling: all our blocks in the same shapes, and one more
            lambda: build_network(
                replace(BACKBONE, stages=(*BACKBONE.stages[:4], replace(BACKBONE.stages[4], num_blocks=2))), 10
            ).state_dict(),
            r"which has nothing at blocks\.4\.1\.conv_pw\.weight, got \(48, 24, 1, 1\)$",
        ),
        (
            lambda: build_network(replace(BACKBONE, stages=BACKBONE.stages[:4]), 10).state_dict(),
            r"which has \(32, 16, 1, 1\) at blocks\.4\.0\.conv_pw\.weight, got nothing$",
        ),
        (
            lambda: resnet18(weights=None).state_dict(),
            r"an EfficientNet named as timm's or torchvision's, is wanted, got a file that begins with conv1\.weight$",
        ),
    ],
    ids=["timm", "effdet", "a tensor missing", "deeper", "shallower", "resnet"],
)
def test_another_network_is_refused_and_nothing_changes(tmp_path: Path, content: Any, sentence: str) -> None:
    detector: Detector = build_detector(tiny_spec())
    before = copy.deepcopy(detector.state_dict())
    with pytest.raises(ConfigError, match=r"^\S+other\.pth: .*" + sentence):
        load_pretrained(detector, save(tmp_path / "other.pth", content()))
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    content = {"state_dict": build_detector(tiny_spec()).state_dict(), "args": Attack(victim)}
    with pytest.raises(
        ConfigError, match=r"net\.pt: a pickle of tensors alone is read, got one that would run \w+\.system"
    ):
        load_pretrained(build_detector(tiny_spec()), save(tmp_path / "net.pt", content))
    assert not victim.exists()


def test_a_description_names_the_few_and_counts_the_many() -> None:
    many = tuple(f"{part}.{i}.weight" for part in ("fpn", "box_net") for i in range(3))
    info = PretrainedInfo("detector", ("a", "b"), ("class_net.predict.conv_pw.weight",), many)
    assert info.describe() == (
        "loaded 2 tensors of a detector, left fresh 1 (class_net.predict.conv_pw.weight), ignored 6 (fpn, box_net)"
    )
