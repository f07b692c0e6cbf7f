from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scalesearch.errors import StudyError
from scalesearch.study.folder import StudyFolder
from scalesearch.study.locks import locked_storage, locked_study, takes_many_drivers

HOLD = """
import sys
from scalesearch.study.folder import StudyFolder
from scalesearch.study.locks import locked_study
with locked_study(StudyFolder.of(sys.argv[1], "mine")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_has_one_driver_at_a_time_among_processes(tmp_path: Path) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        refusal = pytest.raises(StudyError, match=r"^study mine is being run by another process, and SQLite takes one")
        with refusal, locked_study(folder):
            pass
        other.kill()  # a driver that was killed holds nothing
    with locked_study(folder):
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    with pytest.raises(ZeroDivisionError), locked_study(folder):
        1 / 0  # noqa: B018
    with locked_study(folder), pytest.raises(StudyError, match="another process"), locked_study(folder):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file", encoding="ascii")
    folder = StudyFolder.of(tmp_path / "results", "mine")
    with (
        pytest.raises(StudyError, match=rf"^{folder.root}: the study's folder cannot be written \("),
        locked_study(folder),
    ):
        pass


def test_a_sqlite_file_that_is_given_has_one_driver_whatever_its_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    refusal = pytest.raises(StudyError, match=r"^the storage sqlite:///.*/shared.db is being run by another process")
    with locked_storage(url), refusal, locked_storage(url):
        pass
    with locked_storage(None), locked_storage(None):  # none was given: the study's own lies in its folder
        pass


def test_sqlite_takes_one_driver_and_others_take_many() -> None:
    assert not takes_many_drivers("sqlite:///study.db")
    assert takes_many_drivers("postgresql://me:secret@host/db")
    assert takes_many_drivers("mysql+pymysql://host/db")
    with pytest.raises(StudyError, match=r"^storage must be a database URL"):
        takes_many_drivers("nonsense")
