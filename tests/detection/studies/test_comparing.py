"""Detectors side by side: which are planned, what is kept of them, and how a comparison goes on."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from scalesearch.arch.reading import read_rule
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.arch.fusion import NECKS
from scalesearch.detection.arch.reading import load_detector
from scalesearch.detection.arch.scaling import scale_detector
from scalesearch.detection.arch.spec import FUSIONS
from scalesearch.detection.data import load_box_data
from scalesearch.detection.nn.trained import load_trained
from scalesearch.detection.scoring import detect, score_detections
from scalesearch.detection.studies import DetectConfig, DetectorJob, run_detect
from scalesearch.errors import ConfigError, DataError, ScalesearchError, StudyError
from tests.detection.studies.stand_ins import (
    NUM_CLASSES,
    TINY_BOXES,
    TINY_TRAINING,
    DetectorFormulaExecutor,
    detect_keys,
    new_detect,
    read_record,
    read_trials,
    worth,
    write_coco,
)

RULE = "1.2,1.1,1.15"


def test_every_neck_with_every_fusion_is_planned_once(tmp_path: Path) -> None:
    config = new_detect(tmp_path, neck=",".join([*NECKS, "fpn"]), fusion=", ".join(FUSIONS))
    plan = config.plan(NUM_CLASSES)
    assert [(each.spec.neck, each.spec.fusion) for each in plan] == list(itertools.product(NECKS, FUSIONS))
    assert [each.label for each in plan] == [f"{neck} {fusion}" for neck, fusion in itertools.product(NECKS, FUSIONS)]
    assert {each.spec.num_classes for each in plan} == {NUM_CLASSES}
    assert all(each.cost == detector_cost(each.spec).total for each in plan)


def test_without_a_key_the_detectors_own_neck_and_sizes_are_taken(tmp_path: Path) -> None:
    unsaid = dict.fromkeys(("neck_channels", "neck_cells", "head_depth", "image_size", "backbone", "max_level"))
    (planned,) = new_detect(tmp_path, detector="efficientdet-d0", **unsaid).plan(90)
    assert (planned.label, planned.spec.arch_id) == ("bifpn fast", load_named("efficientdet-d0").arch_id)


def load_named(name: str) -> Any:
    return DetectConfig(detector=name).read_base(90)


def test_phi_plans_what_the_scaling_of_detectors_gives(tmp_path: Path) -> None:
    (base,) = new_detect(tmp_path).plan(NUM_CLASSES)
    plan = new_detect(tmp_path, phi="0..2", factors=RULE).plan(NUM_CLASSES)
    assert [each.spec for each in plan] == [scale_detector(base.spec, phi, read_rule(RULE)) for phi in (0, 1, 2)]
    assert [each.label for each in plan] == ["bifpn fast phi=0", "bifpn fast phi=1", "bifpn fast phi=2"]
    assert plan[0].spec == base.spec


def test_detectors_that_round_to_the_same_are_one(tmp_path: Path) -> None:
    rule = "1,1,1"
    plan = new_detect(tmp_path, phi=[0, 0.001, 1], factors=rule).plan(NUM_CLASSES)
    assert [each.phi for each in plan] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"neck": "foo"}, "neck must be one of fpn, panet, bifpn, got 'foo'"),
        ({"neck": "fpn,"}, "neck must be one of fpn, panet, bifpn, got ''"),
        ({"fusion": "x"}, "fusion must be one of sum, softmax, fast, got 'x'"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        (
            {"phi": "0..1"},
            "factors must be given with phi=0..1: the rule by which the backbone grows, a file that `scale` wrote or"
            " ALPHA,BETA,GAMMA",
        ),
        ({"phi": "up"}, "phi must be exponents in [-10, 10], as 0..4 or 0,1,2.5; got 'up'"),
    ],
)
def test_a_key_that_cannot_be_is_refused_at_once(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        new_detect(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 0}, "image_size must be a whole number of at least 1, got 0"),
        ({"neck_channels": -8}, "neck_channels must be a whole number of at least 1, got -8"),
        ({"min_level": 9}, "min_level must be in 1 .. 4, the levels of the backbone's stages, got 9"),
        ({"backbone": "resnet50"}, "an architecture is "),
        ({"detector": "yolo"}, "a detector is small, efficientdet-d0 .. d7x, or "),
        ({"factors": "1,2"}, "factors are a file that scale wrote, or numbers "),
    ],
)
def test_keys_that_make_no_detector_begin_no_record(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScalesearchError, match=f"^{re.escape(sentence)}"):
        run_detect(new_detect(tmp_path, **changes))
    assert not (tmp_path / "mine" / "study.db").exists()


def test_every_detector_is_trained_with_every_seed_and_summed_up(tmp_path: Path) -> None:
    executor = DetectorFormulaExecutor(num_workers=2)
    config = new_detect(tmp_path, executor, neck="fpn,bifpn", fusion="sum,fast", seeds=2, seed=5)
    result = run_detect(config)
    specs = [each.spec for each in config.plan(NUM_CLASSES)]
    jobs = [job for _, job in executor.submitted]
    assert [(job.arch, job.seed) for job in jobs] == [(spec, seed) for seed in (5, 6) for spec in specs]
    assert executor.closed
    assert result.table.detector.tolist() == ["fpn sum", "fpn fast", "bifpn sum", "bifpn fast"]
    assert result.table.arch_id.tolist() == [spec.arch_id for spec in specs]
    assert result.table.macs.tolist() == [detector_cost(spec).total.macs for spec in specs]
    assert result.table.num_seeds.tolist() == [2] * 4
    aps = [worth(job) for job in jobs if job.arch == specs[0]]
    assert result.table.val_ap.iloc[0] == pytest.approx(sum(aps) / 2)
    assert result.table.val_ap_se.iloc[0] == pytest.approx(abs(aps[0] - aps[1]) / 2)
    assert result.table.test_ap.isna().all()
    trials = read_trials(tmp_path)
    assert (trials.state == "COMPLETE").all()
    assert trials.label.tolist() == result.table.detector.tolist() * 2
    assert trials["param.phi"].tolist() == [0.0] * 8


def test_the_best_detector_is_written_with_its_tables_and_its_weights(tmp_path: Path) -> None:
    config = new_detect(tmp_path, DetectorFormulaExecutor(lambda job: 0.5 if job.arch.neck == "panet" else 0.4))
    config.neck = "fpn,panet,bifpn"
    result = run_detect(config)
    folder = tmp_path / "mine"
    assert result.best.neck == "panet"
    assert load_detector(folder / "detect.yaml") == result.best
    assert {path.name for path in folder.iterdir() if path.is_file()} >= {
        "config.yaml",
        "detect.csv",
        "detect-classes.csv",
        "detect.yaml",
        "study.db",
        "trials.csv",
    }
    pd.testing.assert_frame_equal(pd.read_csv(folder / "detect.csv"), result.table, check_dtype=False)
    assert result.checkpoint is not None
    assert result.checkpoint.read_text(encoding="ascii") == result.best.arch_id
    assert len(list((folder / "checkpoints").iterdir())) == 3  # of the first seed alone
    assert set(yaml.safe_load((folder / "config.yaml").read_text())) == {"detect"}


def test_run_again_trains_nothing_and_gives_the_same_table(tmp_path: Path) -> None:
    keys = {"neck": "fpn,bifpn", "seeds": 2}
    first = run_detect(new_detect(tmp_path, **keys))
    csv = (tmp_path / "mine" / "trials.csv").read_bytes()
    idle = DetectorFormulaExecutor()
    again = run_detect(new_detect(tmp_path, idle, **keys))
    assert idle.submitted == []
    pd.testing.assert_frame_equal(again.table, first.table)
    pd.testing.assert_frame_equal(again.classes, first.classes)
    assert (again.best, again.checkpoint) == (first.best, first.checkpoint)
    assert (tmp_path / "mine" / "trials.csv").read_bytes() == csv


def test_more_necks_sizes_and_seeds_train_only_what_is_new(tmp_path: Path) -> None:
    run_detect(new_detect(tmp_path, neck="bifpn"))
    more = DetectorFormulaExecutor()
    result = run_detect(new_detect(tmp_path, more, neck="bifpn,fpn", seeds=2, phi="0,1", factors=RULE))
    jobs = [(job.arch.neck, job.arch.neck_cells, job.seed) for _, job in more.submitted]
    assert len(jobs) == 7
    assert ("bifpn", 1, 0) not in jobs
    assert result.checkpoint is not None
    first = result.table[result.table.detector == "bifpn fast phi=0"]
    assert first.num_seeds.tolist() == [2]
    checkpoints = {path.name for path in (tmp_path / "mine" / "checkpoints").iterdir()}
    assert len(checkpoints) == 4  # what was trained under a shorter label has kept its file
    assert f"detect-bifpn-fast-{first.arch_id.iloc[0]}.safetensors" in checkpoints


def test_a_detector_that_a_study_was_begun_with_is_not_changed_by_it(tmp_path: Path) -> None:
    begun = tmp_path / "mine" / "detector.yaml"
    run_detect(new_detect(tmp_path))
    (tmp_path / "mine" / "detect.yaml").rename(begun)
    unsaid = dict.fromkeys(("neck_channels", "neck_cells", "head_depth", "image_size", "backbone", "max_level"))
    keys = {"detector": str(begun), "phi": "0,1", "factors": RULE, **unsaid}
    run_detect(new_detect(tmp_path, **keys))
    idle = DetectorFormulaExecutor()
    run_detect(new_detect(tmp_path, idle, **keys))
    assert idle.submitted == []


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_interrupted_comparison_goes_on_and_repeats_nothing(tmp_path: Path, num_workers: int) -> None:
    keys = {"neck": "fpn,panet,bifpn", "seeds": 2}
    stopped = DetectorFormulaExecutor(num_workers=num_workers, last=3)
    with pytest.raises(KeyboardInterrupt):
        run_detect(new_detect(tmp_path, stopped, **keys))
    assert stopped.closed
    assert read_trials(tmp_path).state.tolist() == ["COMPLETE"] * 3 + ["RUNNING"] * num_workers
    again = DetectorFormulaExecutor(num_workers=num_workers)
    result = run_detect(new_detect(tmp_path, again, **keys))
    assert [key for key, _ in again.submitted] == [3, 4, 5]
    assert read_trials(tmp_path).state.tolist() == ["COMPLETE"] * 6
    assert result.table.num_seeds.tolist() == [2, 2, 2]


def test_a_class_without_boxes_is_none_in_the_record_and_empty_in_the_table(tmp_path: Path) -> None:
    result = run_detect(new_detect(tmp_path, seeds=2))
    (trial, _) = read_record(tmp_path).trials
    assert trial.user_attrs["score"]["val_ap_of_class"][0] is None
    assert "NaN" not in json.dumps(trial.user_attrs["score"])
    assert result.classes["class"].tolist() == [str(digit) for digit in range(NUM_CLASSES)]
    assert result.classes.val_ap.isna().tolist() == [True] + [False] * 9
    lines = (tmp_path / "mine" / "detect-classes.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["detector,class,val_ap,val_ap_se", "bifpn fast,0,,"]
    (told,) = pd.read_csv(tmp_path / "mine" / "trials.csv").val_ap_of_class.unique()[:1]
    assert told.startswith("[None, ")


def test_a_failed_training_leaves_its_detector_with_the_other_seeds(tmp_path: Path) -> None:
    def fail_first(job: DetectorJob) -> float:
        return worth(job) / (job.seed if job.arch.neck == "fpn" else 1)

    result = run_detect(new_detect(tmp_path, DetectorFormulaExecutor(fail_first), neck="fpn,bifpn", seeds=2))
    assert result.table.num_seeds.tolist() == [1, 2]
    assert pd.isna(result.table.val_ap_se.iloc[0])
    assert read_trials(tmp_path).state.tolist() == ["FAILED", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_the_best_has_no_weights_where_its_first_seed_failed(tmp_path: Path) -> None:
    def fail_first(job: DetectorJob) -> float:
        return 0.5 / job.seed

    result = run_detect(new_detect(tmp_path, DetectorFormulaExecutor(fail_first), seeds=2))
    assert result.checkpoint is None


def test_a_detector_that_failed_with_every_seed_has_an_empty_row_and_is_not_the_best(tmp_path: Path) -> None:
    def fail_fpn(job: DetectorJob) -> float:
        return 0.0 / (job.arch.neck != "fpn")

    result = run_detect(new_detect(tmp_path, DetectorFormulaExecutor(fail_fpn), neck="fpn,bifpn"))
    assert result.table.num_seeds.tolist() == [0, 1]
    assert result.table.val_ap.isna().tolist() == [True, False]
    assert result.classes[result.classes.detector == "fpn fast"].val_ap.isna().all()
    assert result.best.neck == "bifpn"  # with an AP of 0


def test_where_every_training_failed_one_sentence_says_so(tmp_path: Path) -> None:
    config = new_detect(tmp_path, DetectorFormulaExecutor(lambda _: 1 / 0))
    with pytest.raises(StudyError, match=r"^study mine: every training of detect failed; trials\.csv has the reasons$"):
        run_detect(config)
    assert pd.read_csv(tmp_path / "mine" / "trials.csv").reason.tolist() == ["ZeroDivisionError: division by zero"]


def test_the_test_split_is_read_only_when_it_is_asked_for_and_from_the_beginning(tmp_path: Path) -> None:
    executor = DetectorFormulaExecutor()
    result = run_detect(new_detect(tmp_path, executor, reads_test=True))
    assert all(job.reads_test for _, job in executor.submitted)
    assert result.table.test_ap.notna().all()
    (tmp_path / "other").mkdir()
    run_detect(new_detect(tmp_path / "other"))
    with pytest.raises(StudyError, match=r"part detect, was begun with reads_test null, got true; choose another"):
        run_detect(new_detect(tmp_path / "other", reads_test=True))


def test_reading_a_test_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "pictures", ["cat"])
    with pytest.raises(ConfigError, match=r"^reads_test must be false: the data have no test split$"):
        run_detect(new_detect(tmp_path, data=data, reads_test=True))


def test_a_val_split_without_a_box_is_refused(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "pictures", ["cat"], has_val_boxes=False)
    with pytest.raises(DataError, match=r"^val: needs at least one box to score by, got none in 2 pictures$"):
        run_detect(new_detect(tmp_path, data=data))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"train": replace(TINY_TRAINING, steps=3)}, r"train\.steps 2, got 3"),
        ({"data": replace(TINY_BOXES, made_val_images=5)}, r"data\.val_images 4, got 5"),
        ({"seed": 1}, r"seed 0, got 1"),
    ],
)
def test_a_comparison_is_not_mixed_with_another(tmp_path: Path, changes: dict[str, Any], difference: str) -> None:
    run_detect(new_detect(tmp_path))
    with pytest.raises(StudyError, match=rf"^study mine, part detect, was begun with {difference}; choose another"):
        run_detect(new_detect(tmp_path, **changes))


def test_a_study_that_another_process_drives_is_left_alone(tmp_path: Path) -> None:
    config = new_detect(tmp_path)
    with config.held(), pytest.raises(StudyError, match=r"^study mine is being run by another process"):
        run_detect(config)
    assert config.used.submitted == []


@pytest.mark.slow
def test_real_detectors_are_trained_in_processes_and_their_checkpoint_scores_as_the_record_says(
    tmp_path: Path,
) -> None:
    config = DetectConfig(**detect_keys(tmp_path, neck="fpn,bifpn", workers=2, reads_test=True))
    result = run_detect(config)
    trials = read_trials(tmp_path)
    assert trials.state.tolist() == ["COMPLETE"] * 2, trials.reason.tolist()
    assert trials.steps.tolist() == [2, 2]
    assert result.table.latency_ms.notna().all()
    assert result.table.test_ap.notna().all()
    assert result.checkpoint is not None
    trained = load_trained(result.checkpoint)
    data = load_box_data(config.data)
    assert trained.detector.spec == result.best
    found = detect(trained.detector, result.best, data.val, trained.normalisation, config=config.decoding)
    told = trials[trials.arch_id == result.best.arch_id].iloc[0]
    assert score_detections(found, data.val, data.num_classes).ap == told.val_ap
    assert sum(len(each.scores) for each in found) == told.num_detections
