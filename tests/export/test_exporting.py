"""Each form gives the network's outputs where it runs, and the card beside it says how, truly."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image

import scalesearch
from scalesearch.cli import main
from scalesearch.data import DataConfig, load_data
from scalesearch.detection.nn.trained import save_trained
from scalesearch.errors import ConfigError, ExportError
from scalesearch.export import onnx_graph
from scalesearch.export.card import begin_card
from scalesearch.export.config import ExportConfig
from scalesearch.export.exporting import ExportResult, export_network
from scalesearch.export.graph import Graph
from scalesearch.study.store import load_records
from tests.export.exports import CLASSES, new_detector, new_network, small_study

FORMS = {"safetensors": "net.safetensors", "onnx": "net.onnx", "program": "net.pt2", "timm": "timm.safetensors"}


def export(**keys: Any) -> ExportResult:
    return export_network(ExportConfig(**keys))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a family's best member in every form into one folder."""
    root = tmp_path_factory.mktemp("exported")
    small_study(root / "results")
    for form, name in FORMS.items():
        result = export(study="small", results=str(root / "results"), to=form, out=str(root / "out" / name))
        assert result.difference is None or result.difference <= 1e-5
        assert all(path.is_file() for path in result.files)
    Image.effect_noise((90, 70), 90).convert("RGB").save(root / "out" / "picture.jpg")
    return root / "out"


def snippets(card: str) -> list[str]:
    return [block.split("```")[0] for block in card.split("```python\n")[1:]]


@pytest.mark.slow
def test_every_form_gives_the_same_logits_and_every_snippet_of_the_card_runs(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(exported)
    found = snippets((exported / "README.md").read_text(encoding="utf-8"))
    assert len(found) == len(FORMS)
    logits = []
    for snippet in found:
        (tmp_path / "snippet.py").write_text(snippet, encoding="utf-8")
        logits.append(torch.as_tensor(runpy.run_path(str(tmp_path / "snippet.py"))["logits"]))
        assert capsys.readouterr().out.rstrip("\n") in CLASSES
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-4, atol=1e-5)
    assert logits[0].std() > 1e-3


def test_the_onnx_graph_takes_any_batch_and_says_what_it_is(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "net.onnx")
    [images], [logits] = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape, logits.name, logits.shape) == (
        "images",
        ["batch", 3, 32, 32],
        "logits",
        ["batch", 3],
    )
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["class_names"]) == list(CLASSES)
    [opset] = onnx.load(exported / "net.onnx").opset_import
    assert opset.version >= 18
    assert {path.name for path in exported.iterdir()} >= {*FORMS.values(), "timm.py", "README.md"}
    assert not list(exported.glob("*.data"))  # one file


