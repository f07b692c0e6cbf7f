"""The search by every kind of score, end to end; the networks are tiny and really scored."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalesearch.arch import SearchSpace, network_cost
from scalesearch.arch.budget import Budget
from scalesearch.errors import ConfigError, SpaceError, StudyError
from scalesearch.measure.scores import ScoreConfig, SupernetConfig
from scalesearch.search import SearchConfig, SearchResult, proposing, run_search
from scalesearch.study.store import Record, load_records
from tests.study.stand_ins import settings

SMALL = {  # twelve networks
    "image_size": 16,
    "stem_channels": 8,
    "head_channels": 16,
    "stages": [
        {"block": "ds", "kernel_size": [3, 5], "stride": 2, "out_channels": [8, 16, 24]},
        {"block": "ir", "kernel_size": 3, "stride": 2, "expand_ratio": [2, 3], "out_channels": 16, "se_ratio": 0.25},
    ],
}


def search(folder: Path, score: ScoreConfig, *, space: Any = SMALL, **changes: Any) -> SearchResult:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(space), encoding="utf-8")
    return run_search(SearchConfig(**settings(folder, space=str(path), score=score, workers=1, **changes)))


def parts(folder: Path) -> dict[str, Record]:
    return {record.part: record for record in load_records(f"sqlite:///{folder}/mine/study.db", "mine")}


def test_a_proxy_is_searched_for_and_trains_nothing(tmp_path: Path) -> None:
    result = search(tmp_path, ScoreConfig(method="proxy", proxy="params"), trials=12, objective="accuracy")
    assert result.checkpoint is None
    assert result.worth == result.cost.params
    trials = parts(tmp_path)["search"].trials
    assert result.cost.params == max(trial.user_attrs["params"] for trial in trials)
    assert {trial.user_attrs["score"]["steps"] for trial in trials if "state" not in trial.user_attrs} == {0}


def test_a_supernet_is_trained_once_and_its_candidates_take_their_weights_from_it(tmp_path: Path) -> None:
    score = ScoreConfig(method="supernet", supernet=SupernetConfig(steps=3, batch_norm_images=22))
    search(tmp_path, score, trials=2)
    checkpoint = tmp_path / "mine" / "checkpoints" / "supernet.safetensors"
    written = checkpoint.stat().st_mtime_ns
    result = search(tmp_path, score, trials=4)
    assert checkpoint.stat().st_mtime_ns == written
    assert result.num_scored == 4
    assert result.checkpoint is not None


def test_a_supernet_of_another_space_is_refused_by_a_sentence_and_the_study_stays(tmp_path: Path) -> None:
    score = ScoreConfig(method="supernet", supernet=SupernetConfig(steps=1, batch_norm_images=22))
    search(tmp_path, score, trials=1)
    other = {**SMALL, "head_channels": 24}
    with pytest.raises(ConfigError, match=r"supernet\.safetensors.*space"):
        search(tmp_path, score, space=other, trials=2)
    assert len(parts(tmp_path)["search"].trials) == 1


def test_two_steps_propose_by_the_cheap_score_and_decide_by_training(tmp_path: Path) -> None:
    score = ScoreConfig(propose="proxy", proxy="params", propose_trials=10)
    result = search(tmp_path, score, trials=3, objective="accuracy")
    found = parts(tmp_path)
    proposed = sorted(
        (trial for trial in found["propose"].trials if "state" not in trial.user_attrs),
        key=lambda trial: -trial.values[0],
    )
    decided = [trial.user_attrs["arch_id"] for trial in found["search"].trials]
    assert len(proposed) == 10
    assert decided == [trial.user_attrs["arch_id"] for trial in proposed[:3]]
    assert all(trial.user_attrs["score"]["steps"] == 1 for trial in found["search"].trials)
    assert result.base.arch_id in decided


def test_two_steps_that_were_stopped_go_on_with_the_same_shortlist(tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    score = ScoreConfig(propose="proxy", proxy="params", propose_trials=8)
    for folder in (once, twice):
        folder.mkdir()
    search(once, score, trials=3)
    search(twice, score, trials=1)
    search(twice, score, trials=3)
    assert [trial.params for trial in parts(twice)["search"].trials] == [
        trial.params for trial in parts(once)["search"].trials
    ]


def write_macro(folder: Path, *, first: int = 0, leave_out: int = 0) -> Path:
    """Write NAS-Bench-Macro's format with invented accuracies: the more and the larger layers, the better."""
    space = SearchSpace.load("nas_bench_macro")
    rows = {}
    for digits in itertools.product("012", repeat=8):
        chosen = zip(space.parameters.items(), map(int, digits), strict=True)
        arch = space.decode({name: choices[index] for (name, choices), index in chosen})
        cost = network_cost(arch, num_classes=10)
        accuracy = 60.0 + sum(map(int, digits))
        rows["".join(digits)] = {"test_acc": [accuracy] * 3, "params": cost.params, "flops": cost.macs}
    kept = dict(list(rows.items())[first : len(rows) - leave_out])
    path = folder / "macro.json"
    path.write_text(json.dumps(kept), encoding="utf-8")
    return path


