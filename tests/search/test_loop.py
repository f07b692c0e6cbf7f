"""The search end to end on a formula with a known optimum: everything real but the training."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
from scalesearch.arch.budget import Budget, min_cost
from scalesearch.errors import ConfigError, SpaceError, StudyError
from scalesearch.measure.scores import Job
from scalesearch.search import SearchConfig, proposing, run_search
from scalesearch.search.rungs import PrunerConfig
from scalesearch.search.samplers import SAMPLERS
from tests.search.loops import (
    MEDIAN_MACS,
    NARROW,
    NUM_CLASSES,
    WIDE,
    all_archs,
    macs_of,
    new_config,
    proposals,
    read_record,
    read_trials,
    search,
)
from tests.study.stand_ins import FormulaExecutor, worth


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_runs_its_trials_within_the_budget(tmp_path: Path, sampler: str) -> None:
    executor = FormulaExecutor(num_workers=2)
    budget = Budget(macs=MEDIAN_MACS)
    result = search(tmp_path, executor, sampler=sampler, trials=15, budget=budget)
    assert result.num_scored == len(executor.submitted) == 15
    assert len({arch.arch_id for arch in executor.archs}) == 15
    assert all(macs_of(arch) <= MEDIAN_MACS for arch in executor.archs)
    assert executor.closed
    trials = read_trials(tmp_path)
    assert (trials.state == "COMPLETE").sum() == 15
    assert set(trials.state) <= {"COMPLETE", "INFEASIBLE", "DUPLICATE"}
    assert (trials[trials.state == "INFEASIBLE"].macs > MEDIAN_MACS).all()
    # Optuna's GP refuses a study where only some trials have constraints
    assert {tuple(trial.constraints) for trial in read_record(tmp_path).trials} == {("macs",)}


def test_tpe_finds_better_than_the_best_of_random_networks(tmp_path: Path) -> None:
    everything = sorted(worth(Job(arch, 0, None, None)) for arch in set(all_archs(WIDE)))  # type: ignore[arg-type]
    result = search(tmp_path, sampler="tpe", objective="accuracy", trials=30)
    # thirty random networks reach this rank on average
    assert result.worth >= everything[len(everything) * 30 // 31]


def test_the_base_is_the_best_network_within_the_budget_and_is_written(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    result = search(tmp_path, executor, trials=12, budget=Budget(macs=MEDIAN_MACS))
    best = max((job for _, job in executor.submitted), key=worth)
    assert result.worth == worth(best)
    assert result.cost == network_cost(result.base, num_classes=NUM_CLASSES)
    assert result.cost.macs <= MEDIAN_MACS
    assert ArchSpec.load(tmp_path / "mine" / "base.yaml") == result.base
    assert yaml.safe_load((tmp_path / "mine" / "config.yaml").read_text())["search"]["trials"] == 12


def test_only_the_bases_checkpoint_is_kept(tmp_path: Path) -> None:
    result = search(tmp_path, trials=8)
    assert list((tmp_path / "mine" / "checkpoints").iterdir()) == [result.checkpoint]
    assert result.checkpoint.read_text(encoding="ascii") == result.base.arch_id


def test_of_equals_the_cheaper_network_is_the_base(tmp_path: Path) -> None:
    executor = FormulaExecutor(lambda job: 0.5)
    result = search(tmp_path, executor, trials=8)
    assert macs_of(result.base) == min(map(macs_of, executor.archs))


@pytest.mark.parametrize(
    ("objective", "keys", "values"),
    [
        ("front", {}, lambda top1, macs: [top1, macs]),
        ("accuracy", {}, lambda top1, macs: [top1]),
        ("reward", {"target_macs": 1e5}, lambda top1, macs: [top1 * (macs / 1e5) ** -0.07]),
        ("reward", {"target_macs": 1e5, "reward_exponent": -2}, lambda top1, macs: [top1 * (macs / 1e5) ** -2]),
        ("reward", {"budget": Budget(macs=1e9)}, lambda top1, macs: [top1 * (macs / 1e9) ** -0.07]),
    ],
)
def test_the_study_is_told_the_values_of_its_objective(
    tmp_path: Path, objective: str, keys: dict[str, Any], values: Any
) -> None:
    result = search(tmp_path, objective=objective, trials=4, **keys)
    trials = [trial for trial in read_record(tmp_path).trials if "state" not in trial.user_attrs]
    assert len(trials) == 4
    for trial in trials:
        top1, macs = trial.user_attrs["score"]["val_top1"], trial.user_attrs["macs"]
        assert trial.values == pytest.approx(values(top1, macs))
    best = max(trials, key=lambda trial: trial.values[0])
    assert result.base.arch_id == best.user_attrs["arch_id"]
    assert result.worth == best.user_attrs["score"]["val_top1"]


def test_a_network_over_budget_is_told_worst_values_and_its_excess(tmp_path: Path) -> None:
    search(tmp_path, trials=6, budget=Budget(macs=MEDIAN_MACS), sampler="random")
    over = [trial for trial in read_record(tmp_path).trials if trial.user_attrs.get("state") == "INFEASIBLE"]
    assert over
    for trial in over:
        macs = trial.user_attrs["macs"]
        assert trial.values == [0.0, macs]
        assert trial.constraints == {"macs": pytest.approx(macs / MEDIAN_MACS - 1)}


def test_an_exhausted_space_ends_the_search_by_itself_and_no_network_is_trained_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "_PATIENCE", 40)
    executor = FormulaExecutor()
    result = search(tmp_path, executor, space=NARROW, sampler="random", trials=50)
    assert result.num_scored == len(executor.submitted) == 3
    assert set(executor.archs) == set(all_archs(NARROW))
    assert "space exhausted" in capsys.readouterr().err
    trials = read_record(tmp_path).trials
    told = {trial.user_attrs["arch_id"]: trial.values for trial in trials if "state" not in trial.user_attrs}
    copies = [trial for trial in trials if trial.user_attrs.get("state") == "DUPLICATE"]
    assert len(trials) == 3 + len(copies)
    assert all(copy.values == told[copy.user_attrs["arch_id"]] for copy in copies)


def test_a_twin_of_a_running_network_waits_and_is_told_the_same(tmp_path: Path) -> None:
    executor = FormulaExecutor(num_workers=3)
    search(tmp_path, executor, space=NARROW, sampler="random", trials=3)
    assert len({arch.arch_id for arch in executor.archs}) == len(executor.archs) == 3
    trials = read_record(tmp_path).trials
    # all three were running before the first ended: what came between them were twins of running ones
    last_original = max(trial.number for trial in trials if "state" not in trial.user_attrs)
    twins = [trial for trial in trials if trial.user_attrs.get("state") == "DUPLICATE" and trial.number < last_original]
    assert twins, "choose another seed: no twin was proposed"
    for twin in twins:
        original = trials[twin.user_attrs["duplicate_of"]]
        assert (twin.user_attrs["arch_id"], twin.values) == (original.user_attrs["arch_id"], original.values)


def test_a_failed_training_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    def fail_at_kernel_5(job: Job) -> float:
        return worth(job) / (job.arch.stages[0].kernel_size - 5)

    executor = FormulaExecutor(lambda job: abs(fail_at_kernel_5(job)))
    result = search(tmp_path, executor, trials=10)
    trials = read_record(tmp_path).trials
    failed = [trial for trial in trials if trial.state.name == "FAIL" and "state" not in trial.user_attrs]
    assert failed
    assert {trial.user_attrs["reason"] for trial in failed} == {"ZeroDivisionError: float division by zero"}
    assert {trial.user_attrs["traceback"] for trial in failed} == {"Traceback: in the formula"}
    assert len(executor.submitted) == 10  # a failure is one of the trials asked for
    assert result.base.stages[0].kernel_size != 5


def test_when_every_training_fails_the_sentence_gives_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError,
        match=r"^study mine: nothing was scored; trial 0 failed: ZeroDivisionError: float division by zero$",
    ):
        search(tmp_path, FormulaExecutor(lambda job: 1.0 / 0.0), trials=3)
    assert (read_trials(tmp_path).state == "FAILED").sum() == 3


def test_a_budget_no_network_meets_is_refused_with_the_cheapest_cost_before_a_study_begins(tmp_path: Path) -> None:
    least = min_cost(SearchSpace.from_dict("space", WIDE), "macs", NUM_CLASSES)
    with pytest.raises(
        SpaceError, match=rf"^budget\.macs must be at least {least:,}, .* search space space; got 1,000$"
    ):
        search(tmp_path, budget=Budget(macs=1000))
    assert not (tmp_path / "mine" / "study.db").exists()


@pytest.mark.parametrize("sampler", ["predictor", "tpe", "nsga2"])
def test_a_study_that_goes_on_is_the_study_that_was_never_stopped(tmp_path: Path, sampler: str) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
    keys = {"sampler": sampler, "budget": Budget(macs=MEDIAN_MACS)}
    whole = search(once, trials=14, **keys)
    search(twice, trials=5, **keys)
    second = FormulaExecutor()
    resumed = search(twice, second, trials=14, **keys)
    assert proposals(twice) == proposals(once)
    assert len(second.submitted) == 9
    assert (resumed.base, resumed.worth, resumed.num_scored) == (whole.base, whole.worth, 14)


def test_a_finished_study_run_again_trains_nothing_and_says_the_same(tmp_path: Path) -> None:
    first = search(tmp_path, trials=5)
    before, idle = proposals(tmp_path), FormulaExecutor()
    assert search(tmp_path, idle, trials=5) == first
    assert idle.submitted == []
    assert proposals(tmp_path) == before


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_stopped_study_takes_its_running_trials_up_again_with_their_parameters(
    tmp_path: Path, num_workers: int
) -> None:
    stopped, again = FormulaExecutor(num_workers=num_workers, last=4), FormulaExecutor(num_workers=num_workers)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, stopped, trials=10)
    assert stopped.closed
    before = read_record(tmp_path).trials
    running = [trial for trial in before if trial.state.name == "RUNNING"]
    assert len(running) == num_workers
    search(tmp_path, again, trials=10)
    after = read_record(tmp_path).trials
    assert [(trial.params, trial.user_attrs["arch_id"]) for trial in after[: len(before)]] == [
        (trial.params, trial.user_attrs["arch_id"]) for trial in before
    ]
    assert [trial.number for trial in running] == [key for key, _ in again.submitted][:num_workers]
    ended = [trial for trial in before if trial.state.name == "COMPLETE"]
    assert all(after[trial.number].values == trial.values for trial in ended)
    assert not {arch.arch_id for arch in again.archs} & {trial.user_attrs["arch_id"] for trial in ended}
    assert (read_trials(tmp_path).state == "COMPLETE").sum() == 10
    assert "RUNNING" not in set(read_trials(tmp_path).state)


def test_a_stopped_study_that_goes_on_proposes_what_it_would_have(tmp_path: Path) -> None:
    once, stopped = tmp_path / "once", tmp_path / "stopped"
    for folder in (once, stopped):
        folder.mkdir()
    search(once, trials=13)
    with pytest.raises(KeyboardInterrupt):
        search(stopped, FormulaExecutor(last=11), trials=13)
    search(stopped, trials=13)
    assert proposals(stopped) == proposals(once)


def test_a_checkpoint_that_a_killed_driver_did_not_put_in_its_place_is_put_there(tmp_path: Path) -> None:
    result = search(tmp_path, trials=5)
    best = next(t for t in read_record(tmp_path).trials if t.user_attrs["arch_id"] == result.base.arch_id)
    left = result.checkpoint.with_name(f"search-trial-{best.number}.safetensors")
    result.checkpoint.rename(left)
    result.checkpoint.write_text("weights of an earlier best", encoding="ascii")
    again = search(tmp_path, trials=5)
    assert again.checkpoint.read_text(encoding="ascii") == result.base.arch_id
    assert not left.exists()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed 0, got 1"),
        ({"budget": Budget(macs=1e9)}, r'budget\.macs "inf", got "1000000000\.0"'),
        ({"objective": "accuracy"}, r"directions \[.*\], got \[.*\]"),
        ({"space": NARROW}, r"space\.head_channels\.0 32, got 16"),
        ({"pruner": PrunerConfig(method="asha")}, r'pruner null, got \{"method": "asha", .*'),
    ],
)
def test_a_study_begun_with_something_else_is_refused_and_its_base_stays(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    result = search(tmp_path, trials=2)
    config = (tmp_path / "mine" / "config.yaml").read_text()
    idle = FormulaExecutor()
    with pytest.raises(StudyError, match=f"^study mine, part search, was begun with {difference};"):
        search(tmp_path, idle, **{"trials": 9, **changes})
    assert idle.submitted == []
    assert ArchSpec.load(tmp_path / "mine" / "base.yaml") == result.base
    assert (tmp_path / "mine" / "config.yaml").read_text() == config


def test_the_image_size_asked_for_is_that_of_every_candidate(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    search(tmp_path, executor, trials=3, image_size=24)
    assert {arch.image_size for arch in executor.archs} == {24}


def test_every_candidate_has_the_same_seed_and_data(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    config = new_config(tmp_path, executor, trials=3, seed=5)
    run_search(config)
    jobs = [job for _, job in executor.submitted]
    assert {job.seed for job in jobs} == {5}
    assert all((job.data, job.train, job.cache) == (config.data, config.train, config.folder.cache) for job in jobs)
    assert not any(job.reads_test for job in jobs)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"sampler": "cma"}, "sampler must be one of predictor, random, tpe, nsga2, gp, got 'cma'"),
        ({"objective": "speed"}, "objective must be one of front, reward, accuracy, got 'speed'"),
        (
            {"objective": "reward"},
            "target_macs, or in its place budget.macs, must be finite and above 0 with objective=reward, got inf",
        ),
        ({"reward_exponent": math.nan}, "reward_exponent must be finite, got nan"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_a_key_outside_its_range_is_refused_by_its_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        SearchConfig(**changes)


def test_without_a_limit_the_reward_needs_its_target() -> None:
    assert SearchConfig(objective="reward", target_macs=3e6).reward_target == 3e6
    assert SearchConfig(objective="reward", budget=Budget(macs=2e6)).reward_target == 2e6
    assert math.isinf(SearchConfig().reward_target)
