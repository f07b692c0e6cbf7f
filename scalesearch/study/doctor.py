"""What is wrong with a study's folder and its storage, and what can be mended; nothing is changed unless asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial
from safetensors import SafetensorError, safe_open

from scalesearch.atomic import PART_SUFFIX
from scalesearch.errors import SnapshotError, StudyError
from scalesearch.measure.snapshot import read_snapshot
from scalesearch.study.drivers import is_driven
from scalesearch.study.folder import StudyFolder
from scalesearch.study.locks import locked_study, takes_many_drivers
from scalesearch.study.storage import open_storage
from scalesearch.study.store import Record, load_records, state_of, trials_text, write_trials


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        what: It.
        advice: What mending does, or what the user can do.
        mend: Mends it; None where that is not for us.
    """

    what: str
    advice: str
    mend: Callable[[], object] | None = None


@dataclass(slots=True)
class Examination:
    """What was looked at and found sound, and what was not."""

    sound: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def examine(folder: StudyFolder, storage: str | None) -> Examination:
    """Look a study over: database, record, configuration, checkpoints, snapshots, leftovers.

    Raises:
        StudyError: There is no such study.
    """
    if not folder.root.is_dir():
        raise StudyError(f"{folder.root}: there is no such study")
    url, found = folder.storage_url(storage), Examination()
    if _is_driven(folder, url):
        found.sound.append("the study is being run at this moment: what a driver is writing now is left alone")
        _examine_storage(folder, url, found)
        return found
    records = _examine_storage(folder, url, found)
    _examine_config(folder, found)
    _examine_leftovers(folder, found)
    if records:
        trials = [trial for record in records for trial in record.trials]
        _examine_table(folder, url, found)
        _examine_snapshots(folder, trials, found)
        _examine_weights(folder, records, found)
    return found


def _is_driven(folder: StudyFolder, url: str) -> bool:
    if takes_many_drivers(url):
        with suppress(Exception):  # why it cannot be opened is the next thing that is examined
            return is_driven(open_storage(url), folder.name)
        return False
    try:
        with locked_study(folder):
            return False
    except StudyError:
        return True


def _examine_storage(folder: StudyFolder, url: str, found: Examination) -> list[Record]:
    if not takes_many_drivers(url) and not _is_whole(folder.database, found):
        return []
    try:
        records = load_records(url, folder.name)
    except StudyError as error:
        found.findings.append(Finding(str(error), "give storage= where it is not the study's own, or a copy of it"))
        return []
    for record in records:
        states = [state_of(trial) for trial in record.trials]
        counted = ", ".join(f"{states.count(state)} {state.lower()}" for state in dict.fromkeys(states))
        found.sound.append(f"part {record.part}: {len(states)} trials{f' ({counted})' if states else ''}")
    unfinished = sum(len(record.running()) for record in records)
    if unfinished:
        found.sound.append(f"{unfinished} trials are unfinished: the command that began them goes on with them")
    return records


def _is_whole(database: Path, found: Examination) -> bool:
    if not database.exists():
        found.findings.append(Finding(f"{database}: missing", "give storage=, or a copy of the file"))
        return False
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        said = connection.execute("PRAGMA quick_check").fetchall()
        connection.close()
    except sqlite3.DatabaseError as error:
        said = [(str(error),)]
    if said == [("ok",)]:
        found.sound.append(f"{database}: whole")
        return True
    what = f"{database}: damaged ({said[0][0].splitlines()[0]})"
    found.findings.append(Finding(what, "put a copy in its place, or take what `sqlite3 FILE .recover` still reads"))
    return False


def _examine_config(folder: StudyFolder, found: Examination) -> None:
    try:
        folder.read_config()
    except StudyError as error:
        found.findings.append(Finding(str(error), "delete it: the next run writes it anew, and needs every key again"))


def _examine_leftovers(folder: StudyFolder, found: Examination) -> None:
    left = [path for path in folder.root.rglob(f".*{PART_SUFFIX}") if path.is_file()]
    if left:
        found.findings.append(
            Finding(f"{len(left)} files that were being written when a process died", "deletes them", _deletes(left))
        )


def _examine_table(folder: StudyFolder, url: str, found: Examination) -> None:
    table = folder.table("trials")
    with suppress(OSError):
        if table.read_text(encoding="utf-8") == trials_text(folder, url):
            return
    what = f"{table}: missing, or not what the record says now"
    found.findings.append(Finding(what, "writes it from the record", lambda: write_trials(folder, url)))


def _examine_snapshots(folder: StudyFolder, trials: Sequence[FrozenTrial], found: Examination) -> None:
    unfinished = {
        f"{trial.user_attrs['arch_id']}-{trial.user_attrs['seed']}"
        for trial in trials
        if not trial.state.is_finished() and "arch_id" in trial.user_attrs
    }
    for path in sorted(folder.checkpoints.glob("*.snapshot")):
        if "-".join(path.stem.split("-")[-2:]) not in unfinished:
            what = f"{path}: the snapshot of a training that has ended"
            found.findings.append(Finding(what, "deletes it", _deletes([path])))
            continue
        try:
            read_snapshot(path)
        except SnapshotError as error:
            advice = "deletes it: the training begins anew"
            found.findings.append(Finding(str(error), advice, _deletes([path])))


def _examine_weights(folder: StudyFolder, records: Iterable[Record], found: Examination) -> None:
    ended = {
        f"{record.part}-trial-{trial.number}" for record in records for trial in record.trials if _needs_no_file(trial)
    }
    for path in sorted(folder.checkpoints.glob("*.safetensors")):
        if path.stem in ended:
            what = f"{path}: weights of a trial that was not trained to its end"
            found.findings.append(Finding(what, "deletes them", _deletes([path])))
            continue
        try:
            with safe_open(path, "pt") as file:
                list(file.keys())
        except (SafetensorError, OSError) as error:
            what = f"{path}: damaged ({str(error).splitlines()[0]})"
            found.findings.append(Finding(what, "delete it, and train what it was of again"))


def _needs_no_file(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and state_of(trial) != "COMPLETE"


def _deletes(paths: Sequence[Path]) -> Callable[[], None]:
    def delete() -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    return delete
