"""Cheap scores beside a longer training: which networks, what is scored once, and what the table says."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from optuna.trial import create_trial

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
from scalesearch.arch.budget import Budget
from scalesearch.data import load_data
from scalesearch.errors import ConfigError, SpaceError, StudyError
from scalesearch.measure.scores import Job, SupernetConfig, score_job
from scalesearch.measure.scores.supernet import train_supernet
from scalesearch.report.fidelity import fidelity_info
from scalesearch.search.fidelity import FidelityConfig, FidelityResult, _seconds, _spread, pick_networks, run_fidelity
from scalesearch.study.executors import Executor, InlineExecutor
from scalesearch.study.store import Record
from tests.study.jobs import new_score
from tests.study.stand_ins import TINY_DATA, TINY_TRAINING, FormulaExecutor, settings, worth

SMALL = {  # twelve networks
    "image_size": 16,
    "stem_channels": 8,
    "head_channels": 16,
    "stages": [
        {"block": "ds", "kernel_size": [3, 5], "stride": 2, "out_channels": [8, 16, 24]},
        {"block": "ir", "kernel_size": 3, "stride": 2, "expand_ratio": [2, 3], "out_channels": 16, "se_ratio": 0.25},
    ],
}
SPACE = SearchSpace.from_dict("small", SMALL)
NUM_CLASSES = 11


def macs_of(arch: ArchSpec) -> int:
    return network_cost(arch, num_classes=NUM_CLASSES).macs


def every_network() -> list[ArchSpec]:
    """Return the networks of the space, cheapest first."""
    archs = [
        SPACE.decode({"stage0.kernel_size": kernel, "stage0.out_channels": channels, "stage1.expand_ratio": ratio})
        for kernel in (3, 5)
        for channels in (8, 16, 24)
        for ratio in (2, 3)
    ]
    return sorted(archs, key=macs_of)


FAILED = every_network()[1]


class FormulaFidelity(FidelityConfig):
    """Scores by an executor that is handed in."""

    __slots__ = ("used",)

    def open_executor(self, data: object) -> Executor:
        return self.used


def keys(folder: Path, **changes: Any) -> dict[str, Any]:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return settings(folder, space=str(path), **changes)


def fidelity(folder: Path, executor: FormulaExecutor | None = None, **changes: Any) -> FidelityResult:
    few = {"networks": 4, "scores": ["naswot"], "brief": TINY_TRAINING}
    config = FormulaFidelity(**keys(folder, **{**few, **changes}))
    config.used = executor or FormulaExecutor()
    return run_fidelity(config)


def really(folder: Path, **changes: Any) -> FidelityResult:
    """Score for real, in this process: starting others takes longer than the scores."""
    config = FormulaFidelity(**keys(folder, **changes))
    config.used = InlineExecutor(score_job)
    return run_fidelity(config)


def keep_search(folder: Path, archs: list[ArchSpec]) -> None:
    """Leave a search's record of networks that were scored, one of them twice, and of one that failed."""
    (folder / "mine").mkdir()
    record = Record.open(
        f"sqlite:///{folder}/mine/study.db",
        "mine",
        "search",
        directions=["maximize"],
        metric_names=["val_top1"],
        identity={},
    )
    for arch in [*archs, FAILED]:
        trial = record.study.ask()
        record.describe(trial, arch, network_cost(arch, num_classes=NUM_CLASSES), seed=0)
        record.fail(trial, "bad luck") if arch == FAILED else record.complete(trial, [0.5], new_score(0.5))
    twin = record.study.ask()
    record.describe(twin, archs[0], network_cost(archs[0], num_classes=NUM_CLASSES), seed=0)
    record.repeat(twin, record.trials[0])


