"""The search over detectors: the engine's gate, record and resumption, on neck, heads and image size."""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from scalesearch.arch.budget import Budget
from scalesearch.detection.arch.reading import load_detector
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.data import load_box_data
from scalesearch.detection.nn.trained import load_trained
from scalesearch.detection.scoring import detect, score_detections
from scalesearch.detection.studies import DetectorJob, DetectScaleConfig, latencies, run_detect_scale
from scalesearch.errors import ConfigError, ScalesearchError, SpaceError, StudyError
from scalesearch.search.rungs import PrunerConfig
from scalesearch.search.samplers import SAMPLERS
from tests.detection.studies.stand_ins import (
    NUM_CLASSES,
    TINY_TRAINING,
    DetectorFormulaExecutor,
    macs_of,
    new_detect_scale,
    read_record,
    read_trials,
    scale_keys,
    worth,
)

ALL = list(DetectScaleConfig(**scale_keys(Path())).read_space(NUM_CLASSES).detectors())
MEDIAN_MACS = statistics.median(map(macs_of, ALL))


def job_of(spec: DetectorSpec) -> DetectorJob:
    return DetectScaleConfig(**scale_keys(Path())).job(spec, 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_scores_so_many_detectors_and_keeps_the_best(tmp_path: Path, sampler: str) -> None:
    executor = DetectorFormulaExecutor(num_workers=2)
    result = run_detect_scale(new_detect_scale(tmp_path, executor, sampler=sampler, trials=6))
    assert result.num_scored == len(executor.submitted) == len({spec.arch_id for spec in executor.archs}) == 6  # type: ignore[attr-defined]
    best = max((job for _, job in executor.submitted), key=worth)  # type: ignore[arg-type]
    assert (result.best, result.score.val_ap, result.cost.macs) == (best.arch, worth(best), macs_of(best.arch))  # type: ignore[arg-type]
    assert load_detector(tmp_path / "mine" / "detector.yaml") == result.best
    assert result.checkpoint == tmp_path / "mine" / "checkpoints" / "detector.safetensors"
    assert result.checkpoint.read_text(encoding="ascii") == result.best.arch_id
    assert list(result.checkpoint.parent.iterdir()) == [result.checkpoint]
    assert {job.seed for _, job in executor.submitted} == {0}


def test_the_score_of_the_best_is_that_of_the_record_as_a_whole(tmp_path: Path) -> None:
    executor = DetectorFormulaExecutor()
    result = run_detect_scale(new_detect_scale(tmp_path, executor, trials=2))
    wanted = executor.score(job_of(result.best), result.score.val_ap, steps=2, stopped=False)
    assert repr(result.score) == repr(wanted)
    assert result.score.val_ap_of_class[0] is None
    assert all("NaN" not in json.dumps(trial.user_attrs) for trial in read_record(tmp_path).trials)


@pytest.mark.slow
def test_the_whole_space_is_searched_where_it_is_small_and_no_detector_twice(tmp_path: Path) -> None:
    executor = DetectorFormulaExecutor()
    choices = {"neck_channels": "8", "neck_cells": "1", "head_depth": "1,2", "image_size": "48,64"}
    result = run_detect_scale(new_detect_scale(tmp_path, executor, trials=50, sampler="predictor", **choices))
    assert result.num_scored == len(executor.submitted) == 4
    states = read_trials(tmp_path).state
    assert (states == "COMPLETE").sum() == 4
    assert set(states) == {"COMPLETE", "DUPLICATE"}


@pytest.mark.parametrize("sampler", ["predictor", "random"])
def test_a_space_of_one_detector_is_searched(tmp_path: Path, sampler: str) -> None:
    executor = DetectorFormulaExecutor()
    one = {"neck_channels": 8, "neck_cells": [1], "head_depth": "1", "image_size": "64"}
    result = run_detect_scale(new_detect_scale(tmp_path, executor, trials=1, sampler=sampler, **one))
    assert (result.num_scored, len(executor.submitted)) == (1, 1)


@pytest.mark.parametrize("sampler", ["predictor", "random"])
def test_what_is_over_the_budget_is_recorded_never_trained_and_never_chosen(tmp_path: Path, sampler: str) -> None:
    executor = DetectorFormulaExecutor()
    budget = Budget(macs=MEDIAN_MACS)
    result = run_detect_scale(new_detect_scale(tmp_path, executor, trials=6, sampler=sampler, budget=budget))
    assert all(macs_of(job.arch) <= MEDIAN_MACS for _, job in executor.submitted)  # type: ignore[arg-type]
    assert result.cost.macs <= MEDIAN_MACS
    trials = read_trials(tmp_path)
    over = trials[trials.macs > MEDIAN_MACS]
    assert set(over.state) <= {"INFEASIBLE"}
    if sampler == "random":
        assert len(over) > 0
    for number in over.number:
        trial = read_record(tmp_path).trials[number]
        assert trial.constraints["macs"] > 0
        assert trial.values == [0.0, trial.user_attrs["macs"]]


def test_a_budget_that_no_detector_meets_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    cheapest = min(map(macs_of, ALL))
    sentence = f"budget.macs must be at least {cheapest:,}, the cheapest detector of the choices; got 1,000"
    with pytest.raises(SpaceError, match=f"^{re.escape(sentence)}$"):
        run_detect_scale(new_detect_scale(tmp_path, budget=Budget(macs=1000.0)))
    assert not (tmp_path / "mine" / "study.db").exists()


def test_run_again_trains_nothing_and_chooses_the_same(tmp_path: Path) -> None:
    first = run_detect_scale(new_detect_scale(tmp_path, trials=4))
    csv = (tmp_path / "mine" / "trials.csv").read_bytes()
    idle = DetectorFormulaExecutor()
    again = run_detect_scale(new_detect_scale(tmp_path, idle, trials=4))
    assert idle.submitted == []
    assert repr(again) == repr(first)
    assert (tmp_path / "mine" / "trials.csv").read_bytes() == csv
    more = DetectorFormulaExecutor()
    run_detect_scale(new_detect_scale(tmp_path, more, trials=6))
    assert len(more.submitted) == 2


@pytest.mark.parametrize("sampler", ["predictor", "nsga2"])
def test_an_interrupted_search_ends_as_one_that_was_not(tmp_path: Path, sampler: str) -> None:
    once, stopped = tmp_path / "once", tmp_path / "stopped"
    for folder in (once, stopped):
        folder.mkdir()
    run_detect_scale(new_detect_scale(once, trials=7, sampler=sampler))
    with pytest.raises(KeyboardInterrupt):
        run_detect_scale(new_detect_scale(stopped, DetectorFormulaExecutor(last=3), trials=7, sampler=sampler))
    assert read_trials(stopped).state.tolist()[-1] == "RUNNING"
    run_detect_scale(new_detect_scale(stopped, trials=7, sampler=sampler))
    told = ["state", "arch_id", "val_ap", "macs"]
    pd.testing.assert_frame_equal(read_trials(stopped)[told], read_trials(once)[told])


def test_what_is_stopped_at_a_rung_is_pruned_and_not_the_best(tmp_path: Path) -> None:
    pruner = PrunerConfig(method="asha", grace=1)
    train = replace(TINY_TRAINING, steps=9)
    executor = DetectorFormulaExecutor(num_workers=2)
    result = run_detect_scale(new_detect_scale(tmp_path, executor, trials=10, train=train, pruner=pruner))
    assert {job.rungs for _, job in executor.submitted} == {(1, 3)}
    trials = read_trials(tmp_path)
    pruned = trials[trials.state == "PRUNED"]
    assert len(pruned) > 0
    assert set(pruned.steps) <= {1, 3}
    assert set(trials[trials.state == "COMPLETE"].steps) == {9}
    assert result.best.arch_id not in set(pruned.arch_id)
    assert result.num_scored == 10


def test_a_failed_training_is_kept_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    def fail_small(job: DetectorJob) -> float:
        return worth(job) / (job.arch.image_size - 48)

    result = run_detect_scale(new_detect_scale(tmp_path, DetectorFormulaExecutor(fail_small), trials=8))
    trials = read_trials(tmp_path)
    failed = trials[trials.state == "FAILED"]
    assert set(failed.image_size) == {48}
    assert set(failed.reason) == {"ZeroDivisionError: float division by zero"}
    assert result.best.image_size == 64


def test_where_nothing_was_scored_one_sentence_says_why(tmp_path: Path) -> None:
    config = new_detect_scale(tmp_path, DetectorFormulaExecutor(lambda _: 1 / 0), trials=2)
    sentence = r"^study mine: nothing was scored; trial 0 failed: ZeroDivisionError: division by zero$"
    with pytest.raises(StudyError, match=sentence):
        run_detect_scale(config)
    assert not (tmp_path / "mine" / "detector.yaml").exists()


def by_formula(spec: DetectorSpec, device: str) -> float:
    return spec.image_size / 8 + spec.neck_channels * (0.5 * spec.neck_cells + 0.25 * spec.head_depth)


def test_a_detector_slower_than_allowed_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "_time", by_formula)
    limit = statistics.median(by_formula(spec, "cpu") for spec in ALL)
    executor = DetectorFormulaExecutor()
    config = new_detect_scale(tmp_path, executor, trials=6, sampler="random", max_latency_ms=limit)
    run_detect_scale(config)
    assert all(by_formula(job.arch, "cpu") <= limit + 1e-9 for _, job in executor.submitted)  # type: ignore[arg-type]
    infeasible = [each for each in read_record(tmp_path).trials if each.user_attrs.get("state") == "INFEASIBLE"]
    assert infeasible
    for trial in infeasible:
        slow = by_formula(DetectorSpec.from_dict(trial.user_attrs["arch"]), "cpu")
        assert trial.constraints["latency_ms"] == pytest.approx(slow / limit - 1)
    file = tmp_path / "mine" / "detector-latencies.json"
    written = file.read_bytes()
    monkeypatch.setattr(latencies, "_time", lambda *_: pytest.fail("measured again"))
    run_detect_scale(new_detect_scale(tmp_path, trials=7, sampler="random", max_latency_ms=limit))
    assert file.read_bytes() == written


