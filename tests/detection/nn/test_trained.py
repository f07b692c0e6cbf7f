"""A trained detector's file gives the same detector back, and anything else is refused with a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scalesearch.data.transforms import Normalisation
from scalesearch.detection.nn.detector import BN_EPS, Detector, build_detector
from scalesearch.detection.nn.trained import TrainedDetector, load_trained, save_trained
from scalesearch.errors import ConfigError
from scalesearch.nn.layers import LayerStyle
from scalesearch.nn.network import build_network
from tests.detection.detectors import tiny_spec

NAMES, IDS = ("cat", "<script>\n", ""), (7, 90, 3)
NORMALISATION = Normalisation(mean=(0.1, 1 / 3, 0.7), std=(0.2, 0.21, 1e-3))
KEY = "scalesearch.detector"


def shaken(detector: Detector) -> Detector:
    """Give BatchNorm statistics that a training would leave."""
    detector.train()
    with torch.no_grad():
        detector(torch.randn(2, 3, 64, 64))
    return detector.eval()


def new_trained(seed: int = 0, spec: dict[str, Any] | None = None, **changes: Any) -> TrainedDetector:
    torch.manual_seed(seed)
    detector = shaken(build_detector(tiny_spec(**(spec or {})), **changes))
    return TrainedDetector(detector, NAMES, IDS, NORMALISATION)


def outputs(detector: Detector) -> list[torch.Tensor]:
    images = torch.randn(2, 3, 70, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        classes, boxes = detector(images)
    return [*classes, *boxes]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "new" / "detector.safetensors"
    save_trained(new_trained(), path)
    return path


@pytest.fixture
def changed(saved: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the saved file with other metadata, or other weights."""

    def change(facts: dict[str, Any] | str | None = None, weights: dict[str, Any] | None = None) -> Path:
        with safe_open(saved, "pt") as file:
            own = json.loads(file.metadata()[KEY])
        text = facts if isinstance(facts, str) else json.dumps({**own, **(facts or {})})
        tensors = {name: value for name, value in {**load_file(saved), **(weights or {})}.items() if value is not None}
        save_file(tensors, tmp_path / "changed.safetensors", {KEY: text})
        return tmp_path / "changed.safetensors"

    return change


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        ({}, {}),
        ({}, {"padding": "same", "backbone_bn_eps": 1e-3, "bn_momentum": 0.1, "drop_path": 0.2}),
        ({"neck": "fpn", "fusion": "softmax", "redundant_bias": False, "max_level": 5, "activation": "relu"}, {}),
        ({"aspect_ratios": ((1.0, 1.0), (2.0, 1 / 3)), "num_scales": 2, "anchor_scale": 2.5}, {"padding": "same"}),
    ],
)
def test_a_loaded_detector_gives_the_same_outputs_bit_for_bit(
    tmp_path: Path, spec: dict[str, Any], changes: dict[str, Any]
) -> None:
    trained = new_trained(spec=spec, **changes)
    save_trained(trained, tmp_path / "a.safetensors")
    loaded = load_trained(tmp_path / "a.safetensors")
    assert loaded.detector.spec == trained.detector.spec
    assert not loaded.detector.training
    pairs = zip(outputs(loaded.detector), outputs(trained.detector), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_backbone_may_pad_otherwise_than_the_neck(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = tiny_spec()
    same = build_detector(spec, padding="same", backbone_bn_eps=1e-3).backbone
    mixed = TrainedDetector(
        shaken(Detector(spec, same, LayerStyle(spec.activation, "symmetric", BN_EPS, 0.01))), NAMES, IDS, NORMALISATION
    )
    save_trained(mixed, tmp_path / "a.safetensors")
    loaded = load_trained(tmp_path / "a.safetensors")
    pairs = zip(outputs(loaded.detector), outputs(mixed.detector), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_loaded_detector_trains_on_as_the_saved_one_does(tmp_path: Path) -> None:
    trained = new_trained(bn_momentum=0.3)
    save_trained(trained, tmp_path / "a.safetensors")
    loaded = load_trained(tmp_path / "a.safetensors")
    for each in (trained, loaded):
        torch.manual_seed(5)
        shaken(each.detector)
    states = (each.detector.state_dict().values() for each in (trained, loaded))
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))
    assert all(parameter.requires_grad for parameter in loaded.detector.parameters())


def test_classes_and_normalisation_come_back_exactly(saved: Path) -> None:
    loaded = load_trained(str(saved))
    assert (loaded.class_names, loaded.category_ids, loaded.normalisation) == (NAMES, IDS, NORMALISATION)


def test_loading_draws_nothing_and_needs_the_file_no_more(tmp_path: Path) -> None:
    save_trained(new_trained(), tmp_path / "a.safetensors")
    state = torch.random.get_rng_state()
    loaded = load_trained(tmp_path / "a.safetensors")
    assert torch.equal(torch.random.get_rng_state(), state)
    before = outputs(loaded.detector)
    (tmp_path / "a.safetensors").write_bytes(b"")
    assert all(torch.equal(one, other) for one, other in zip(outputs(loaded.detector), before, strict=True))


def test_saving_leaves_the_live_detector_in_its_memory_format(tmp_path: Path) -> None:
    trained = new_trained()
    trained.detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stem = trained.detector.backbone.conv_stem.weight
    save_trained(trained, tmp_path / "a.safetensors")
    assert trained.detector.backbone.conv_stem.weight is stem
    assert stem.is_contiguous(memory_format=torch.channels_last)
    assert not stem.is_contiguous()
    loaded = load_trained(tmp_path / "a.safetensors").detector
    assert all(value.is_contiguous() for value in loaded.state_dict().values())
    assert torch.equal(loaded.backbone.conv_stem.weight, stem)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_detector_on_cuda_is_saved_and_stays_there(tmp_path: Path) -> None:
    trained = new_trained()
    before = {name: value.clone() for name, value in trained.detector.state_dict().items()}
    trained.detector.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_trained(trained, tmp_path / "a.safetensors")
    assert all(parameter.is_cuda for parameter in trained.detector.parameters())
    loaded = load_trained(tmp_path / "a.safetensors").detector.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in loaded.items())


