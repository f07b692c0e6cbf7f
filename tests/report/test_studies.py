"""The report of a real record: which files, and what they hold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.errors import StudyError
from scalesearch.report.studies import write_report
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record
from tests.scaling.test_verdict import VERDICT
from tests.study.jobs import new_score
from tests.study.stand_ins import do_not_wait_for_the_disk  # noqa: F401 (imported for what it does)

ARCHS = [
    ArchSpec.from_blocks([f"ds_r1_k3_s2_c{channels}"], stem_channels=8, head_channels=16, image_size=16)
    for channels in (8, 16, 24)
]


def open_record(folder: StudyFolder, part: str, url: str | None = None) -> Record:
    folder.root.mkdir(parents=True, exist_ok=True)
    return Record.open(
        url or folder.storage_url(None),
        folder.name,
        part,
        directions=["maximize"],
        metric_names=["val_top1"],
        identity={},
    )


def add_trials(record: Record, tops: list[float], seed: int = 0) -> None:
    for arch, top1 in zip(ARCHS, tops, strict=False):
        trial = record.study.ask()
        for name in ("alpha", "beta", "gamma", "product", "realised_ratio") if record.part == "scale" else ():
            trial.suggest_float(name, 1.0, 2.0)
        if record.part == "scale":
            trial.suggest_float("seed", seed, seed)  # as a roster does
        record.describe(trial, arch, network_cost(arch, num_classes=11), seed=seed)
        record.complete(trial, [top1], new_score(top1))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder.of(tmp_path, "mine")


def files_of(folder: StudyFolder) -> set[str]:
    return {path.name for path in folder.root.iterdir() if not path.name.startswith("study.db-")}  # SQLite's own


def test_a_search_alone_has_a_frontier_and_no_scaling_picture(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "search"), [0.5, 0.4, 0.6])
    report = write_report(folder)
    assert files_of(folder) == {"study.db", "trials.csv", "frontier.png", "frontier.svg", "README.md", "report.html"}
    assert {path.name for path in report.files} == files_of(folder) - {"study.db"}
    assert all(path.stat().st_size > 0 for path in report.files)
    assert [line.split(",")[0] for line in report.lines] == ["search: 3 networks"]
    macs = network_cost(ARCHS[2], num_classes=11).macs / 1e6
    assert f"best 0.600 at {macs:.2f} M macs, 2 on its front" in report.lines[0]


def test_a_grid_has_its_candidates_drawn_and_the_csv_has_every_trial_of_every_part(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "search"), [0.5, 0.4])
    for seed in (0, 1):
        add_trials(open_record(folder, "scale"), [0.5, 0.6 + seed / 10], seed=seed)
    report = write_report(folder)
    assert {"scaling.png", "scaling.svg"} <= {path.name for path in report.files}
    trials = pd.read_csv(folder.table("trials"))
    assert trials.part.tolist() == ["search"] * 2 + ["scale"] * 4
    assert trials.val_top1.tolist() == [0.5, 0.4, 0.5, 0.6, 0.5, 0.7]
    assert trials["param.alpha"].notna().tolist() == [False] * 2 + [True] * 4


def test_the_summary_counts_the_trials_of_each_part_and_names_the_base(folder: StudyFolder) -> None:
    record = open_record(folder, "search")
    add_trials(record, [0.5, 0.4, 0.6])
    failed = record.study.ask()
    record.describe(failed, ARCHS[0], network_cost(ARCHS[0], num_classes=11), seed=0)
    record.fail(failed, "out of memory")
    ARCHS[2].save(folder.base)
    write_report(folder)
    summary = (folder.root / "README.md").read_text(encoding="utf-8")
    assert "# Study mine" in summary
    assert ARCHS[2].arch_id in summary
    assert "ds_r1_k3_s2_e1_c24" in summary
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in summary.splitlines()]
    head = next(index for index, line in enumerate(lines) if line[0] == "part")
    counts = dict(zip(lines[head], lines[head + 2], strict=True))  # between them the rule of a Markdown table
    assert (counts["complete"], counts["infeasible"], counts["failed"]) == ("3", "0", "1")


def test_a_report_written_again_is_the_same(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "search"), [0.5, 0.4, 0.6])
    first = write_report(folder)
    texts = {path: path.read_bytes() for path in first.files if path.suffix in (".csv", ".md")}
    assert write_report(folder) == first
    assert {path: path.read_bytes() for path in texts} == texts


def test_another_study_is_a_series_by_its_samplers_name_and_not_in_the_csv(folder: StudyFolder, tmp_path: Path) -> None:
    other = StudyFolder.of(tmp_path, "other")
    add_trials(open_record(folder, "search"), [0.5, 0.4])
    add_trials(open_record(other, "search"), [0.3, 0.2, 0.1])
    other.config.write_text(yaml.safe_dump({"search": {"sampler": "random"}}), encoding="utf-8")
    report = write_report(folder, compare="other")
    assert [line.split(",")[0] for line in report.lines] == ["search: 2 networks", "random: 3 networks"]
    assert len(pd.read_csv(folder.table("trials"))) == 2


def test_a_study_in_another_storage_is_read_from_there(folder: StudyFolder, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    add_trials(open_record(folder, "search", url), [0.5, 0.4])
    assert write_report(folder, url).lines[0].startswith("search: 2 networks")
    assert not folder.database.exists()


def test_a_study_that_was_never_begun_is_one_sentence(folder: StudyFolder, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"mine: there is no such study$"):
        write_report(folder)
    add_trials(open_record(folder, "search"), [0.5])
    with pytest.raises(StudyError, match=r"nope: there is no such study$"):
        write_report(folder, compare="nope")


def test_a_study_without_a_trained_network_is_one_sentence(folder: StudyFolder) -> None:
    record = open_record(folder, "search")
    trial = record.study.ask()
    record.describe(trial, ARCHS[0], network_cost(ARCHS[0], num_classes=11), seed=0)
    record.fail(trial, "out of memory")
    with pytest.raises(StudyError, match="at least one COMPLETE trial, got 1 FAILED"):
        write_report(folder)


def test_another_study_without_a_search_stands_on_the_page_alone(folder: StudyFolder, tmp_path: Path) -> None:
    add_trials(open_record(folder, "search"), [0.5])
    add_trials(open_record(StudyFolder.of(tmp_path, "other"), "scale"), [0.5])
    assert [line.split(",")[0] for line in write_report(folder, compare="other").lines] == ["search: 1 networks"]
    assert '"name":"other"' in (folder.root / "report.html").read_text(encoding="utf-8")


def test_a_study_beside_itself_is_one_sentence(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "search"), [0.5])
    with pytest.raises(StudyError, match=r"^compare must be another study than mine, got the same$"):
        write_report(folder, compare="mine")


CURVES = """\
member,strategy,phi,image_size,macs,realised_ratio,val_top1,val_top1_se,num_seeds,arch_id,minus_compound,minus_compound_se
phi=0,compound,0,16,1000,1.0,0.4,0.01,3,a,,
phi=1,compound,1,20,2000,2.0,0.5,0.01,3,b,,
phi=1 width,width,1,16,2000,2.0,0.45,0.01,3,c,-0.05,0.012
"""


def test_the_summary_has_the_curves_with_what_each_rival_lacks_to_the_compound_member(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "scale"), [0.5, 0.6, 0.4])
    add_trials(open_record(folder, "curves"), [0.5, 0.6])
    folder.table("curves").write_text(CURVES, encoding="utf-8")
    folder.table("curves-fits").write_text("cost,strategy,networks,exponent,exponent_se,largest_residual\n")
    (folder.root / "curves.png").write_bytes(b"drawn by the command")
    report = write_report(folder)
    said = folder.readme.read_text(encoding="utf-8")
    assert "## Scaling curves" in said
    assert "(curves.png)" in said
    assert "| phi=1 width | 16 | 2,000 | 2 | 0.45 | 0.01 | -0.05 | 0.012 | 3 |" in said
    assert "test top-1" not in said  # which curves do not read
    assert "Power laws" not in said
    assert "| curves | 2 |" in said  # among what was run
    assert not any(line.startswith("curves") for line in report.lines)  # and not on the frontier


def test_a_study_of_curves_alone_has_them_on_its_frontier(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "curves"), [0.5, 0.4, 0.6])
    assert [line.split(",")[0] for line in write_report(folder).lines] == ["curves: 3 networks"]


def test_the_verdict_and_the_map_stand_above_the_candidates(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "scale"), [0.5, 0.6, 0.4])
    folder.factors.write_text(yaml.safe_dump({"evidence": VERDICT.to_dict()}), encoding="utf-8")
    (folder.root / "map.png").write_bytes(b"drawn by the command")
    write_report(folder)
    said = folder.readme.read_text(encoding="utf-8")
    section = said[said.index("## Scaling candidates") :]
    assert section.index(VERDICT.sentences()[0]) < section.index("(map.png)") < section.index("| alpha |")
