from __future__ import annotations

from pathlib import Path

import pytest

from scalesearch.atomic import write_atomically
from scalesearch.errors import StudyError
from scalesearch.study.folder import StudyFolder


@pytest.mark.parametrize("name", ["mine", "run-2", "2025.11_b", "A"])
def test_a_study_is_a_folder_of_its_name_and_naming_it_makes_nothing(tmp_path: Path, name: str) -> None:
    folder = StudyFolder.of(tmp_path, name)
    assert (folder.name, folder.root) == (name, tmp_path / name)
    assert not folder.root.exists()


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "-a", "a b", "a\n", "Größe"])
def test_a_name_that_cannot_be_a_folders_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match=r"^study must be letters, digits, dots, dashes and underscores, got '"):
        StudyFolder.of(tmp_path, name)


def test_the_storage_is_the_studys_own_file_unless_one_is_given(tmp_path: Path) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    assert folder.storage_url(None) == f"sqlite:///{tmp_path}/mine/study.db"
    assert folder.storage_url("postgresql://host/x") == "postgresql://host/x"


def test_a_file_is_written_whole_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    write_atomically(path, "a,b\n")
    write_atomically(path, "ä,ö\n")
    assert path.read_text(encoding="utf-8") == "ä,ö\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new\n" * 10_000 + "\ud800")  # half a character: it cannot be written
    assert path.read_text(encoding="utf-8") == "old\n"


def test_the_configuration_is_empty_before_the_first_part(tmp_path: Path) -> None:
    assert StudyFolder.of(tmp_path, "mine").read_config() == {}


@pytest.mark.parametrize("text", ["search: [1", "- search", "search: 3", "words"])
def test_a_configuration_that_was_broken_by_hand_is_one_sentence_with_its_file(tmp_path: Path, text: str) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    write_atomically(folder.config, text)
    with pytest.raises(StudyError, match=rf"^{folder.config}: (while parsing|it must be a mapping of parts, got)"):
        folder.read_config()