def test_the_weights_have_effdets_names_for_any_reader(saved: Path) -> None:
    assert load_file(saved).keys() == new_trained().detector.state_dict().keys()


def test_one_detector_is_one_file_byte_for_byte_and_nothing_lies_beside_it(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "a.safetensors").write_text("an older file")
    save_trained(new_trained(), tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == saved.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_detector_that_cannot_be_built_again_is_not_saved(tmp_path: Path) -> None:
    spec = tiny_spec()
    whole = build_network(spec.backbone, 10)  # with head and classifier
    odd = TrainedDetector(Detector(spec, whole, LayerStyle()), NAMES, IDS, NORMALISATION)
    with pytest.raises(ConfigError, match=r"weight backbone\.conv_head\.weight must be nothing, as .*, got float32"):
        save_trained(odd, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (None, "got no file by that name"),
        (b"", "got one that is damaged or no safetensors file"),
        (b"PK\x03\x04 a pickle of torch.save is a zip" * 9, "got one that is damaged or no safetensors file"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None, got: str) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    sentence = f"{path}: weights must be a file that a detector's training wrote, {got}"
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        load_trained(path)


def test_a_file_cut_short_and_a_folder_are_refused(tmp_path: Path, saved: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"cut\.safetensors: .*, got one that is damaged or no safetensors file$"):
        load_trained(cut)
    with pytest.raises(ConfigError, match=r": .*, got no file by that name$"):
        load_trained(tmp_path)


def test_bare_weights_are_refused(tmp_path: Path, saved: Path) -> None:
    save_file(load_file(saved), tmp_path / "bare.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"bare\.safetensors: .* without scalesearch\.detector in its metadata$"):
        load_trained(tmp_path / "bare.safetensors")


SPEC = tiny_spec().to_dict()


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ("{", "metadata scalesearch.detector must be JSON, got '{'"),
        ("[" * 100_000, r"metadata scalesearch.detector must be JSON, got '\[{40}'"),
        ("[]", "format must be 1, the one this version of scalesearch reads, got None"),
        ({"format": 2}, "format must be 1, the one this version of scalesearch reads, got 2"),
        ('{"format": 1}', "keys must be backbone_bn_eps, .*, std, got format"),
        ({"more": 1}, "keys must be .*, got .*, more, .*"),
        ({"spec": "efficientdet-d0"}, "spec must be a mapping, got efficientdet-d0"),
        ({"spec": {}}, "spec: backbone must be a mapping, got something else"),
        ({"spec": {**SPEC, "backbone": "efficientnet-b0"}}, "spec: backbone must be a mapping, got something else"),
        ({"spec": {**SPEC, "backbone": {"blocks": 5}}}, "backbone: .*"),
        ({"spec": {**SPEC, "neck": "none"}}, "neck must be one of fpn, panet, bifpn, got 'none'"),
        ({"spec": {**SPEC, "num_classes": 4}}, "weight class_net.* must be .*, as a detector of this spec has, got .*"),
        ({"class_names": "abc"}, "class_names must be a list of texts, got abc"),
        ({"class_names": ["a", "b"]}, "class_names must be 3, one a class, got 2"),
        ({"category_ids": [1, 2, True]}, r"category_ids must be a list of whole numbers, got \[1, 2, True\]"),
        ({"category_ids": [1, 2, 2]}, r"category_ids must be 3 different ones, one a class, got \[1, 2, 2\]"),
        ({"mean": [0.5, 0.5]}, r"mean must be a finite number a channel, got \[0.5, 0.5\]"),
        ({"mean": [0.5, 0.5, float("nan")]}, r"mean must be a finite number a channel, got \[0.5, 0.5, nan\]"),
        ({"std": [0.5, 0.5, 0]}, r"std must be a finite number above 0 a channel, got \[0.5, 0.5, 0\]"),
        ({"padding": "valid"}, "padding must be one of symmetric, same, got valid"),
        ({"padding": ["same"]}, r"padding must be one of symmetric, same, got \['same'\]"),
        ({"backbone_bn_eps": "1e-3"}, "backbone_bn_eps must be a number, got 1e-3"),
        ({"backbone_bn_eps": 0}, "bn_eps must be above 0, got 0"),
        ({"bn_momentum": 2.0}, r"bn_momentum must be in \(0, 1\], got 2.0"),
    ],
)
def test_metadata_that_were_changed_are_refused(
    changed: Callable[..., Path], facts: dict[str, Any] | str, sentence: str
) -> None:
    path = changed(facts)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: {sentence}$"):
        load_trained(path)


@pytest.mark.parametrize(
    ("weight", "got"),
    [
        (None, "nothing"),
        (torch.zeros(8), r"float32 \(8,\)"),
        (torch.zeros(8, 3, 3, 3).half(), r"float16 \(8, 3, 3, 3\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changed: Callable[..., Path], weight: torch.Tensor, got: str) -> None:
    path = changed(weights={"backbone.conv_stem.weight": weight})
    sentence = rf"weight backbone\.conv_stem\.weight must be float32 \(8, 3, 3, 3\), as a detector of .*, got {got}$"
    with pytest.raises(ConfigError, match=sentence):
        load_trained(path)


def test_a_weight_too_many_is_refused(changed: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"weight extra must be nothing, .*, got int64 \(1,\)$"):
        load_trained(changed(weights={"extra": torch.tensor([1])}))


def test_names_that_do_not_fit_the_detector_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^class_names must be 3, one a class, got 1$"):
        TrainedDetector(new_trained().detector, ("cat",), IDS, NORMALISATION)
