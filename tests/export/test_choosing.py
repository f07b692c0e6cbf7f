"""Which network is taken: by default the best trained one whose weights are kept, and never a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from scalesearch.errors import ConfigError, ScalesearchError, StudyError
from scalesearch.export.choosing import Choice, choose_network
from scalesearch.export.config import ExportConfig
from scalesearch.export.evidence import collect_evidence
from scalesearch.export.models import build_model
from scalesearch.measure.trained import TrainedNetwork, save_network
from tests.export.exports import ARCH, CLASSES, NORMALISATION, new_detector, new_network, small_study, write_study


def choose(results: Path | None = None, **keys: Any) -> Choice:
    return choose_network(ExportConfig(**({} if results is None else {"results": str(results)}), **keys))


def same_weights(choice: Choice, trained: TrainedNetwork) -> bool:
    assert isinstance(choice.trained, TrainedNetwork)
    pairs = zip(choice.trained.network.state_dict().values(), trained.network.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_the_familys_best_by_its_mean_on_search_val_is_the_default(tmp_path: Path) -> None:
    _, member = small_study(tmp_path)
    choice = choose(tmp_path, study="small")  # the base's 0.95 was of a search, in which it trained briefly
    assert (choice.name, choice.part, choice.is_untrained) == ("small family-phi1", "family", False)
    assert same_weights(choice, member)


def test_of_full_trainings_the_best_way_is_taken_by_its_own_mean(tmp_path: Path) -> None:
    scratch, finetuned = new_network(seed=1), new_network(seed=2)
    arch_id = scratch.arch.arch_id
    rows: list[dict[str, object]] = [{"part": "search", "arch_id": arch_id, "val_top1": 0.95}]
    rows += [
        {"part": "train", "label": label, "arch_id": arch_id, "seed": seed, "val_top1": top1}
        for label, top1s in (("scratch", (0.4, 0.6)), ("finetuned", (0.7, 0.5)))
        for seed, top1 in enumerate(top1s)
    ]
    named = {f"train-{label}-{arch_id}": one for label, one in (("scratch", scratch), ("finetuned", finetuned))}
    write_study(tmp_path / "mine", {"base": scratch, **named}, rows)
    choice = choose(tmp_path, study="mine")
    assert choice.name == f"mine train-finetuned-{arch_id}"
    assert same_weights(choice, finetuned)
    evidence = collect_evidence(choice, build_model(choice.trained))
    assert [(one.mean, one.trainings) for one in evidence.accuracies] == [(pytest.approx(0.6), 2)]


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"member": "phi=0"}, "small family-phi0"),
        ({"member": "phi0"}, "small family-phi0"),
        ({"member": "family-phi1"}, "small family-phi1"),
        ({"member": "base"}, "small base"),
        ({"trial": 4}, "small base"),
    ],
)
def test_a_member_or_a_trial_is_taken_by_name(tmp_path: Path, keys: dict[str, Any], name: str) -> None:
    small_study(tmp_path)
    assert choose(tmp_path, study="small", **keys).name == name


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"member": "phi=2"}, "it has no weights of member 'phi=2'; it has those of base, family-phi0, family-phi1"),
        ({"trial": 5}, "it has no weights of trial 5 of its search, which keeps .*; it has those of base, .*"),
    ],
)
def test_what_is_not_kept_is_refused_with_what_there_is(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    small_study(tmp_path)
    with pytest.raises(StudyError, match=f"^study small: {sentence}$"):
        choose(tmp_path, study="small", **keys)


def test_a_study_without_weights_says_what_it_has_trained(tmp_path: Path) -> None:
    write_study(tmp_path / "bare", {}, [{"part": "search", "arch_id": "a"}, {"part": "search", "arch_id": "b"}])
    with pytest.raises(StudyError, match=r"^study bare: no trained network is kept in .*checkpoints; it has trained 2"):
        choose(tmp_path, study="bare")
    write_study(tmp_path / "failed", {}, [{"part": "search", "arch_id": "a", "state": "FAILED"}])
    with pytest.raises(StudyError, match=r"; none was trained to its end$"):
        choose(tmp_path, study="failed")
    with pytest.raises(StudyError, match=r"nowhere: there is no such study, or it has no trials$"):
        choose(tmp_path, study="nowhere")
    (tmp_path / "bare" / "trials.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"trials\.csv: a study's table of trials is wanted, got one without .* part$"):
        choose(tmp_path, study="bare")


def test_weights_of_an_older_version_are_refused_with_the_way_out(tmp_path: Path) -> None:
    root = write_study(tmp_path / "old", {"base": new_network()}, [{"part": "search", "arch_id": ARCH.arch_id}])
    path = root / "checkpoints" / "base.safetensors"
    save_file(new_network().network.state_dict(), path)
    with pytest.raises(StudyError, match=r"without scalesearch\.network .*; with arch= and weights= it can be named$"):
        choose(tmp_path, study="old")
    ARCH.save(root / "base.yaml")
    choice = choose(arch=str(root / "base.yaml"), weights=str(path))
    assert same_weights(choice, new_network())
    assert not choice.is_untrained


def test_a_studys_best_detector_is_taken_where_it_has_no_network(tmp_path: Path) -> None:
    detector = new_detector()
    arch_id = detector.detector.spec.arch_id
    rows: list[dict[str, object]] = [{"part": "detect", "arch_id": arch_id, "val_ap": 0.2}]
    write_study(tmp_path / "boxes", {f"detect-bifpn-fast-{arch_id}": detector, "supernet": new_network()}, rows)
    choice = choose(tmp_path, study="boxes")
    assert (choice.part, choice.arch_id) == ("detect", arch_id)


def test_a_file_that_says_what_it_is_of_needs_no_arch(tmp_path: Path) -> None:
    save_network(new_network(), tmp_path / "net.safetensors")
    choice = choose(weights=str(tmp_path / "net.safetensors"))
    assert isinstance(choice.trained, TrainedNetwork)
    assert choice.trained.class_names == CLASSES
    ARCH.save(tmp_path / "arch.yaml")
    bigger = choose(weights=str(tmp_path / "net.safetensors"), arch=str(tmp_path / "arch.yaml"), image_size=40)
    assert isinstance(bigger.trained, TrainedNetwork)
    assert (bigger.trained.arch.image_size, bigger.trained.normalisation) == (40, NORMALISATION)


def test_an_arch_without_weights_is_untrained_and_the_same_for_a_seed() -> None:
    keys: dict[str, Any] = {"arch": ARCH.blocks, "num_classes": 5, "image_size": 24}
    state = torch.random.get_rng_state()
    one, same, other = choose(**keys), choose(**keys), choose(**keys, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.is_untrained
    assert isinstance(one.trained, TrainedNetwork)
    assert isinstance(other.trained, TrainedNetwork)
    assert (one.trained.num_classes, one.trained.arch.image_size, one.trained.class_names) == (5, 24, ())
    assert same_weights(same, one.trained)
    assert not same_weights(other, one.trained)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_file(new_network().network.state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(ConfigError, match=r"net\.safetensors: weight .* must be .*, as arch=.* with num_classes=3 has"):
        choose(arch="ds_r1_k3_s1_c8,ir_r1_k3_s2_e3_c16", weights=str(tmp_path / "net.safetensors"))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"to": "tflite"}, "to must be one of safetensors, onnx, program, timm, got 'tflite'"),
        ({"study": "a", "arch": "efficientnet-b0"}, "study names a network of its own: .*"),
        ({"member": "base"}, "member and trial choose among a study's networks: give study= too"),
        ({"study": "a", "member": "base", "trial": 1}, "member or trial, not both, .*"),
        ({"weights": "w", "image_size": 32}, "num_classes, image_size, padding and bn_eps are of arch=: .*"),
        ({"study": "a", "padding": "same"}, "num_classes, image_size, padding and bn_eps are of arch=: .*"),
        ({"arch": "a", "num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"arch": "a", "padding": "none"}, "padding must be one of symmetric, same, got 'none'"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScalesearchError, match=f"^{sentence}$"):
        ExportConfig(**keys)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"out": "a.onnx"}, "a network is named by study=, arch= or weights=, got none of them"),
        ({"study": "a"}, r"out must be a file's name that ends in \.onnx with to=onnx, got ''"),
        ({"study": "a", "to": "program", "out": "x.pt"}, r"out must .* ends in \.pt2 with to=program, got 'x\.pt'"),
        ({"study": "a", "to": "timm", "out": "x.safetensors", "nms": True}, "nms must be false with to=timm: .*"),
    ],
)
def test_what_is_missing_is_refused(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        ExportConfig(**keys).check_complete()
