"""The table of a family: what a member is, what its trainings reached, and what a rival lacks; how it is reported."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from scalesearch.arch import network_cost
from scalesearch.arch.scaling import ScalingRule
from scalesearch.report.scaling_sections import curves_section, family_section
from scalesearch.scaling.member_table import summarise_members
from scalesearch.scaling.members import Member, compound_members, with_rivals
from scalesearch.study.folder import StudyFolder
from tests.scaling.test_family import BASE, FACTORS


def members_of(*phis: float) -> list[Member]:
    return compound_members(BASE, ScalingRule(FACTORS), phis, 11)


def trial(member: Member, seed: int, val_top1: float, test_top1: float = math.nan, state: str = "COMPLETE") -> dict:
    return {
        "arch_id": member.arch.arch_id,
        "seed": seed,
        "val_top1": val_top1,
        "test_top1": test_top1,
        "state": state,
    }


def test_a_member_has_the_means_over_its_seeds_with_their_standard_errors() -> None:
    members = members_of(0, 1)
    trials = [trial(members[0], 0, 0.5, 0.4), trial(members[0], 1, 0.7, 0.5), trial(members[1], 0, 0.6, 0.5)]
    table = summarise_members(BASE, members, pd.DataFrame(trials), 11)
    assert table.val_top1.tolist() == pytest.approx([0.6, 0.6])
    assert table.test_top1.tolist() == pytest.approx([0.45, 0.5])
    assert table.test_top1_se.iloc[0] == pytest.approx(0.05)
    assert math.isnan(table.test_top1_se.iloc[1])  # of one seed
    assert table.num_seeds.tolist() == [2, 1]


def test_a_failed_training_is_not_in_the_mean() -> None:
    members = members_of(0)
    trials = [trial(members[0], 0, 0.5), trial(members[0], 1, 0.9, state="FAIL")]
    table = summarise_members(BASE, members, pd.DataFrame(trials), 11)
    assert (table.val_top1.item(), table.num_seeds.item()) == (0.5, 1)


def test_ratios_are_to_the_base_even_where_it_is_no_member() -> None:
    members = members_of(2, 1)
    table = summarise_members(BASE, members, pd.DataFrame([trial(member, 0, 0.5) for member in members]), 11)
    base_macs = network_cost(BASE, num_classes=11).macs
    assert table.realised_ratio.tolist() == [macs / base_macs for macs in table.macs]
    assert table.phi.tolist() == [2, 1]  # in the order asked for


def test_a_member_says_its_product_and_the_released_network_nearest_to_it() -> None:
    members = members_of(0, 1, 2)
    table = summarise_members(BASE, members, pd.DataFrame([trial(member, 0, 0.5) for member in members]), 11)
    assert table["product"].tolist() == pytest.approx([FACTORS.product**phi for phi in (0, 1, 2)])
    assert set(table.nearest_released) == {"efficientnet-b0"}
    assert (table.macs_over_released < 1).all()


@pytest.mark.parametrize("reads_test", [False, True])
def test_a_rivals_difference_is_paired_over_seeds_and_on_test_where_that_was_read(reads_test: bool) -> None:
    compound, width = [
        member for member in with_rivals(BASE, members_of(2), 11) if member.strategy in ("compound", "width")
    ]
    trials = []
    for seed, (mine, gain) in enumerate([(0.5, -0.01), (0.8, -0.03), (0.9, math.nan)]):
        tests = (mine - 0.1, mine - 0.1 + 2 * gain) if reads_test else (math.nan, math.nan)
        trials.append(trial(compound, seed, mine, tests[0]))
        if not math.isnan(gain):  # the rival lacks the last seed, which the pairs leave out
            trials.append(trial(width, seed, mine + gain, tests[1]))
    table = summarise_members(BASE, [compound, width], pd.DataFrame(trials), 11)
    times = 2 if reads_test else 1
    assert table.minus_compound.tolist() == pytest.approx([math.nan, times * -0.02], nan_ok=True)
    assert table.minus_compound_se.tolist() == pytest.approx([math.nan, times * 0.01], nan_ok=True)


@pytest.mark.parametrize("part", ["family", "curves"])
def test_the_report_shows_the_memory_of_a_pass_where_a_table_has_it(tmp_path: Path, part: str) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    folder.root.mkdir()
    folder.table("curves-fits").write_text("cost,strategy,networks\n", encoding="utf-8")
    section = family_section if part == "family" else curves_section
    rows = "member,image_size,latency_ms,peak_memory_mib,val_top1\nphi=0,16,1.5,0.25,0.5\n"
    folder.table(part).write_text(rows, encoding="utf-8")
    table = section(folder)[-1]
    assert "| member | image size | latency, ms | peak memory, MiB | search-val top-1 |" in table
    assert "| phi=0 | 16 | 1.5 | 0.25 | 0.5 |" in table
    folder.table(part).write_text(rows.replace("peak_memory_mib,", "").replace("0.25,", ""), encoding="utf-8")
    older = section(folder)[-1]
    assert "| member | image size | latency, ms | search-val top-1 |" in older
    assert "| phi=0 | 16 | 1.5 | 0.5 |" in older
