"""What is wrong with a study is found, and mended only when that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalesearch.cli import main
from scalesearch.errors import StudyError
from scalesearch.measure.snapshot import write_snapshot
from scalesearch.study.doctor import Examination, examine
from scalesearch.study.folder import StudyFolder
from scalesearch.study.locks import locked_study
from tests.search.loops import NARROW, read_record, search
from tests.study.stand_ins import FormulaExecutor


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Give the folder of a small search that was interrupted with a trial running."""
    search(tmp_path, FormulaExecutor(), space=NARROW, sampler="random", trials=2)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, FormulaExecutor(last=0), space=NARROW, sampler="random", trials=3)
    folder = StudyFolder.of(tmp_path, "mine")
    for path in folder.checkpoints.iterdir():  # the stand-in writes no weights into them
        path.unlink()
    return folder


def wrong(examination: Examination) -> list[str]:
    return [finding.what for finding in examination.findings]


def mend(examination: Examination) -> None:
    for finding in examination.findings:
        assert finding.mend is not None
        finding.mend()


def test_a_sound_study_has_its_trials_counted_and_nothing_wrong(folder: StudyFolder) -> None:
    examination = examine(folder, None)
    assert wrong(examination) == []
    assert any("part search: " in line and "2 complete" in line and "1 running" in line for line in examination.sound)
    assert "1 trials are unfinished: the command that began them goes on with them" in examination.sound


def test_leftovers_damaged_snapshots_and_an_old_table_are_found_and_mended(folder: StudyFolder) -> None:
    (folder.root / ".trials.csv.12-ab.part").write_text("half", encoding="ascii")
    (folder.checkpoints / "search-0123456789ab-0.snapshot").write_bytes(b"of an ended training")
    folder.table("trials").write_text("old", encoding="ascii")
    (running,) = (trial for trial in read_record(folder.root.parent).trials if not trial.state.is_finished())
    damaged = folder.checkpoints / f"search-{running.user_attrs['arch_id']}-{running.user_attrs['seed']}.snapshot"
    damaged.write_bytes(b"nonsense")
    assert set(wrong(examine(folder, None))) == {
        "1 files that were being written when a process died",
        f"{folder.table('trials')}: missing, or not what the record says now",
        f"{folder.checkpoints}/search-0123456789ab-0.snapshot: the snapshot of a training that has ended",
        f"{damaged}: not a snapshot of a training",
    }
    assert damaged.exists()  # nothing was asked for
    mend(examine(folder, None))
    assert wrong(examine(folder, None)) == []
    assert not damaged.exists()


def test_the_snapshot_of_an_unfinished_trial_is_sound(folder: StudyFolder) -> None:
    (running,) = (trial for trial in read_record(folder.root.parent).trials if not trial.state.is_finished())
    path = folder.checkpoints / f"search-{running.user_attrs['arch_id']}-{running.user_attrs['seed']}.snapshot"
    write_snapshot(path, {"identity": "x", "state": {}})
    assert wrong(examine(folder, None)) == []


def test_a_damaged_database_is_told_and_not_touched(folder: StudyFolder) -> None:
    for log in folder.root.glob("study.db-*"):
        log.unlink()
    content = b"nonsense" * 1024
    folder.database.write_bytes(content)
    examination = examine(folder, None)
    assert wrong(examination)[0].startswith(f"{folder.database}: damaged (")
    assert examination.findings[0].mend is None
    assert folder.database.read_bytes() == content


def test_damaged_weights_are_told(folder: StudyFolder) -> None:
    path = folder.checkpoints / "base.safetensors"
    path.write_bytes(b"nonsense")
    (what,) = wrong(examine(folder, None))
    assert what.startswith(f"{path}: damaged (")


def test_while_a_driver_runs_its_files_are_left_alone(folder: StudyFolder) -> None:
    (folder.root / ".trials.csv.12-ab.part").write_text("half", encoding="ascii")
    with locked_study(folder):
        examination = examine(folder, None)
    assert wrong(examination) == []
    assert examination.sound[0].startswith("the study is being run at this moment")


def test_a_study_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"none: there is no such study$"):
        examine(StudyFolder.of(tmp_path, "none"), None)


def test_the_command_says_what_is_wrong_and_mends_it(folder: StudyFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.root / ".x.12-ab.part").write_text("half", encoding="ascii")
    keys = ["doctor", "study=mine", f"results={folder.root.parent}"]
    assert main(keys) == 0
    assert "mend=true: deletes them" in capsys.readouterr().out
    assert main([*keys, "mend=true"]) == 0
    assert "mended: deletes them" in capsys.readouterr().out
    assert main(keys) == 0
    assert "Nothing is wrong." in capsys.readouterr().out
