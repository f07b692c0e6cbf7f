"""The site builds without a warning and without network, its links lead somewhere, and it leaves nothing out."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scalesearch.cli import VERBS
from scalesearch.config import describe_keys
from scalesearch.measure.scores.config import METHODS, PROXIES
from scalesearch.paths import SEARCH_SPACES
from scalesearch.schemas import SCHEMAS
from scalesearch.search.samplers import SAMPLERS

pytest.importorskip("sphinx", reason="sphinx is not installed (the extra docs)")

REPO = Path(__file__).resolve().parents[2]
LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src")}


class Page(HTMLParser):
    """What a page links to, loads and can be linked to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if value and (tag, name) in LOADED:
                self.loaded.add(value)
            if value and tag == "a" and name == "href":
                self.links.add(value)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as ``make docs`` does, with proxies that lead nowhere."""
    out = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(out / "trees")]
    built = subprocess.run(
        [*command, str(REPO / "docs"), str(out / "html")],
        capture_output=True,
        text=True,
        env={**os.environ, **nowhere},
    )
    assert built.returncode == 0, built.stderr
    return out / "html"


@pytest.fixture(scope="module")
def site(folder: Path) -> dict[Path, Page]:
    """Return all pages by their path in the site."""
    return {path.relative_to(folder): Page(path) for path in sorted(folder.rglob("*.html"))}


@pytest.mark.slow
def test_every_link_within_the_site_leads_to_a_page_and_to_a_place_on_it(site: dict[Path, Page], folder: Path) -> None:
    lost = []
    for path, page in site.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if not (folder / target).is_file() or (
                parts.fragment and target in site and unquote(parts.fragment) not in site[target].anchors
            ):
                lost.append(f"{path}: {link}")
    assert lost == []


@pytest.mark.slow
def test_a_page_loads_nothing_from_elsewhere(site: dict[Path, Page], folder: Path) -> None:
    assert {link for page in site.values() for link in page.loaded if urlsplit(link).netloc} == set()
    for style in folder.rglob("*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_page_with_all_its_keys(site: dict[Path, Page], verb: str) -> None:
    words = set(" ".join(site[Path("generated/verbs", f"{verb}.html")].text).split())
    keys = {key for key, _, _ in describe_keys(SCHEMAS[verb])} if verb in SCHEMAS else set()
    assert {"scalesearch", verb, *keys} <= words


@pytest.mark.slow
def test_every_space_score_and_sampler_has_a_page(site: dict[Path, Page]) -> None:
    wanted = {
        *(Path("spaces", f"{path.stem}.html") for path in SEARCH_SPACES.glob("*.yaml")),
        *(Path("scores", f"{name}.html") for name in METHODS),
        *(Path("samplers", f"{name}.html") for name in SAMPLERS),
    }
    assert wanted <= set(site)
    assert set(PROXIES) <= set(" ".join(site[Path("scores/proxy.html")].text).split())


@pytest.mark.slow
@pytest.mark.parametrize("module", ["scalesearch", "scalesearch.detection"])
def test_every_public_name_has_an_entry(site: dict[Path, Page], module: str) -> None:
    anchors = site[Path("reference/names.html")].anchors
    assert {f"{module}.{name}" for name in importlib.import_module(module).__all__} <= anchors


@pytest.mark.slow
def test_every_page_of_markdown_and_every_study_is_in_the_site(site: dict[Path, Page]) -> None:
    docs = REPO / "docs"
    written = {path.relative_to(docs).with_suffix(".html") for path in docs.rglob("*.md")}
    assert not {Path("search.html"), Path("genindex.html")} & written  # Sphinx writes pages of its own over these
    studies = {Path("generated/studies", f"{path.parent.name}.html") for path in REPO.glob("results/*/README.md")}
    assert written | studies <= set(site)


@pytest.mark.slow
def test_the_log_is_a_page_and_not_among_what_a_search_finds(site: dict[Path, Page], folder: Path) -> None:
    script = (folder / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("Search.setIndex(").removesuffix(")"))
    indexed = dict(zip(index["docnames"], index["titles"], strict=True))
    assert Path("LOG.html") in site
    assert (indexed["LOG"], indexed["searching"]) == ("", "How the search finds more in fewer trials")