def test_with_latency_as_the_cost_the_front_is_drawn_against_what_was_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latencies, "_time", by_formula)
    run_detect_scale(new_detect_scale(tmp_path, trials=4, cost="latency"))
    for trial in read_record(tmp_path).trials:
        spec = DetectorSpec.from_dict(trial.user_attrs["arch"])
        assert trial.values[1] == pytest.approx(by_formula(spec, "cpu"))


def test_nothing_is_timed_where_no_latency_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "_time", lambda *_: pytest.fail("timed"))
    run_detect_scale(new_detect_scale(tmp_path, trials=1))
    assert not (tmp_path / "mine" / "detector-latencies.json").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"neck_channels": "abc"}, "neck_channels must be whole numbers as 32,48,64, got 'abc'"),
        ({"image_size": None}, "image_size must be whole numbers as 32,48,64, got None"),
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"sampler": "cma"}, "sampler must be one of predictor, random, tpe, nsga2, gp, got 'cma'"),
        ({"cost": "acts"}, "cost must be one of macs, params, latency, got 'acts'"),
        ({"max_latency_ms": 0.0}, "max_latency_ms must be above 0, got 0.0"),
        ({"max_latency_ms": math.nan}, "max_latency_ms must be above 0, got nan"),
    ],
)
def test_a_key_that_cannot_be_is_refused_at_once(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ConfigError, SpaceError), match=f"^{re.escape(sentence)}$"):
        new_detect_scale(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": "64,0"}, "image_size must be a whole number of at least 1, got 0"),
        ({"neck_cells": []}, "neck_cells must have at least one choice, got none"),
        ({"backbone": "resnet50"}, "an architecture is "),
    ],
)
def test_choices_that_make_no_detector_begin_no_record(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScalesearchError, match=f"^{re.escape(sentence)}"):
        run_detect_scale(new_detect_scale(tmp_path, **changes))
    assert not (tmp_path / "mine" / "study.db").exists()


