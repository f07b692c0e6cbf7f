"""A headless Chromium for the tests of the page; they are skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PHONE = {"width": 360, "height": 740}


@contextmanager
def open_browser() -> Iterator[object]:
    """Start a browser; no page of these tests needs more than what lies on this machine."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium")
    with sync_api.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def visit(browser: object, url: str, **options: object) -> tuple[object, list[str]]:
    """Open a page, wait until it is drawn, and return it with what its console complained of."""
    tab = browser.new_page(**options)
    complaints: list[str] = []
    tab.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else complaints.append(asked.url)
    )
    tab.goto(url)
    tab.wait_for_selector("body[data-drawn]", timeout=120_000)
    return tab, complaints


def address(path: Path) -> str:
    return path.absolute().as_uri()
