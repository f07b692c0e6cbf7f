"""The verbs of detectors, from the command line to the files they leave."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scalesearch.cli import main
from scalesearch.detection.arch.reading import load_detector
from scalesearch.detection.nn.trained import load_trained

BOXES = ["data.made_train_images=8", "data.made_val_images=4", "data.made_test_images=4", "data.made_image_size=64"]
BACKBONE = "backbone=ds_r1_k3_s1_c8,ir_r1_k3_s2_e2_c8,ir_r1_k3_s2_e2_c16,ir_r1_k3_s2_e2_c16"
TINY_DETECTOR = [*BOXES, BACKBONE, "max_level=4", "train.batch_size=4", "device=cpu", "threads=1", "study=mine"]
SIZES = ["neck_channels=8", "neck_cells=1", "head_depth=1", "image_size=64"]
DETECT = [
    "detect",
    *TINY_DETECTOR,
    *SIZES,
    "train.steps=2",
    "neck=fpn,bifpn",
    "seeds=1",
    "workers=2",
    "reads_test=true",
]
DETECT_FILES = {
    "config.yaml",
    "detect-classes.csv",
    "detect.csv",
    "detect.yaml",
    "detections.png",
    "detectors.png",
    "detectors.svg",
    "study.db",
    "README.md",
    "report.html",
    "trials.csv",
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_detect_leaves_a_whole_study_that_predict_can_use_and_run_again_trains_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(DETECT) == 0
    out = capsys.readouterr().out
    assert re.search(r"Highest mean AP \d\.\d{3}, AP50 \d\.\d{3}: (fpn|bifpn) x1 fast c8 P2-P4", out)
    folder = Path("results/mine")
    sqlite = {"study.db-wal", "study.db-shm"}  # gone with the process
    assert {path.name for path in folder.iterdir() if path.is_file()} - {".lock", *sqlite} == DETECT_FILES
    checkpoints = sorted(folder.glob("checkpoints/*"))
    assert len(checkpoints) == 2
    said = (folder / "README.md").read_text(encoding="utf-8")
    headings = ["# Study mine", "## What was run", "## Detectors", "### By class", "### Detections and misses"]
    assert [line for line in said.splitlines() if line.startswith("#")] == headings
    written = re.search(r"Wrote (.*)", out)
    assert written
    assert all(Path(name).is_file() for name in written[1].split(", "))

    trials = pd.read_csv(folder / "trials.csv")
    assert trials.test_ap.notna().all()
    times = {path: path.stat().st_mtime_ns for path in checkpoints}
    assert main(DETECT) == 0
    pd.testing.assert_frame_equal(pd.read_csv(folder / "trials.csv"), trials)
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == times
    assert main(["report", "study=mine"]) == 0
    assert "2 trainings of detectors" in capsys.readouterr().out

    assert main(["predict", f"weights={checkpoints[0]}", f"images={folder / 'detections.png'}", "least_score=0"]) == 0
    assert re.search(r"^\d+ detections in 1 picture\.$", capsys.readouterr().out, flags=re.MULTILINE)
    found = json.loads(Path("predictions/predictions.json").read_text(encoding="utf-8"))
    assert [category["name"] for category in found["categories"]] == [str(digit) for digit in range(10)]
    assert Path("predictions/drawn/detections.png.png").is_file()


@pytest.mark.slow
def test_detect_scale_leaves_the_best_of_its_detectors_and_detect_compares_necks_on_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    choices = ["neck_channels=8,16", "neck_cells=1", "head_depth=1,2", "image_size=48,64"]
    search = ["detect-scale", *TINY_DETECTOR, *choices, "train.steps=1", "trials=2", "workers=1", "max_latency_ms=1e5"]
    assert main(search) == 0
    out = capsys.readouterr().out
    assert re.search(r"^Detector \w{12}: AP .* 2 detectors scored$", out, flags=re.MULTILINE)
    folder = Path("results/mine")
    best = load_detector(folder / "detector.yaml")
    assert load_trained(folder / "checkpoints/detector.safetensors").detector.spec == best
    assert {"detector-latencies.json", "detectors.png", "detections.png"} <= {path.name for path in folder.iterdir()}

    chosen = f"detector={folder / 'detector.yaml'}"
    assert main(["detect", "study=mine", chosen, "seeds=1", "neck=fpn", "train.steps=1", "train.batch_size=4"]) == 0
    assert load_detector(folder / "detector.yaml") == best
    assert load_detector(folder / "detect.yaml") == replace(best, neck="fpn")
    trials = pd.read_csv(folder / "trials.csv")
    assert (trials.part == "detect").sum() == 1
    assert load_trained(folder / "checkpoints/detector.safetensors").detector.spec == best