def test_a_network_has_a_row_with_every_score_and_the_mean_of_the_longer_training(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    result = fidelity(tmp_path, executor, scores=["brief", "naswot", "macs"])
    table, archs = result.table, {arch.arch_id: arch for arch in executor.archs}
    assert table.columns.tolist() == [
        *("arch_id", "macs", "params", "brief", "brief_seconds", "naswot", "naswot_seconds", "macs_seconds"),
        *("val_top1", "val_top1_seconds"),
    ]
    assert len(table) == table.arch_id.nunique() == 4
    assert table.macs.is_monotonic_increasing
    for row in (series for _, series in table.iterrows()):
        arch = archs[row.arch_id]
        expected = worth(Job(arch=arch, seed=0, data=None, train=None))  # type: ignore[arg-type]
        assert SPACE.contains(arch)
        assert (row.macs, row.params) == network_cost(arch, num_classes=NUM_CLASSES)[1::-1]
        assert row.brief == row.naswot == expected
        assert row.val_top1 == pytest.approx(expected + 0.5e-4)  # seeds 0 and 1
    assert (table[["brief_seconds", "naswot_seconds", "val_top1_seconds"]] > 0).all(axis=None)
    assert (table.macs_seconds == 0).all()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "mine" / "fidelity.csv"), table)


def test_each_job_says_its_score_its_training_and_its_seed(tmp_path: Path) -> None:
    executor, longer = FormulaExecutor(), type(TINY_TRAINING)(steps=3, batch_size=11)
    fidelity(tmp_path, executor, train=longer, networks=3, seed=5, scores=["brief", "naswot"])
    jobs = [job for _, job in executor.submitted]
    said = [(job.score.method, job.train.steps, job.seed) for job in jobs]
    assert said == [("brief", 1, 5)] * 3 + [("proxy", 1, 5)] * 3 + [("brief", 3, 5)] * 3 + [("brief", 3, 6)] * 3
    assert {job.score.proxy for job in jobs if job.score.method == "proxy"} == {"naswot"}
    assert not any(job.reads_test or job.checkpoint for job in jobs)


def test_the_table_is_what_the_report_takes_and_real_proxies_fill_it(tmp_path: Path) -> None:
    scores = ["naswot", "synflow", "zico", "grad_norm", "params", "macs"]
    result = really(tmp_path, networks=3, seeds=1, scores=scores)
    assert result.table[[*scores, "val_top1"]].notna().all(axis=None)
    result.table["val_top1"] = [0.1, 0.2, 0.3]  # one step of training may leave all of them alike
    info = fidelity_info(result.table, scores, num_draws=10)
    assert [row.name for row in info.rows] == scores
    assert all(row.mean_seconds > 0 for row in info.rows[:4])


def test_run_again_nothing_is_scored_and_what_was_added_is_scored_alone(tmp_path: Path) -> None:
    first, idle, more = fidelity(tmp_path), FormulaExecutor(), FormulaExecutor()
    again = fidelity(tmp_path, idle)
    assert idle.submitted == []
    pd.testing.assert_frame_equal(again.table, first.table)
    fidelity(tmp_path, more, scores=["naswot", "zico"], seeds=3)
    added = [(job.score.method, job.score.proxy, job.seed) for _, job in more.submitted]
    assert added == [("proxy", "zico", 0)] * 4 + [("brief", "naswot", 2)] * 4


def test_a_stopped_fidelity_goes_on_where_it_stopped(tmp_path: Path) -> None:
    again = FormulaExecutor()
    with pytest.raises(KeyboardInterrupt):
        fidelity(tmp_path, FormulaExecutor(last=5))
    table = fidelity(tmp_path, again).table
    assert len(again.submitted) == 12 - 5
    assert table.val_top1.notna().all()


def test_the_networks_of_the_search_come_first_and_random_ones_fill_up(tmp_path: Path) -> None:
    searched = every_network()[4:7]
    keep_search(tmp_path, searched)
    table = fidelity(tmp_path, networks=4).table
    assert {arch.arch_id for arch in searched} < set(table.arch_id)
    assert table.arch_id.nunique() == 4


def test_of_many_searched_networks_some_are_taken_over_the_range_of_macs_within_the_budget(tmp_path: Path) -> None:
    archs = every_network()
    keep_search(tmp_path, [archs[index] for index in (9, 2, 4, 6, 11, 8)])
    table = fidelity(tmp_path, networks=3, budget=Budget(macs=macs_of(archs[9]))).table
    assert table.arch_id.tolist() == [archs[index].arch_id for index in (2, 6, 9)]


def test_random_networks_are_within_the_budget(tmp_path: Path) -> None:
    limit = macs_of(every_network()[5])
    archs = pick_networks(FidelityConfig(**keys(tmp_path, networks=5, budget=Budget(macs=limit))), SPACE, NUM_CLASSES)
    assert len(set(archs)) == 5
    assert all(macs_of(arch) <= limit for arch in archs)