def on_table(folder: Path, table: Path | None, **changes: Any) -> SearchResult:
    score = ScoreConfig(method="table", path=str(table or ""), missing=changes.pop("missing", "infeasible"))
    return run_search(SearchConfig(**settings(folder, space="nas_bench_macro", score=score, **changes)))


def test_a_table_is_searched_without_images_and_its_optimum_is_found(tmp_path: Path) -> None:
    result = on_table(tmp_path, write_macro(tmp_path), trials=40, objective="accuracy")
    assert result.worth == pytest.approx(0.76)
    assert result.checkpoint is None


def test_a_network_that_the_table_lacks_is_infeasible_and_never_proposed_by_the_predictor(tmp_path: Path) -> None:
    table = write_macro(tmp_path, leave_out=2 * 3**7)  # all whose first layer is not an identity
    on_table(tmp_path, table, trials=12, sampler="random")
    lacking = [trial for trial in parts(tmp_path)["search"].trials if trial.user_attrs.get("state") == "INFEASIBLE"]
    assert lacking
    assert all(trial.constraints["score"] == 1.0 for trial in lacking)
    ours = tmp_path / "ours"
    ours.mkdir()
    on_table(ours, table, trials=12)
    assert not [trial for trial in parts(ours)["search"].trials if trial.user_attrs.get("state") == "INFEASIBLE"]


def test_fewer_points_than_trials_end_with_the_space_exhausted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = search(tmp_path, ScoreConfig(method="proxy", proxy="macs"), trials=50)
    assert result.num_scored == 12
    assert "space exhausted" in capsys.readouterr().err


def test_a_space_of_one_point_is_scored_once(tmp_path: Path) -> None:
    single = {**SMALL, "stages": [{"block": "ds", "kernel_size": 3, "stride": 2, "out_channels": 8}]}
    assert search(tmp_path, ScoreConfig(method="proxy", proxy="macs"), space=single, trials=3).num_scored == 1


def test_a_budget_under_the_smallest_network_is_refused_with_that_networks_cost(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"^budget.macs must be at least [\d,]+, the cheapest network"):
        search(tmp_path, ScoreConfig(method="proxy", proxy="macs"), budget=Budget(macs=10.0))


def test_limits_that_no_network_meets_together_end_with_the_nearest_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "_PATIENCE", 30)
    table = write_macro(tmp_path, first=3**8 - 20)
    with pytest.raises(StudyError, match=r"nothing was scored; all \d+ proposals were over a limit; the nearest"):
        on_table(tmp_path, table, trials=2, budget=Budget(params=4e5), sampler="random")


def test_a_table_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^score.path must be given with score=table"):
        on_table(tmp_path, None)
