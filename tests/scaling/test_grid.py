"""The grid search of alpha, beta and gamma: what is trained, and which candidate is chosen."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scalesearch.arch import ArchSpec, scale_arch
from scalesearch.arch.reading import read_rule
from scalesearch.errors import ConfigError, StudyError
from scalesearch.measure.memory_floor import memory_floor_mib
from scalesearch.measure.scores import Job
from scalesearch.scaling import ScaleConfig, plan_scaling_grid, run_scaling_grid
from scalesearch.scaling import memory as memory_file
from scalesearch.scaling.grid import ScalingResult
from scalesearch.scaling.limits import Limits
from scalesearch.study.executors import Executor
from tests.study.stand_ins import TINY_DATA, TINY_TRAINING, FormulaExecutor, settings, worth

TINY = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_c16", "ir_r2_k3_s2_e2_c24"], stem_channels=16, head_channels=32, image_size=16, stem_stride=1
)


class FormulaScale(ScaleConfig):
    """A grid whose candidates are scored by an executor that is handed in."""

    __slots__ = ("used",)

    def open_executor(self, data: object) -> Executor:
        return self.used


def scale(folder: Path, executor: FormulaExecutor | None = None, **changes: Any) -> ScalingResult:
    keys = {"base": str(folder / "base.yaml"), "step": 0.25, "tolerance": 0.25, **changes}
    TINY.save(folder / "base.yaml")
    config = FormulaScale(**settings(folder, **keys))
    config.used = executor or FormulaExecutor()
    return run_scaling_grid(config)


def test_by_mean_the_choice_is_the_best_mean_over_the_seeds(tmp_path: Path) -> None:
    tops = {}

    def lucky_once(job: Job) -> float:
        """Let the widest candidate win, but a narrow one shine with one seed."""
        width, size = job.arch.stages[-1].out_channels, job.arch.image_size
        tops.setdefault(job.arch.arch_id, []).append(0.9 if (width, job.seed) == (24, 1) else width / 100 + size / 1e4)
        return tops[job.arch.arch_id][-1]

    executor = FormulaExecutor(lucky_once)
    result = scale(tmp_path, executor, seeds=3, seed=1, choose="mean", level=0.999)
    assert {job.seed for _, job in executor.submitted} == {1, 2, 3}
    best = max(tops, key=lambda arch_id: sum(tops[arch_id]))
    assert max(tops, key=lambda arch_id: max(tops[arch_id])) != best
    assert scale_arch(TINY, result.factors).arch_id == best == result.table.arch_id.iloc[0]
    row = result.table.iloc[0]
    assert row.val_top1 == pytest.approx(sum(tops[best]) / 3)
    assert result.table.val_top1_se.iloc[1:].max() > 0
    assert (result.table.num_seeds == 3).all()
    assert not any(job.reads_test for _, job in executor.submitted)


def test_seeds_are_trained_round_by_round(tmp_path: Path) -> None:
    executor = FormulaExecutor()
    scale(tmp_path, executor, seeds=2)
    seeds = [job.seed for _, job in executor.submitted]
    assert seeds == sorted(seeds)
    half = len(seeds) // 2
    assert executor.archs[:half] == executor.archs[half:]


def test_one_seed_has_no_standard_error(tmp_path: Path) -> None:
    result = scale(tmp_path, seeds=1)
    assert result.table.val_top1_se.isna().all()
    assert result.table.val_top1.notna().all()


def hill(job: Job) -> float:
    """Have a maximum at twice the pixels, and noise that favours another candidate with each seed."""
    noise = random.Random(f"{job.arch.arch_id} {job.seed}").gauss(0.0, 0.01)
    return 0.8 - (math.log2(job.arch.image_size / 16) - 0.4) ** 2 + noise


def test_by_surface_the_choice_is_the_maximum_of_what_all_trainings_say(tmp_path: Path) -> None:
    result = scale(tmp_path, FormulaExecutor(hill), seeds=2, step=0.1)
    evidence = result.evidence
    assert evidence.chosen_by == "surface"
    assert evidence.surface is not None
    assert evidence.surface.residual_sd == pytest.approx(0.01, rel=0.5)
    assert result.factors.gamma in (1.3, 1.4)  # of a true maximum at 1.32
    assert evidence.row(evidence.chosen).in_region
    best = evidence.row(evidence.best_measured)
    assert best.untold
    assert best.val_top1 == result.table.val_top1.max()
    assert 1 <= evidence.num_in_region < len(result.table)


def test_what_the_test_tells_from_the_best_is_trained_no_more(tmp_path: Path) -> None:
    executor = FormulaExecutor(hill)
    result = scale(tmp_path, executor, seeds=4, step=0.1)
    dropped = result.table[result.table.num_seeds < 4]
    assert 0 < len(dropped) < len(result.table)
    assert dropped.num_seeds.min() == 2  # one seed tells nothing
    assert dropped.val_top1.max() < result.table.val_top1.iloc[0] - 0.02
    again = FormulaExecutor(hill)
    assert scale(tmp_path, again, seeds=4, step=0.1).table.equals(result.table)
    assert again.submitted == []


def test_keep_halves_the_candidates_after_each_seed(tmp_path: Path) -> None:
    table = scale(tmp_path, FormulaExecutor(hill), seeds=3, step=0.1, keep=0.5).table
    num = len(table)
    assert (table.num_seeds >= 2).sum() <= math.ceil(num / 2)
    assert (table.num_seeds == 3).sum() <= math.ceil(math.ceil(num / 2) / 2)


def test_a_subset_is_trained_where_fewer_candidates_are_asked_for(tmp_path: Path) -> None:
    executor = FormulaExecutor(hill)
    result = scale(tmp_path, executor, seeds=2, step=0.1, candidates=6)
    assert len(result.table) == 6 < len(result.grid.candidates)
    assert {arch.arch_id for arch in executor.archs} == set(result.table.arch_id)


def test_a_budget_leaves_candidates_out(tmp_path: Path) -> None:
    whole = scale(tmp_path, seeds=1).table
    params = float(whole.params.median())
    fewer = scale(tmp_path, seeds=1, study="small", budget=Limits(params=params)).table
    assert len(fewer) == (whole.params <= params).sum()


@pytest.mark.parametrize("name", ["peak_memory_mib", "latency_ms"])
def test_a_budget_that_no_candidate_meets_is_refused_with_what_would_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match=rf"^budget\.{name} must be at least [\d.]+, the .* candidates; got 0\.001$"):
        scale(tmp_path, budget=Limits(**{name: 0.001}))


def test_a_candidate_too_large_for_the_memory_is_refused_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_file, "available_gib", lambda device: 1e-3)
    sentence = r"^training \d blocks at \d+ px in batches of 11 takes at least .* or the network smaller$"
    executor = FormulaExecutor()
    with pytest.raises(ConfigError, match=sentence):
        scale(tmp_path, executor, budget=Limits(latency_ms=1e6))
    keys = {"base": str(tmp_path / "base.yaml"), "step": 0.25, "tolerance": 0.25}
    with pytest.raises(ConfigError, match=sentence):
        plan_scaling_grid(ScaleConfig(**settings(tmp_path, **keys)))
    assert executor.submitted == []
    assert not (tmp_path / "mine" / "study.db").exists()


def test_a_candidate_that_is_not_trained_may_be_too_large_for_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scale(tmp_path, seeds=1)
    kept = scale(tmp_path, seeds=1, study="small", candidates=1).table.arch_id.item()
    [arch] = [candidate.arch for candidate in whole.grid.candidates if candidate.arch.arch_id == kept]
    enough = memory_floor_mib(arch, TINY_TRAINING.batch_size, num_classes=whole.num_classes) / 1024
    assert enough < max(
        memory_floor_mib(candidate.arch, TINY_TRAINING.batch_size, num_classes=whole.num_classes) / 1024
        for candidate in whole.grid.candidates
    )
    monkeypatch.setattr(memory_file, "available_gib", lambda device: enough)
    scale(tmp_path, seeds=1, study="again", candidates=1)


def test_a_plan_counts_trainings_and_trains_nothing(tmp_path: Path) -> None:
    TINY.save(tmp_path / "base.yaml")
    keys = {"base": str(tmp_path / "base.yaml"), "step": 0.25, "tolerance": 0.25, "seeds": 3}
    config = ScaleConfig(**settings(tmp_path, **keys))
    plan = plan_scaling_grid(config)
    assert plan.trainings == 3 * len(plan.candidates) == 3 * len(plan.grid.candidates)
    images = plan.steps * 3 * min(config.train.batch_size, len(config.load_data().train))
    assert plan.training_macs == 3 * images * sum(candidate.cost.macs for candidate in plan.candidates)
    assert not (tmp_path / "mine" / "study.db").exists()


def test_a_plan_warns_of_images_smaller_than_the_candidates_want(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    TINY.save(tmp_path / "base.yaml")
    keys = {"base": str(tmp_path / "base.yaml"), "step": 0.25, "tolerance": 0.25}
    plan = plan_scaling_grid(ScaleConfig(**settings(tmp_path, **keys)))
    largest = max(candidate.arch.image_size for candidate in plan.candidates)
    assert f"networks of up to {largest} px get images of 16 px" in caplog.text
    caplog.clear()
    plan_scaling_grid(ScaleConfig(**settings(tmp_path, **keys, data=replace(TINY_DATA, stored_size=largest))))
    assert caplog.text == ""


def test_of_equals_the_cheaper_candidate_is_chosen(tmp_path: Path) -> None:
    result = scale(tmp_path, FormulaExecutor(lambda job: 0.5), seeds=1)
    assert result.table.macs.iloc[0] == result.table.macs.min()


def test_a_candidate_that_lost_a_seed_is_not_chosen(tmp_path: Path) -> None:
    def fail_once(job: Job) -> float:
        if job.seed == 1 and job.arch.image_size == 16:
            raise ZeroDivisionError("unlucky")
        return 1.0 if job.arch.image_size == 16 else worth(job) / 10

    result = scale(tmp_path, FormulaExecutor(fail_once), seeds=2, choose="mean")
    assert result.table.num_seeds.iloc[0] == 2
    assert result.factors.gamma > 1
    assert result.table.num_seeds.min() == 1


def test_when_every_training_fails_there_are_no_factors(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"^every training of the scaling grid failed"):
        scale(tmp_path, FormulaExecutor(lambda job: 1.0 / 0.0), seeds=1)
    assert not (tmp_path / "mine" / "factors.yaml").exists()


def test_the_files_say_what_was_found(tmp_path: Path) -> None:
    result = scale(tmp_path, seeds=2, rounding="round")
    rule = read_rule(str(tmp_path / "mine" / "factors.yaml"))
    assert (rule.factors, rule.rounding) == (result.factors, "round")
    written = pd.read_csv(tmp_path / "mine" / "scaling.csv")
    pd.testing.assert_frame_equal(written, result.table)
    assert set(pd.read_csv(tmp_path / "mine" / "trials.csv").part) == {"scale"}


def test_a_grid_run_again_trains_nothing_and_one_with_more_seeds_only_those(tmp_path: Path) -> None:
    first, idle, more = scale(tmp_path, seeds=1), FormulaExecutor(), FormulaExecutor()
    assert scale(tmp_path, idle, seeds=1).table.equals(first.table)
    assert idle.submitted == []
    assert (scale(tmp_path, more, seeds=2).table.num_seeds == 2).all()
    assert {job.seed for _, job in more.submitted} == {1}


def test_a_stopped_grid_goes_on_where_it_stopped(tmp_path: Path) -> None:
    stopped, again = FormulaExecutor(num_workers=2, last=3), FormulaExecutor(num_workers=2)
    with pytest.raises(KeyboardInterrupt):
        scale(tmp_path, stopped, seeds=2)
    result = scale(tmp_path, again, seeds=2)
    assert (result.table.num_seeds == 2).all()
    # two were running when it stopped: they alone were begun twice
    assert len(stopped.submitted) + len(again.submitted) == len(result.trials) + 2


def test_a_grid_of_another_base_is_refused(tmp_path: Path) -> None:
    scale(tmp_path, seeds=1)
    with pytest.raises(StudyError, match=r"^study mine, part scale, was begun with base\.blocks\.0 .*choose another"):
        scale(tmp_path, base="ds_r1_k3_s1_c8,ir_r2_k3_s2_e2_c24", seeds=1)


def test_without_a_base_the_sentence_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"base\.yaml: the study has no base network; run `scalesearch search` first"):
        scale(tmp_path, base=None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"constraint": "free"}, "constraint must be one of realised, formula, got 'free'"),
        ({"rounding": "up"}, "rounding must be one of ceil, round, floor, got 'up'"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"tolerance": -0.1}, "tolerance must be at least 0, got -0.1"),
        ({"target": 1.0}, "target must be .*, got 1.0"),
        ({"target": math.nan}, "target must be .*, got nan"),
        ({"step": 0.0}, "step must be .*, got 0.0"),
        ({"step": 1.5}, "step must be .*, got 1.5"),
    ],
)
def test_a_key_outside_its_range_is_refused_by_its_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        ScaleConfig(**changes)
