"""The database: SQLite keeps a write-ahead log, and a killed process loses no commit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from scalesearch.study.storage import open_storage

WRITER = """
import os, signal, sys
import optuna
from scalesearch.study.storage import open_storage

study = optuna.create_study(storage=open_storage(sys.argv[1]), study_name="mine")
for number in range(3):
    study.ask().set_user_attr("number", number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_sqlite_writes_ahead_on_every_connection(tmp_path: Path) -> None:
    with open_storage(f"sqlite:///{tmp_path}/study.db").engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_process_loses_no_commit(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    ended = subprocess.run([sys.executable, "-c", WRITER, url], env=os.environ, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    study = optuna.load_study(storage=open_storage(url), study_name="mine")
    assert [trial.user_attrs["number"] for trial in study.trials] == [0, 1, 2]
