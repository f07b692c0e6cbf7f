"""From a study to the page: read, put together, write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scalesearch.atomic import write_atomically
from scalesearch.errors import StudyError
from scalesearch.report.page.document import write_page
from scalesearch.report.page.payload import Payload
from scalesearch.report.page.reading import StudyReader
from scalesearch.report.page.views import common_references, list_landmarks
from scalesearch.report.plot import COST_LABELS, SCORE_LABELS
from scalesearch.study.folder import StudyFolder

NAME = "report.html"


def open_studies(folder: StudyFolder, storage: str | None = None, compare: str | None = None) -> list[StudyReader]:
    """Return readers of a study and of the one beside it.

    Args:
        folder: Of the study.
        storage: URL of its storage, where it is not its own SQLite file.
        compare: Another study in the same results folder.

    Raises:
        StudyError: A study has no record, or the two are the same.
    """
    if compare == folder.name:
        raise StudyError(f"compare must be another study than {folder.name}, got the same")
    others = [] if compare is None else [StudyFolder.of(folder.root.parent, compare)]
    return [StudyReader.open(each, storage) for each in (folder, *others)]


def make_payload(readers: Sequence[StudyReader]) -> Payload:
    """Return the page of one study, or of several side by side: their hypervolumes are over common corners."""
    references = common_references(info for reader in readers for info in reader.infos()) if len(readers) > 1 else None
    return Payload(
        studies=[reader.read(references) for reader in readers],
        landmarks=list_landmarks(),
        cost_labels=dict(COST_LABELS),
        score_labels=dict(SCORE_LABELS),
    )


def write_report_page(folder: StudyFolder, readers: Sequence[StudyReader]) -> Path:
    """Write ``report.html`` of the studies into a folder and return its path."""
    path = folder.root / NAME
    write_atomically(path, write_page(make_payload(readers)))
    return path
