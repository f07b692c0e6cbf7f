"""One training of a detector and its score: what is measured, what is written, and what happens at rungs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.detection.data import BoxData, load_box_data
from scalesearch.detection.data.sample import BoxSubset
from scalesearch.detection.nn.detector import build_detector
from scalesearch.detection.nn.trained import load_trained
from scalesearch.detection.scoring import detect, score_detections
from scalesearch.detection.studies import DetectorJob, DetectorScore, PretrainedConfig, job, score_detector
from scalesearch.detection.training import DetectorTrainConfig, fit_detector
from scalesearch.errors import ConfigError, DivergenceError
from scalesearch.measure.steps import Callbacks
from scalesearch.nn.network import build_network
from tests.detection.detectors import BACKBONE, tiny_spec
from tests.detection.studies.stand_ins import NUM_CLASSES, TINY_BOXES, TINY_TRAINING, write_coco

SPEC = tiny_spec(num_classes=NUM_CLASSES, neck_channels=8, max_level=4)
LOOSE = DecodingConfig(least_score=0.0, max_detections=5)  # few steps are sure of nothing
MEASURED = ("latency_ms", "latency_p90_ms", "train_seconds", "eval_seconds")


def new_job(**changes: Any) -> DetectorJob:
    return DetectorJob(**{"arch": SPEC, "seed": 0, "data": TINY_BOXES, "train": TINY_TRAINING, **changes})


def learnt(score: DetectorScore) -> DetectorScore:
    """Return a score without what a clock says."""
    return replace(score, **dict.fromkeys(MEASURED, 0.0))  # type: ignore[arg-type]


class Judge:
    """A watcher that answers at rungs, and keeps what it was told."""

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)
        self.readings: list[tuple[int, int, float]] = []
        self.steps: list[tuple[int, int]] = []

    def __call__(self, steps: int, num_steps: int) -> None:
        self.steps.append((steps, num_steps))

    def reached(self, rung: int, steps: int, worth: float) -> bool:
        self.readings.append((rung, steps, worth))
        return self._answers.pop(0)


@pytest.fixture(scope="module")
def data() -> BoxData:
    return load_box_data(TINY_BOXES)


def test_a_score_is_that_of_the_detector_in_its_checkpoint(tmp_path: Path, data: BoxData) -> None:
    path, watcher = tmp_path / "new" / "d.safetensors", Judge()
    score = score_detector(new_job(checkpoint=path, decoding=LOOSE, reads_test=True), watcher)
    trained = load_trained(path)
    assert trained.detector.spec == SPEC
    assert (trained.class_names, trained.category_ids) == (data.class_names, data.category_ids)
    assert trained.normalisation == data.normalisation
    for split in ("val", "test"):
        source = getattr(data, split)
        found = detect(trained.detector, SPEC, source, data.normalisation, config=LOOSE)
        scores = score_detections(found, source, data.num_classes)
        assert getattr(score, f"{split}_ap50") == scores.ap50
    assert score.num_detections == 5 * len(data.val)
    assert (score.steps, score.stopped, score.worth) == (2, False, score.val_ap)
    assert all(getattr(score, name) > 0 for name in MEASURED)
    assert watcher.steps == [(1, 2), (2, 2)]
    assert watcher.readings == []


def test_the_test_split_is_not_read_unless_it_is_asked_for() -> None:
    score = score_detector(new_job())
    assert math.isnan(score.test_ap)
    assert math.isnan(score.test_ap50)
    assert "test_ap" not in score.to_dict()


def test_one_seed_gives_one_score_and_another_seed_another(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    scores = [
        learnt(score_detector(new_job(seed=seed, checkpoint=path, decoding=LOOSE)))
        for seed, path in zip((1, 1, 2), files, strict=True)
    ]
    assert scores[0] == scores[1]
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.0}, {"ema_decay": 0.0, "frozen_backbone": True}])
def test_a_training_that_passes_its_rungs_ends_bit_for_bit_as_one_without(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    train = replace(TINY_TRAINING, steps=4, **changes)
    plain, read = tmp_path / "plain.safetensors", tmp_path / "read.safetensors"
    judge = Judge(True, True)
    one = score_detector(new_job(train=train, checkpoint=plain))
    other = score_detector(new_job(train=train, checkpoint=read, rungs=(1, 3)), judge)
    assert plain.read_bytes() == read.read_bytes()
    assert learnt(one) == learnt(other)
    assert [(rung, steps) for rung, steps, _ in judge.readings] == [(0, 1), (1, 3)]


def test_what_is_stopped_at_a_rung_writes_no_checkpoint_and_reads_no_test_split(tmp_path: Path) -> None:
    path, judge = tmp_path / "d.safetensors", Judge(True, False)
    train = replace(TINY_TRAINING, steps=4)
    score = score_detector(new_job(train=train, checkpoint=path, reads_test=True, rungs=(1, 2, 3)), judge)
    assert (score.stopped, score.steps) == (True, 2)
    assert judge.readings[-1] == (1, 2, score.val_ap)
    assert math.isnan(score.test_ap)
    assert score.latency_ms > 0
    assert not path.exists()
    assert "stopped" not in score.to_dict()


def test_a_reading_at_a_rung_is_that_of_a_training_which_ends_there(data: BoxData) -> None:
    train = replace(TINY_TRAINING, steps=3, warmup=0.0, ema_decay=0.5)
    seen: list[dict[str, Any]] = []

    def read(steps: int, network: nn.Module) -> bool:
        seen.append(job._read_val(network, data, new_job(decoding=LOOSE)))
        return False

    torch.manual_seed(0)
    detector = build_detector(SPEC)
    fitted = fit_detector(detector, data, train, callbacks=Callbacks(rungs=(2,), keep_on=read))
    assert fitted.steps == 2
    assert seen == [job._read_val(detector, data, new_job(decoding=LOOSE))]


def test_a_loss_that_is_no_number_is_a_failure_with_its_step() -> None:
    train = replace(TINY_TRAINING, steps=5, learning_rate=1e30, clip_norm=math.inf, warmup=0.0)
    with pytest.raises(DivergenceError, match=r"^the loss was (nan|inf) at step [2-5] of 5$"):
        score_detector(new_job(train=train))


def test_no_detections_are_an_ap_of_zero() -> None:
    score = score_detector(new_job(decoding=DecodingConfig(least_score=1.0)))
    assert (score.num_detections, score.val_ap, score.val_ap50, score.worth) == (0, 0.0, 0.0, 0.0)


def test_a_class_without_boxes_is_none_and_nothing_is_nan_in_what_is_kept(tmp_path: Path) -> None:
    boxes = write_coco(tmp_path / "pictures", ["cat", "dog"])
    score = score_detector(new_job(arch=replace(SPEC, num_classes=2), data=boxes))
    assert score.val_ap_of_class == (score.val_ap, None)
    assert math.isnan(score.val_ap_large)  # pictures of 64 px have none
    kept = json.dumps(score.to_dict(), allow_nan=False)
    assert "val_ap_large" not in kept


def test_pictures_without_boxes_are_trained_on_and_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    many = load_box_data(replace(TINY_BOXES, made_train_images=80, made_val_images=80))
    empty = [index for index in range(80) if not len(many.train.read_truth(index).labels)]
    bare = [index for index in range(80) if not len(many.val.read_truth(index).labels)]
    assert empty, "choose another seed: every picture has a box"
    assert bare, "choose another seed: every picture has a box"
    chosen = replace(
        many,
        train=BoxSubset(many.train, np.array([empty[0]] * 4)),
        val=BoxSubset(many.val, np.array([bare[0], 0, bare[0]])),
    )
    monkeypatch.setattr(job, "load_box_data", lambda config, warns: chosen)
    score = score_detector(new_job())
    assert 0.0 <= score.val_ap <= 1.0


def test_training_begins_with_the_weights_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    backbone = build_network(BACKBONE, 7)
    save_file(backbone.state_dict(), tmp_path / "backbone.safetensors")
    pretrained = PretrainedConfig(path=str(tmp_path / "backbone.safetensors"))
    path = tmp_path / "d.safetensors"
    train = replace(TINY_TRAINING, frozen_backbone=True)
    score_detector(new_job(pretrained=pretrained, train=train, checkpoint=path))
    begun = backbone.state_dict()
    for name, value in load_trained(path).detector.backbone.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, begun[name]), name


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file(build_network(replace(BACKBONE, stem_channels=16), 7).state_dict(), path)
    with pytest.raises(ConfigError, match=r"backbone\.safetensors: the backbone must be the detector's"):
        score_detector(new_job(pretrained=PretrainedConfig(path=str(path))))


@pytest.mark.parametrize(
    "score",
    [
        DetectorScore(),
        DetectorScore(val_ap=0.5, val_ap_of_class=(0.5, None, 0.25), num_detections=3, latency_ms=1.5, steps=7),
        DetectorScore(val_ap=0.0, test_ap=0.1, train_seconds=2.0),
    ],
)
def test_a_score_survives_the_record(score: DetectorScore, read_score: Callable[[Any], DetectorScore]) -> None:
    kept = json.loads(json.dumps(score.to_dict(), allow_nan=False))
    assert repr(read_score(kept)) == repr(score)  # NaN is not equal to itself


@pytest.fixture
def read_score(tmp_path: Path, data: BoxData) -> Callable[[Any], DetectorScore]:
    from scalesearch.detection.studies.searching import DetectorProblem
    from scalesearch.search.objectives import Objectives
    from tests.detection.studies.stand_ins import new_detect_scale

    config = new_detect_scale(tmp_path)
    return DetectorProblem(config, config.read_space(NUM_CLASSES), Objectives(kind="front"), data).read_score


def test_the_defaults_of_a_training_are_the_jobs_own() -> None:
    assert new_job().pretrained == PretrainedConfig()
    assert new_job(train=DetectorTrainConfig()).rungs == ()