@pytest.mark.parametrize("count", [3, 4, 7, 11, 12])
def test_a_spread_has_the_ends_and_nothing_twice(count: int) -> None:
    archs = every_network()
    picked = _spread(archs, count)
    assert len(set(picked)) == count
    assert (picked[0], picked[-1]) == (archs[0], archs[-1])


def test_too_few_networks_in_a_space_are_told_by_a_sentence(tmp_path: Path) -> None:
    sentence = r"^networks must be at most 12, for search space small .* no more within the budget.*; got 13$"
    with pytest.raises(SpaceError, match=sentence):
        pick_networks(FidelityConfig(**keys(tmp_path, networks=13)), SPACE, NUM_CLASSES)


def test_a_score_that_fails_for_every_network_ends_it_before_the_longer_training(tmp_path: Path) -> None:
    executor = FormulaExecutor(lambda job: 1 / (job.score.method == "brief"))
    sentence = r"^study mine: naswot, one of scores, failed for every network, first with: ZeroDivisionError"
    with pytest.raises(StudyError, match=sentence):
        fidelity(tmp_path, executor)
    assert len(executor.submitted) == 4


def test_a_network_that_failed_has_a_row_without_that_score(tmp_path: Path) -> None:
    def fail_one(job: Job) -> float:
        return worth(job) / (job.score.method == "brief" or job.arch.arch_id != ids[0])

    ids = sorted(fidelity(tmp_path, scores=["macs"]).table.arch_id)
    table = fidelity(tmp_path, FormulaExecutor(fail_one)).table.set_index("arch_id")
    assert table.naswot.isna().sum() == table.naswot_seconds.isna().sum() == 1
    assert math.isnan(table.naswot[ids[0]])


def test_the_studys_own_supernet_scores(tmp_path: Path) -> None:
    path, data = tmp_path / "mine" / "checkpoints" / "supernet.safetensors", load_data(TINY_DATA, None)
    train_supernet(SPACE, data, TINY_TRAINING, SupernetConfig(steps=1), path, seed=0, device="cpu")
    result = really(tmp_path, networks=3, seeds=1, scores=["supernet"])
    assert result.table.supernet.between(0, 1).all()
    assert result.trials.part.tolist() == ["fidelity-supernet"] * 3 + ["fidelity-full"] * 3


def test_a_supernet_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    sentence = r"^supernet must be the checkpoint .*mine/checkpoints/supernet\.safetensors', which is no file$"
    with pytest.raises(ConfigError, match=sentence):
        fidelity(tmp_path, scores=["supernet"])
    with pytest.raises(ConfigError, match="got 'none', which is no file"):
        fidelity(tmp_path, scores=["supernet"], supernet="none")
    assert not (tmp_path / "mine").exists()


def test_another_longer_training_is_another_fidelity(tmp_path: Path) -> None:
    fidelity(tmp_path)
    with pytest.raises(StudyError, match=r"^study mine, part fidelity-full, was begun with train\.steps 1, got 2;"):
        fidelity(tmp_path, train=type(TINY_TRAINING)(steps=2, batch_size=11))


def test_the_seconds_of_a_trial_that_was_taken_up_again_are_not_known() -> None:
    start = datetime(2026, 1, 1)
    trial = create_trial(value=1.0)
    trial.datetime_start, trial.datetime_complete = start, start + timedelta(seconds=90)
    assert _seconds(trial, [start - timedelta(seconds=1)]) == 90
    assert math.isnan(_seconds(trial, [start - timedelta(seconds=1), start + timedelta(seconds=60)]))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"scores": ["naswot", "magic"]},
            r"scores must be a list of any of brief, supernet, .* got \['naswot', 'magic'\]",
        ),
        ({"scores": []}, r"scores must be a list of any of .* got \[\]"),
        ({"scores": ["macs", "macs"]}, r"scores must name each score once, got \['macs', 'macs'\]"),
        ({"networks": 2}, "networks must be at least 3, got 2"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_a_key_outside_its_range_is_refused_by_its_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        FidelityConfig(**changes)
