"""Every block that a tutorial shows runs, in the order of the page, and leaves the files that the page speaks of."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import Block, read_blocks, run_block

DOCS = Path(__file__).resolve().parents[2] / "docs"

LEFT = {
    "start.md": ["results/demo/README.md", "results/demo/frontier.png", "results/demo/family.csv"],
    "tutorials/images.md": ["results/mine/base.yaml", "results/mine/frontier.png", "results/mine/README.md"],
    "tutorials/scale.md": ["results/grown/factors.yaml", "results/grown/family.csv", "results/grown/map.png"],
    "tutorials/detector.md": [
        "results/digits/detect.csv",
        "results/digits/detections.png",
        "predictions/predictions.json",
    ],
    "tutorials/cluster.md": ["results/spread/base.yaml", "results/spread/README.md"],
}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_page(name: str, environment: dict[str, str], without: str = "") -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in read_blocks(DOCS / name):
        if without not in block.marks:
            run_block(block, namespace, environment)


def test_every_tutorial_is_run() -> None:
    assert set(LEFT) == {"start.md", *(f"tutorials/{path.name}" for path in (DOCS / "tutorials").glob("*.md"))}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LEFT if name != "tutorials/cluster.md"])
def test_the_commands_of_a_page_do_what_it_says(name: str) -> None:
    run_page(name, {})
    assert [file for file in LEFT[name] if not Path(file).is_file()] == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_the_cluster_of_the_tutorial_begins_searches_and_ends() -> None:
    run_page("tutorials/cluster.md", {}, without="postgres")
    assert [file for file in LEFT["tutorials/cluster.md"] if not Path(file).is_file()] == []


@pytest.mark.slow
def test_the_tutorials_search_on_postgresql_writes_nothing_into_sqlite(database: str) -> None:
    (block,) = (each for each in read_blocks(DOCS / "tutorials/cluster.md") if "postgres" in each.marks)
    run_block(block, {}, {"STORAGE": database})
    assert Path("results/common/base.yaml").is_file()
    assert not Path("results/common/study.db").exists()


def test_a_block_has_the_arguments_of_its_comment_and_other_languages_are_left(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ rm\n```\n\n<!-- postgres -->\n<!-- smoke: a=1 b=2 -->\n```sh\nscalesearch x \\\n  c=3\n```\n\n"
        "```python\nx = 1\n```\n",
        encoding="utf-8",
    )
    assert list(read_blocks(page)) == [
        Block("sh", "scalesearch x \\\n  c=3\n", ("a=1", "b=2"), frozenset({"postgres"})),
        Block("python", "x = 1\n", (), frozenset()),
    ]
