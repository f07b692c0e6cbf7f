"""What a report says of detectors: alone, beside networks, and of classes with any name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.studies import DetectorScore
from scalesearch.errors import StudyError
from scalesearch.report.detector_sections import detector_sections
from scalesearch.report.studies import write_report
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record
from tests.detection.detectors import tiny_spec
from tests.detection.studies.stand_ins import run_formula_detect, write_coco
from tests.report.test_studies import add_trials, files_of, open_record

SPECS = [tiny_spec(neck_channels=channels) for channels in (8, 16, 24)]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder.of(tmp_path, "mine")


def add_detectors(record: Record, aps: list[float], **measured: Any) -> None:
    for spec, ap in zip(SPECS, aps, strict=False):
        trial = record.study.ask()
        record.describe(trial, spec, detector_cost(spec).total, seed=0, label=f"c{spec.neck_channels}")
        record.complete(trial, [ap], DetectorScore(val_ap=ap, latency_ms=1.0 + ap, steps=1, **measured))


def test_a_study_of_detectors_alone_has_their_frontier_and_none_of_networks(folder: StudyFolder) -> None:
    add_detectors(open_record(folder, "detect-scale"), [0.1, 0.3, 0.2])
    report = write_report(folder)
    assert files_of(folder) == {"study.db", "trials.csv", "detectors.png", "detectors.svg", "README.md", "report.html"}
    assert {path.name for path in report.files} == files_of(folder) - {"study.db"}
    (line,) = report.lines
    assert line == f"3 trainings of detectors, the best with an AP of 0.300 on val: {SPECS[1].blocks}"
    said = folder.readme.read_text(encoding="utf-8")
    assert "## Detectors\n\n![AP against macs and against latency](detectors.png)" in said
    assert "| detect-scale | 3 |" in said
    assert "frontier" not in said


def test_a_study_of_both_has_both_frontiers(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "search"), [0.5, 0.4, 0.6])
    add_detectors(open_record(folder, "detect-scale"), [0.1, 0.3])
    add_detectors(open_record(folder, "detect"), [0.2])
    report = write_report(folder)
    assert {"frontier.png", "detectors.png"} <= {path.name for path in report.files}
    assert [line.split(",")[0] for line in report.lines] == ["search: 3 networks", "3 trainings of detectors"]
    said = folder.readme.read_text(encoding="utf-8")
    assert said.index("## The frontier") < said.index("## Detectors")
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert {"search", "detect-scale", "detect"} <= set(rows)
    assert pd.read_csv(folder.table("trials")).part.tolist() == ["search"] * 3 + ["detect-scale"] * 2 + ["detect"]


def test_detectors_are_reported_beside_a_search_that_has_scored_nothing_yet(folder: StudyFolder) -> None:
    search = open_record(folder, "search")
    search.study.ask()
    add_detectors(open_record(folder, "detect"), [0.1])
    report = write_report(folder)
    assert report.lines[0].startswith("1 trainings of detectors")
    assert not (folder.root / "frontier.png").exists()


def test_what_was_not_trained_to_the_end_is_neither_counted_nor_the_best(folder: StudyFolder) -> None:
    record = open_record(folder, "detect-scale")
    add_detectors(record, [0.1, 0.2])
    cost = detector_cost(SPECS[2]).total
    stopped = record.study.ask()
    record.describe(stopped, SPECS[2], cost, seed=0)
    record.prune(stopped, [0.9], DetectorScore(val_ap=0.9, steps=1, stopped=True))
    over = record.study.ask()
    record.describe(over, SPECS[2], cost, seed=0)
    record.infeasible(over, [0.0])
    assert write_report(folder).lines[0].startswith("2 trainings of detectors, the best with an AP of 0.200")


def test_a_study_whose_detectors_all_failed_is_one_sentence(folder: StudyFolder) -> None:
    record = open_record(folder, "detect")
    trial = record.study.ask()
    record.describe(trial, SPECS[0], detector_cost(SPECS[0]).total, seed=0)
    record.fail(trial, "out of memory")
    with pytest.raises(StudyError, match="at least one COMPLETE trial, got 1 FAILED"):
        write_report(folder)


def test_a_study_without_detectors_says_nothing_of_them(folder: StudyFolder) -> None:
    add_trials(open_record(folder, "search"), [0.5])
    write_report(folder)
    assert detector_sections(folder) == []
    assert "etector" not in folder.readme.read_text(encoding="utf-8")


def test_a_report_written_again_is_the_same(folder: StudyFolder) -> None:
    add_detectors(open_record(folder, "detect"), [0.1, 0.2])
    first = write_report(folder)
    texts = {path: path.read_bytes() for path in first.files if path.suffix in (".csv", ".md")}
    assert write_report(folder) == first
    assert {path: path.read_bytes() for path in texts} == texts


def table_of(said: str, after: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without the rule below its head."""
    lines = said[said.index(after) :].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")])
    return [rows[0], *rows[2:]]


def test_a_comparison_has_a_row_a_detector_and_a_column_for_what_was_measured(tmp_path: Path) -> None:
    folder = run_formula_detect(tmp_path, neck="fpn,bifpn", seeds=2)
    write_report(folder)
    head, *rows = table_of(folder.readme.read_text(encoding="utf-8"), "## Detectors")
    assert [row[0] for row in rows] == ["fpn fast", "bifpn fast"]
    assert {"AP", "± se", "AP50", "macs", "seeds"} <= set(head)
    assert not {"AP small", "test AP"} & set(head)  # were not measured
    assert all("nan" not in cell.lower() for row in rows for cell in row)


NAMES = ["detector", "a|b", "two\nlines", "NA", "01", "<b>"]


def test_classes_of_any_name_are_columns_and_one_without_boxes_is_an_empty_cell(tmp_path: Path) -> None:
    folder = run_formula_detect(tmp_path, data=write_coco(tmp_path / "pictures", NAMES), seeds=2)
    write_report(folder)
    head, row = table_of(folder.readme.read_text(encoding="utf-8"), "### By class")
    assert head == ["detector", "detector", "a\0b", "two lines", "NA", "01", "&lt;b&gt;"]
    assert row[:2] == ["bifpn fast", ""]
    assert len(row) == len(head)
    assert all("±" in cell for cell in row[2:])


def test_a_picture_of_detections_is_shown_where_it_was_drawn(folder: StudyFolder) -> None:
    folder.root.mkdir(parents=True)
    (folder.root / "detections.png").write_bytes(b"drawn by the command")
    assert detector_sections(folder)[0] == "### Detections and misses"
