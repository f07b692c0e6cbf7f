"""What the site computes: facts of spaces, ratios, tables cut from other pages, links that are led elsewhere."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from scalesearch import SearchSpace
from scalesearch.paths import SEARCH_SPACES

DOCS = Path(__file__).resolve().parents[2] / "docs"

TEXT = """
Some words.

| a | b \\| c | d |
|---|---|---|
| 1 | x | 2 |
| 3 | y | 4 |

| a | e |
|---|---|
| 5 | 6 |
"""


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the extension as Sphinx does."""
    pytest.importorskip("sphinx", reason="sphinx is not installed (the extra docs)")
    monkeypatch.syspath_prepend(str(DOCS))
    yield importlib.import_module("computed")
    for name in [name for name in sys.modules if name.partition(".")[0] == "computed"]:
        del sys.modules[name]


def test_a_table_is_found_by_its_header_and_cut_down(computed: ModuleType) -> None:
    table = computed.tables.find_table(TEXT, "a")
    assert table.where("a = 3").only("d | a").to_markdown() == "| d | a |\n| --- | --- |\n| 4 | 3 |\n"
    assert computed.tables.find_table(TEXT, "a | e").rows == (("5", "6"),)


@pytest.mark.parametrize(
    ("header", "rows", "columns", "sentence"),
    [
        ("z", "", "", "there is no table that begins with the columns z"),
        ("a", "a = 7", "", "no row has '7' under 'a'"),
        ("a", "z = 7", "", "the table has the columns a, .*, d; got 'z'"),
        ("a", "", "a | z", "the table has the columns a, .*, d; got 'z'"),
    ],
)
def test_a_table_that_is_no_longer_there_ends_the_build(
    computed: ModuleType, header: str, rows: str, columns: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        computed.tables.find_table(TEXT, header).where(rows).only(columns)


@pytest.mark.parametrize("name", sorted(path.stem for path in SEARCH_SPACES.glob("*.yaml")))
def test_the_facts_of_a_space_have_its_size_and_all_of_its_stages(computed: ModuleType, name: str) -> None:
    space, said = SearchSpace.load(name), computed.spaces.describe_space(name)
    assert f"| settings | {space.cardinality:,} |" in said
    assert f"| parameters that a sampler sees | {len(space.parameters)} |" in said
    assert len(re.findall(r"^\| \d \|", said, flags=re.MULTILINE)) == len(space.stages)


def test_the_papers_factors_realise_more_than_the_formula_says(computed: ModuleType) -> None:
    assert "| 1 | `ceil` | 23 | 258 px | 992,629,472 | 1.92 | **2.57** |" in computed.scaling.describe_roundings()
    assert "| `realised` | 45 | 20 | 1.90 to 2.07 |" in computed.scaling.describe_grids()


def test_links_lead_to_the_page_that_a_file_has_in_the_site(computed: ModuleType) -> None:
    page = Path("docs/scores/brief.md")
    text = "[a](../../results/bccd-necks/README.md#x) [b](../LOG.md) [c](https://x.y/../z) ![d](../../results/e.png)"
    assert computed.pages.mend_links(text, page, page) == (
        "[a](../generated/studies/bccd-necks.md#x) [b](../LOG.md) [c](https://x.y/../z) ![d](../../results/e.png)"
    )
    moved = computed.pages.mend_links("[s](docs/security.md)", Path("CONTRIBUTING.md"), Path("docs/generated/c.md"))
    assert moved == "[s](../security.md)"


def test_what_is_fenced_is_left_alone(computed: ModuleType) -> None:
    text = "```\n[a](README.md)\n```\n"
    assert computed.pages.mend_links(text, Path("a.md"), Path("docs/b.md")) == text


def test_the_picture_of_the_flow_is_the_one_that_is_drawn(computed: ModuleType) -> None:
    drawn = importlib.import_module("computed.flow_picture").draw_flow()
    assert (DOCS / "flow.svg").read_text(encoding="utf-8") == drawn


def test_the_example_of_a_space_file_has_the_settings_that_it_says() -> None:
    page = (DOCS / "reference" / "space-files.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert example
    said = re.search(r"= (\d+) settings", example[1])
    assert said
    assert SearchSpace.from_dict("example", yaml.safe_load(example[1])).cardinality == int(said[1])