def test_the_card_says_what_the_study_knows(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    head = ModelCard(card).data.to_dict()
    assert (head["pipeline_tag"], head["library_name"], head["license"]) == (
        "image-classification",
        "scalesearch",
        "other",
    )
    [result] = head["model-index"][0]["results"]
    assert result["metrics"][1] == {"type": "accuracy", "name": "top-1 on test", "value": 0.75}
    assert "| top-1 on search-val | 0.85 | 0.05 | 2 | 0.8 |" in card
    assert "| top-1 on test | 0.75 | 0.05 | 2 | 0.7 |" in card
    assert "| root | birds\\|tar |" in card
    assert "private" not in card  # where the images lay is nobody's business
    assert "loader_workers" not in card
    assert "| augmentation.flip | True |" in card
    cost = scalesearch.network_cost(scalesearch.load(exported / "net.safetensors").arch, num_classes=3)
    assert f"| {cost.params:,} | {cost.macs:,} | {cost.acts:,} |" in card
    assert "Untrained" not in card


def test_names_of_classes_are_text_in_the_card(exported: Path) -> None:
    body = (exported / "README.md").read_text(encoding="utf-8").split("## Input and output")[1]
    assert "1 &lt;script&gt;alert(1)&lt;/script&gt; \\`\\[x\\](y)\\`, 2 héron" in body
    assert "<script>" not in body


def test_an_untrained_network_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a" / "net.safetensors"
    arguments = ["arch=ds_r1_k3_s1_c8,ir_r1_k3_s2_e2_c8", "num_classes=4", "image_size=32", "to=safetensors"]
    assert main(["export", *arguments, f"out={out}"]) == 0
    said = capsys.readouterr()
    assert "untrained" in said.out
    card = out.with_name("README.md").read_text(encoding="utf-8")
    assert "**Untrained: the weights are fresh, as drawn. Its outputs mean nothing.**" in card
    assert "Not measured here." in card
    assert scalesearch.load(out).image_size == 32


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "program"])
def test_a_detector_goes_out_with_and_without_suppression(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_trained(new_detector(), "detector.safetensors")
    suffix = {"onnx": "onnx", "program": "pt2"}[form]
    for nms in (False, True):
        result = export(weights="detector.safetensors", to=form, out=f"nms-{nms}.{suffix}", nms=nms)
        assert result.difference is not None
        assert result.difference <= 1e-5
    Image.effect_noise((90, 70), 90).convert("RGB").save("picture.jpg")
    best, every = None, None
    for snippet in snippets(Path("README.md").read_text(encoding="utf-8")):
        Path("snippet.py").write_text(snippet, encoding="utf-8")
        ran = runpy.run_path("snippet.py")
        if "labels" in ran:
            best = [torch.as_tensor(ran[name]) for name in ("boxes_xyxy", "scores", "labels")]
        else:
            every = [torch.as_tensor(ran[name]) for name in ("boxes_xyxy", "scores")]
    assert best is not None
    assert every is not None
    place = divmod(int(every[1][0].argmax()), 3)
    torch.testing.assert_close(best[1][0], every[1][0][place], rtol=0, atol=1e-5)
    torch.testing.assert_close(best[0][0], every[0][0, place[0]], rtol=0, atol=1e-3)
    assert 1 < len(best[0]) <= 100
    assert (best[1] >= 0.3).all()


def test_a_detector_is_no_network_of_timms_and_a_classifier_has_no_boxes(tmp_path: Path) -> None:
    save_trained(new_detector(), tmp_path / "detector.safetensors")
    weights = str(tmp_path / "detector.safetensors")
    with pytest.raises(ExportError, match=r"^timm has no detectors: to=timm is for networks that classify$"):
        export(weights=weights, to="timm", out=str(tmp_path / "out" / "a.safetensors"))
    with pytest.raises(ConfigError, match=r"^nms must be false: the network is no detector, got true$"):
        export(arch="efficientnet-b0", out=str(tmp_path / "out" / "a.onnx"), nms=True)
    assert not (tmp_path / "out").exists()


def test_a_graph_that_gives_other_outputs_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "run", lambda graph, images: (graph.module(images).detach() + 1,))
    with pytest.raises(ExportError, match=r"^the program: outputs must be those of the network within 0\.0001, got"):
        export(arch="ds_r1_k3_s1_c8", num_classes=2, image_size=32, to="program", out=str(tmp_path / "a.pt2"))
    assert not list(tmp_path.iterdir())


def test_without_its_packages_onnx_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(
        ExportError, match=r"^to=onnx needs the package no_such_package: pip install 'scalesearch\[onnx\]'$"
    ):
        export(study="nowhere", out=str(tmp_path / "a.onnx"))


def test_a_readme_that_is_no_card_of_this_network_is_never_overwritten(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"arch": "ds_r1_k3_s1_c8", "num_classes": 2, "image_size": 32, "to": "safetensors"}
    card = tmp_path / "README.md"
    for text in (
        "# My project\n",
        "---\nlicense: mit\n---\n",
        "---\nscalesearch: {files: {../x: {form: onnx}}}\n---\n",
    ):
        card.write_text(text, encoding="utf-8")
        with pytest.raises(
            ExportError, match=r"README\.md: a README of another kind, which an export leaves alone; .*"
        ):
            export(**keys, out=str(tmp_path / "a.safetensors"))
        assert card.read_text(encoding="utf-8") == text
    card.unlink()
    export(**keys, out=str(tmp_path / "a.safetensors"))
    export(**keys, out=str(tmp_path / "b.safetensors"))
    assert "### a.safetensors" in card.read_text(encoding="utf-8")
    assert "### b.safetensors" in card.read_text(encoding="utf-8")
    with pytest.raises(ExportError, match=r"README\.md: the card of another network, '\w{12}'; choose out= in another"):
        export(**keys, seed=1, out=str(tmp_path / "c.safetensors"))
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "a.safetensors", "b.safetensors"}


