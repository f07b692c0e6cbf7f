"""The family: members by the rule, several seeds, and the only place where the test split is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from scalesearch.arch import ArchSpec, ScalingFactors, network_cost, scale_arch
from scalesearch.errors import ConfigError, StudyError
from scalesearch.measure.memory import peak_memory_mib
from scalesearch.measure.scores import Score, Sibling
from scalesearch.nn import build_network
from scalesearch.scaling import FamilyConfig, run_family
from scalesearch.scaling.family import FamilyResult
from scalesearch.scaling.limits import Limits
from scalesearch.study.executors import Event, Executor, Scored
from scalesearch.study.store import load_records
from tests.study.jobs import new_score
from tests.study.stand_ins import FormulaExecutor, settings

BASE = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_c16", "ir_r2_k3_s2_e2_c24"], stem_channels=16, head_channels=32, image_size=16, stem_stride=1
)
FACTORS = ScalingFactors(1.2, 1.1, 1.15)


class TestReader(FormulaExecutor):
    """Scores the test split as the job says; a tenth below the val accuracy, lower still by the seed."""

    __test__ = False

    def wait(self, seconds: float = math.inf) -> list[Event]:
        return [self._read_test(event) if isinstance(event, Scored) else event for event in super().wait(seconds)]

    def _read_test(self, event: Scored) -> Scored:
        job = dict(self.submitted)[event.key]
        score: Score = event.score
        test_top1 = score.val_top1 - 0.1 - job.seed / 100 if job.reads_test else math.nan
        return Scored(event.key, new_score(score.val_top1, test_top1=test_top1))


class FormulaFamily(FamilyConfig):
    """A family whose members are scored by an executor that is handed in."""

    __slots__ = ("used",)

    def open_executor(self, data: object) -> Executor:
        return self.used


def family(folder: Path, executor: FormulaExecutor | None = None, **changes: Any) -> FamilyResult:
    folder.mkdir(parents=True, exist_ok=True)
    BASE.save(folder / "base.yaml")
    keys = {"base": str(folder / "base.yaml"), "factors": "1.2,1.1,1.15", "phi": [0.0, 1.0, 2.0], "seeds": 2}
    config = FormulaFamily(**settings(folder, **{**keys, **changes}))
    config.used = executor or TestReader()
    return run_family(config)


def test_a_member_is_the_base_scaled_by_its_phi_and_phi_0_is_the_base(tmp_path: Path) -> None:
    executor = TestReader()
    table = family(tmp_path, executor).table
    members = [scale_arch(BASE, FACTORS, phi) for phi in (0, 1, 2)]
    assert members[0] == BASE
    assert table.arch_id.tolist() == [arch.arch_id for arch in members]
    assert table.member.tolist() == ["phi=0", "phi=1", "phi=2"]
    costs = [network_cost(arch, num_classes=11) for arch in members]
    assert table.macs.tolist() == [cost.macs for cost in costs]
    assert table.realised_ratio.tolist() == [cost.macs / costs[0].macs for cost in costs]
    assert set(executor.archs) == set(members)


def test_the_table_has_the_means_of_val_and_test_with_their_standard_errors(tmp_path: Path) -> None:
    result = family(tmp_path)
    for row in result.table.itertuples():
        mine = result.trials[result.trials.arch_id == row.arch_id]
        assert (row.val_top1, row.test_top1) == (mine.val_top1.mean(), mine.test_top1.mean())
        assert row.test_top1_se == pytest.approx(abs(mine.test_top1.diff().iloc[1]) / 2)  # two seeds
        assert row.num_seeds == 2
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "mine" / "family.csv"), result.table)


def test_every_member_says_the_memory_of_a_pass(tmp_path: Path) -> None:
    table = family(tmp_path, phi="0..1", rivals=True, seeds=1).table
    archs = {row.arch_id: row for row in table.itertuples()}
    for phi in (0, 1):
        arch = scale_arch(BASE, FACTORS, phi)
        assert archs[arch.arch_id].peak_memory_mib == peak_memory_mib(build_network(arch, 11), arch.image_size)
    assert (table.peak_memory_mib > 0).all()
    assert pd.read_csv(tmp_path / "mine" / "family.csv").peak_memory_mib.tolist() == table.peak_memory_mib.tolist()


def test_with_a_memory_budget_every_member_is_shown_to_meet_it(tmp_path: Path) -> None:
    limit = 1.5 * peak_memory_mib(build_network(BASE, 11), BASE.image_size)
    table = family(tmp_path, phi="0..5", budget=Limits(peak_memory_mib=limit), seeds=1).table
    assert table.phi.iloc[-1] > 0
    assert (table.peak_memory_mib <= limit).all()


def test_only_the_family_reads_the_test_split(tmp_path: Path) -> None:
    executor = TestReader()
    result = family(tmp_path, executor)
    assert all(job.reads_test for _, job in executor.submitted)
    assert result.trials.test_top1.notna().all()
    records = load_records(f"sqlite:///{tmp_path}/mine/study.db", "mine")
    assert [record.part for record in records] == ["family"]


def test_the_first_seed_of_each_member_leaves_its_weights(tmp_path: Path) -> None:
    family(tmp_path)
    written = sorted(path.name for path in (tmp_path / "mine" / "checkpoints").iterdir())
    assert written == ["family-phi0.safetensors", "family-phi1.safetensors", "family-phi2.safetensors"]


def test_phis_that_give_one_network_are_trained_once_and_both_told(tmp_path: Path) -> None:
    executor = TestReader()
    table = family(tmp_path, executor, factors="1,1.1,1.15", phi=[0.0, 0.0001]).table
    assert len(executor.submitted) == 2  # the seeds
    assert table.num_seeds.tolist() == [2, 2]
    assert table.arch_id.nunique() == 1


def test_a_family_run_again_trains_nothing_and_a_new_member_trains_alone(tmp_path: Path) -> None:
    first, idle, more = family(tmp_path, phi=[0.0, 1.0]), TestReader(), TestReader()
    assert family(tmp_path, idle, phi=[0.0, 1.0]).table.equals(first.table)
    assert idle.submitted == []
    grown = family(tmp_path, more, phi=[0.0, 1.0, 2.0]).table
    assert grown.iloc[:2].equals(first.table)
    assert {arch.arch_id for arch in more.archs} == {grown.arch_id.iloc[2]}


def test_a_stopped_family_goes_on_where_it_stopped(tmp_path: Path) -> None:
    again = TestReader()
    with pytest.raises(KeyboardInterrupt):
        family(tmp_path, TestReader(last=2))
    table = family(tmp_path, again).table
    assert table.num_seeds.tolist() == [2, 2, 2]
    assert len(again.submitted) == 4


def test_other_factors_are_another_family(tmp_path: Path) -> None:
    family(tmp_path, seeds=1)
    with pytest.raises(StudyError, match=r"^study mine, part family, was begun with factors\.alpha 1\.2, got 1\.3"):
        family(tmp_path, factors="1.3,1.1,1.15", seeds=1)


def test_the_studys_own_factors_and_rounding_are_the_default(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    rule = "alpha: 1.3\nbeta: 1.0\ngamma: 1.0\nrounding: floor\n"
    (tmp_path / "mine" / "factors.yaml").write_text(rule, encoding="utf-8")
    table = family(tmp_path, factors=None, phi=[1.0], seeds=1).table
    assert table.arch_id.tolist() == [scale_arch(BASE, ScalingFactors(1.3, 1, 1), rounding="floor").arch_id]


def test_a_rules_file_brings_the_base_it_was_found_on(tmp_path: Path) -> None:
    rule = {"alpha": 1.3, "beta": 1.0, "gamma": 1.0, "base": BASE.to_dict()}
    path = tmp_path / "rule.yaml"
    path.write_text(yaml.safe_dump(rule), encoding="utf-8")
    table = family(tmp_path, base=None, factors=str(path), phi="0..1", seeds=1).table
    assert table.arch_id.tolist() == [BASE.arch_id, scale_arch(BASE, ScalingFactors(1.3, 1, 1)).arch_id]


def test_the_studys_own_rule_brings_its_base_too(tmp_path: Path) -> None:
    """As after ``scale base=...`` in a study without a search."""
    rule = {"alpha": 1.3, "beta": 1.0, "gamma": 1.0, "base": BASE.to_dict()}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "factors.yaml").write_text(yaml.safe_dump(rule), encoding="utf-8")
    assert not (tmp_path / "mine" / "base.yaml").exists()
    table = family(tmp_path, base=None, factors=None, phi="0", seeds=1).table
    assert table.arch_id.tolist() == [BASE.arch_id]


def test_without_factors_the_sentence_says_how_to_get_them(tmp_path: Path) -> None:
    sentence = "factors.yaml: the study has no scaling factors; run `scalesearch scale` first, or give factors="
    with pytest.raises(StudyError, match=sentence):
        family(tmp_path, factors=None)


def test_rivals_are_trained_beside_each_member_at_its_macs(tmp_path: Path) -> None:
    table = family(tmp_path, phi="0..2", rivals=True, seeds=1).table
    assert table.member.tolist()[:2] == ["phi=0", "phi=1"]
    assert set(table.strategy[table.phi == 2]) == {"compound", "depth", "width", "resolution", "dWr"}
    two = table[table.phi == 2]
    assert two.realised_ratio.between(0.75 * two.realised_ratio.iloc[0], 1.3 * two.realised_ratio.iloc[0]).all()
    assert table.minus_compound[table.strategy == "compound"].isna().all()
    assert two.minus_compound[two.strategy != "compound"].notna().all()


def test_with_a_budget_the_largest_phi_that_meets_it_is_the_last_member(tmp_path: Path) -> None:
    macs = network_cost(BASE, num_classes=11).macs
    table = family(tmp_path, phi="0..5", budget=Limits(macs=3 * macs), seeds=1).table
    assert (table.realised_ratio <= 3).all()
    assert table.phi.tolist()[0] == 0.0
    assert table.phi.is_monotonic_increasing
    larger = scale_arch(BASE, FACTORS, table.phi.iloc[-1] + 0.01)
    assert network_cost(larger, num_classes=11).macs > 3 * macs


def test_a_family_that_goes_on_keeps_the_member_that_its_latency_allowed(tmp_path: Path) -> None:
    base = family(tmp_path, phi=0, seeds=1, study="base").table
    limit = Limits(latency_ms=3 * float(base.latency_ms.iloc[0]))
    first = family(tmp_path, phi=0, budget=limit, seeds=1).table
    idle = TestReader()
    assert family(tmp_path, idle, phi=0, budget=limit, seeds=1).table.equals(first)
    assert idle.submitted == []


def test_a_member_too_large_for_the_memory_is_refused_before_it_is_built(tmp_path: Path) -> None:
    sentence = r"takes at least [\d,.]+ GiB of memory for 2 at once, and cpu has [\d,.]+ GiB"
    with pytest.raises(ConfigError, match=sentence):
        family(tmp_path, factors="1,1,2", phi=10, seeds=1, workers=2)


def test_when_every_training_fails_there_is_no_family(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"^study mine: every training of the family failed"):
        family(tmp_path, FormulaExecutor(lambda job: 1.0 / 0.0), seeds=1)
    assert not (tmp_path / "mine" / "family.csv").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"phi": []}, r"phi must be exponents in \[-10, 10\], as 0\.\.4 or 0,1,2\.5; got \[\]"),
        ({"phi": [0.0, math.nan]}, r"phi must be exponents in \[-10, 10\], as 0\.\.4 or 0,1,2\.5; got \[0\.0, nan\]"),
        ({"phi": [1000.0]}, r"phi must be exponents in \[-10, 10\], as 0\.\.4 or 0,1,2\.5; got \[1000\.0\]"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_a_key_outside_its_range_is_refused_by_its_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        FamilyConfig(**changes)


def test_with_inherit_every_larger_member_begins_with_the_base_of_its_seed(tmp_path: Path) -> None:
    executor = TestReader(num_workers=2)
    family(tmp_path, executor, inherit=True, phi=[0.0, 1.0, -3.0])
    jobs = [job for _, job in executor.submitted]
    assert [job.arch for job in jobs[:2]] == [BASE, BASE]  # both seeds, before all others
    for job in jobs[:2]:
        assert job.sibling is None
    narrower, larger = scale_arch(BASE, FACTORS, -3), [job for job in jobs if job.arch == scale_arch(BASE, FACTORS, 1)]
    assert [job.seed for job in larger] == [0, 1]
    bases = {job.seed: job.checkpoint for job in jobs[:2]}
    assert all(job.sibling == Sibling(BASE, bases[job.seed]) for job in larger)
    assert [job.sibling for job in jobs if job.arch == narrower] == [None, None]


def test_a_family_that_inherits_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = family(tmp_path / "whole", TestReader(num_workers=2), inherit=True).table.drop(columns="latency_ms")
    with pytest.raises(KeyboardInterrupt):
        family(tmp_path / "cut", TestReader(num_workers=2, last=3), inherit=True)
    again = TestReader(num_workers=2)
    table = family(tmp_path / "cut", again, inherit=True).table
    pd.testing.assert_frame_equal(table.drop(columns="latency_ms"), whole)
    assert len(again.submitted) == 3


def test_a_family_cannot_change_how_its_members_begin(tmp_path: Path) -> None:
    family(tmp_path, seeds=1)
    with pytest.raises(StudyError, match=r"^study mine, part family, was begun with inherit null, got true"):
        family(tmp_path, seeds=1, inherit=True)


def test_inherit_needs_the_base_in_the_family(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^phi must have 0, the base, with inherit=true, got \[1\.0\]$"):
        family(tmp_path, inherit=True, phi=[1.0])
