"""What a search will take: measured on real steps, less what the study has done, refused where nothing is trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scalesearch.arch.budget import Budget
from scalesearch.data import DataConfig
from scalesearch.errors import ConfigError, ScalesearchError
from scalesearch.measure.scores import ScoreConfig
from scalesearch.measure.training import TrainConfig
from scalesearch.search import SearchConfig, run_search
from scalesearch.search.planning import PlanConfig, plan_search
from scalesearch.study.executors import ExecutorConfig


def settings(results: Path, **changes: object) -> dict[str, object]:
    data = DataConfig(patches_per_class=4, eval_patches_per_class=4, stored_size=32)
    shared = {"study": "mine", "results": str(results), "data": data, "train": TrainConfig(steps=40, batch_size=8)}
    return {**shared, "workers": 2, "device": "cpu", "budget": Budget(macs=3e6), "trials": 6, **changes}


def test_a_plan_is_of_measured_networks_within_the_budget_and_begins_no_study(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    info = plan_search(PlanConfig(**settings(tmp_path), timed_steps=4), lambda *progress: told.append(progress))  # type: ignore[arg-type]
    small, median, large = info.timed
    assert small.cost.acts < median.cost.acts < large.cost.acts
    assert all(each.cost.macs <= 3e6 and each.step_seconds > 0 and each.memory_mib > 100 for each in info.timed)
    assert 0 < info.seconds_low <= info.seconds <= info.seconds_high
    least, most = (
        info.trials_left / 2 * each.fixed_seconds for each in sorted(info.timed, key=lambda x: x.fixed_seconds)[::2]
    )
    steps = [info.trials_left / 2 * 40 * each.step_seconds for each in info.timed]
    assert least + min(steps) <= info.seconds <= most + max(steps)
    assert (info.trials_done, info.trials_left, info.num_steps, info.workers) == (0, 6, 40, 2)
    assert info.memory_mib >= 2 * max(each.memory_mib for each in info.timed)
    assert 0 < info.cache_mib < 100
    assert told == [("networks timed", number, 3) for number in (1, 2, 3)]
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"cache"}
    assert re.match(r"Trials: 6 networks of 40 steps; none yet\.", info.sentences()[0])


def test_a_begun_study_needs_only_the_rest(tmp_path: Path) -> None:
    run_search(SearchConfig(**settings(tmp_path, trials=2, train=TrainConfig(steps=2, batch_size=8))))  # type: ignore[arg-type]
    info = plan_search(PlanConfig(**settings(tmp_path, workers=1), timed_steps=1))  # type: ignore[arg-type]
    assert (info.trials_done, info.trials_left) == (2, 4)
    assert info.sentences()[0] == "Trials: 6 networks of 40 steps; 2 are scored already, 4 are left."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"score": ScoreConfig(method="proxy")}, "score must be brief, .*; got 'proxy'"),
        ({"executor": ExecutorConfig(kind="ray")}, "executor must be local, .*; got 'ray'"),
        ({"timed_steps": 0}, "timed_steps must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_timed_here_is_refused(changes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        PlanConfig(**settings(tmp_path, **changes))  # type: ignore[arg-type]


def test_a_budget_below_the_cheapest_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScalesearchError, match=r"budget\.macs must be at least"):
        plan_search(PlanConfig(**settings(tmp_path, budget=Budget(macs=10))))  # type: ignore[arg-type]