def test_a_file_that_is_gone_leaves_the_card_whatever_it_was_called(tmp_path: Path) -> None:
    card, files = tmp_path / "README.md", {"x" * 5000: {"form": "onnx", "nms": False}}
    card.write_text(f"---\n{yaml.safe_dump({'scalesearch': {'arch_id': 'a', 'weights': 'b', 'files': files}})}---\n")
    assert begin_card(card, "a", "b").files == {}


def test_a_python_file_of_somebodys_is_never_overwritten_by_timms(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "arch": "ds_r1_k3_s1_c8",
        "num_classes": 2,
        "to": "timm",
        "out": str(tmp_path / "a.safetensors"),
    }
    (tmp_path / "a.py").write_text("print(1)\n", encoding="utf-8")
    with pytest.raises(ExportError, match=r"a\.py: a Python file of another kind, which an export leaves alone; .*"):
        export(**keys, image_size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["a.py"]
    (tmp_path / "a.py").unlink()
    export(**keys, image_size=32)
    export(**keys, image_size=32)  # our own is written anew


@pytest.mark.slow
def test_a_searched_network_in_onnxruntime_has_the_accuracy_that_the_search_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["data.patches_per_class=12", "data.eval_patches_per_class=20", "data.stored_size=32"]
    blocks = {"block": "ir", "kernel_size": 3, "stride": 2, "expand_ratio": 2, "out_channels": [8, 16], "num_blocks": 1}
    space = {"image_size": 32, "stem_channels": 8, "stem_stride": 2, "head_channels": 32, "stages": [blocks]}
    Path("space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    train = ["train.steps=40", "train.batch_size=16", "device=cpu", "workers=1", "threads=1"]
    assert main(["search", "study=mine", "space=space.yaml", "trials=2", *data, *train]) == 0
    result = export(study="mine", out="out/mine.onnx")
    [record] = load_records(f"sqlite:///{tmp_path}/results/mine/study.db", "mine")
    frame = record.frame()
    recorded = frame[frame.arch_id == result.choice.arch_id].val_top1.iloc[0]
    val = load_data(DataConfig(patches_per_class=12, eval_patches_per_class=20, stored_size=32)).val
    session, correct = onnxruntime.InferenceSession("out/mine.onnx"), 0
    for batch, labels in val.batches(batch_size=50, image_size=32, augmentation=None, shuffle=False, drop_last=False):
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in _normalisation(result))
        [logits] = session.run(None, {"images": (batch * std + mean).numpy()})
        correct += int((logits.argmax(1) == labels.numpy()).sum())
    assert correct / len(val) == pytest.approx(recorded, abs=1.5 / len(val))
    assert recorded > 0.2  # it has learnt something


def _normalisation(result: ExportResult) -> tuple[tuple[float, ...], tuple[float, ...]]:
    normalisation = result.choice.trained.normalisation
    assert normalisation is not None
    return normalisation.mean, normalisation.std


def test_a_program_runs_without_scalesearch(exported: Path) -> None:
    code = (
        "import sys, torch; model = torch.export.load('net.pt2').module(); "
        "print(tuple(model(torch.zeros(5, 3, 32, 32)).shape), 'scalesearch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=exported, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(5, 3) False\n"), done.stderr


def test_the_forms_hold_the_family_members_own_weights(exported: Path) -> None:
    model, member = scalesearch.load(exported / "net.safetensors"), new_network(seed=2)
    assert model.arch.head_channels == 24
    assert not torch.equal(model.network.conv_stem.weight, new_network(seed=1).network.conv_stem.weight)
    assert model.network.conv_stem.weight.shape == member.network.conv_stem.weight.shape