def test_a_search_is_not_mixed_with_one_over_other_choices(tmp_path: Path) -> None:
    run_detect_scale(new_detect_scale(tmp_path, trials=1))
    difference = r"was begun with space\.choices\.head_depth\.1 2, got 3; choose another study name$"
    with pytest.raises(StudyError, match=difference):
        run_detect_scale(new_detect_scale(tmp_path, trials=1, head_depth="1,3"))


def test_a_study_that_another_process_drives_is_left_alone(tmp_path: Path) -> None:
    config = new_detect_scale(tmp_path)
    with config.held(), pytest.raises(StudyError, match=r"^study mine is being run by another process"):
        run_detect_scale(config)


@pytest.mark.slow
def test_real_detectors_are_searched_in_processes_with_rungs(tmp_path: Path) -> None:
    train = replace(TINY_TRAINING, steps=3)
    pruner = PrunerConfig(method="asha", eta=2, min_share=0.4, grace=1)
    config = DetectScaleConfig(**scale_keys(tmp_path, trials=3, workers=2, train=train, pruner=pruner, cost="params"))
    result = run_detect_scale(config)
    trials = read_trials(tmp_path)
    assert set(trials.state) <= {"COMPLETE", "PRUNED", "DUPLICATE"}, trials.reason.tolist()
    assert result.num_scored == 3
    assert result.checkpoint is not None
    trained = load_trained(result.checkpoint)
    data = load_box_data(config.data)
    found = detect(trained.detector, result.best, data.val, trained.normalisation, config=config.decoding)
    assert score_detections(found, data.val, data.num_classes).ap == result.score.val_ap
    assert list(result.checkpoint.parent.iterdir()) == [result.checkpoint]
    assert yaml.safe_load((tmp_path / "mine" / "config.yaml").read_text())["detect-scale"]["trials"] == 3
