from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def published(shared: Path) -> dict[str, Any]:
    """The released detectors in published.json, ``d0`` .. ``d7x``; D0 .. D4 with exact figures."""
    tables = json.loads((shared / "reference/published.json").read_text(encoding="utf-8"))
    return tables["efficientdet"]
