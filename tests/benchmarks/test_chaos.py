"""The short version of the chaos benchmark: a study that is killed again and again ends as one in peace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.postgres import find_binaries

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_kills_of_drivers_workers_and_the_server_lose_nothing_and_change_nothing() -> None:
    if find_binaries() is None:
        pytest.skip("the PostgreSQL server is not installed (Debian: apt-get install postgresql)")
    command = [sys.executable, "benchmarks/chaos.py", "--kills", "5", "--trials", "5", "--steps", "60", "--no-ray"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| completed | 5 |" in done.stdout
    assert "| lost | 0 |" in done.stdout
    assert "| completed twice | 0 |" in done.stdout
    assert "| with another accuracy | 0 |" in done.stdout
