"""Names of studies, spaces, classes and files: each stays a name, wherever it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from scalesearch.arch import SearchSpace
from scalesearch.cli import main
from scalesearch.console import print_frame, say
from scalesearch.detection.data.coco import CocoFiles, open_coco
from scalesearch.detection.data.voc import open_voc
from scalesearch.errors import DataError, SpaceError, StudyError, printable
from scalesearch.report.markdown import plain_text, table_lines
from scalesearch.report.studies import write_report
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record, load_records
from tests.detection.studies.stand_ins import run_formula_detect, write_coco
from tests.security.documents import COCO, write_picture

SCRIPT = "<script>alert(1)</script>"
NASTY = [
    SCRIPT,
    "a|b",
    "two\nlines",
    "`code`",
    "[link](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "&lt;",
    "**b**",
]
SQL = "x'; DROP TABLE studies; --"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        ".",
        "/abs",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a b",
        "$(touch x)",
        "`x`",
        "<b>",
        SQL,
        "-rf",
        "x" * 101,
        "é",
    ],
)
def test_a_study_name_that_leads_elsewhere_is_refused_and_nothing_is_made(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    with pytest.raises(StudyError, match=r"^study must be letters, digits, dots, dashes and underscores, got "):
        StudyFolder.of(results, name)
    if "\0" not in name:  # which no command line can hold
        assert main(["report", f"results={results}", f"study='{name.replace(chr(39), chr(92) + chr(39))}'"]) == 2
        assert "\n" not in capsys.readouterr().err.rstrip("\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a b", "a;b", "a&b=c"])
def test_a_results_folder_of_any_name_holds_its_own_database(tmp_path: Path, name: str) -> None:
    folder = StudyFolder.of(tmp_path / name, "mine")
    folder.root.mkdir(parents=True)
    asked = {"directions": ["maximize"], "metric_names": ["val_top1"], "identity": {}}
    Record.open(folder.storage_url(None), "mine", "search", **asked)
    assert folder.database.is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["../conf/run", "/etc/passwd", "mbconv_small/../mbconv_small", "a\0b", "x" * 300])
def test_a_search_space_is_one_that_ships_or_a_file(name: str) -> None:
    with pytest.raises(SpaceError, match=r"^search spaces are accel_nasbench, .*; got "):
        SearchSpace.load(name)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/secret.png", "a/../../secret.png", "a\0.png", "\ud800.png", "x" * 300]
)
def test_a_coco_json_names_no_picture_outside_its_folder(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / "secret.png")
    write_picture(tmp_path / "images" / "1.png")
    content = {**COCO, "images": [{**COCO["images"][0], "file_name": name}, COCO["images"][1]]}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=rf"{path}: (every picture|images\[0\] must have)"):
        open_coco({"train": CocoFiles(path, tmp_path / "images")})


@pytest.mark.parametrize("stem", ["../secret", "/etc/secret", "x/../../secret"])
def test_a_voc_list_names_no_annotation_outside_its_folder(tmp_path: Path, stem: str) -> None:
    write_picture(tmp_path / "JPEGImages" / "secret.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "secret.xml").write_text("<annotation/>", encoding="utf-8")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(stem, encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.txt: every name must stay below the folder of annotations, got '"):
        open_voc(tmp_path)


def test_class_names_are_texts_in_the_report_and_values_in_the_database(tmp_path: Path) -> None:
    names = [*NASTY, SQL]
    folder = run_formula_detect(tmp_path, data=write_coco(tmp_path / "pictures", names), seeds=1)
    write_report(folder)
    said = folder.readme.read_text(encoding="utf-8")
    assert all(plain_text(name) in said for name in names)
    assert not any(tag in said for tag in ("<script", "<img", "[link](", "| `code`", " **b**"))
    assert [record.part for record in load_records(folder.storage_url(None), folder.name)] == ["detect"]
    classes = pd.read_csv(folder.table("detect-classes"), keep_default_na=False)
    assert list(classes["class"]) == names


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_one_cell_of_markdown_and_no_markup(name: str) -> None:
    head, _, row = table_lines(pd.DataFrame({"class": [name], name: ["x"]})).split("\n")
    for line in (head, row):
        assert line.replace("\\|", "").count("|") == 3
        assert "<" not in line
    assert "`code`" not in row.replace("\\`", "")


def test_a_command_in_the_report_is_code_whatever_it_holds() -> None:
    command = f"scalesearch search study='`x`|{SCRIPT}'\n# title"
    row = table_lines(pd.DataFrame({"command": [command]}), code="command").split("\n")[2]
    assert row == f"| `` scalesearch search study='`x`\\|{SCRIPT}' # title `` |"


def test_names_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_frame(pd.DataFrame({"member": ["[/red]", "[bold]x"]}), "[/title]")
    say("[/b]")
    output = capsys.readouterr().out
    assert all(text in output for text in ("[/red]", "[bold]x", "[/title]", "[/b]"))
    assert printable("a\x1b[2Jb\r\nc") == "a [2Jb  c"
    assert main(["search", "x\x1b[2J=1"]) == 2
    assert "\x1b" not in capsys.readouterr().err
