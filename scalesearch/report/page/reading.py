"""A study read for the page, again and again while it runs: what has not changed is not worked out anew.

Optuna's own cache holds finished trials, so a look at a study of thousands costs a query. What follows from the trials
is kept until one more of them has ended, and what takes long (the map, the importance) until its own part has grown
by a twentieth.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from optuna.trial import FrozenTrial

from scalesearch.errors import StudyError
from scalesearch.report.analysis import SERIES_ORDER
from scalesearch.report.detector_sections import DETECTOR_PARTS
from scalesearch.report.info import FrontierInfo
from scalesearch.report.page import runs, sections
from scalesearch.report.page.archs import describe_arch
from scalesearch.report.page.courses import add_courses
from scalesearch.report.page.importance import measure_importance
from scalesearch.report.page.networks import finished, list_networks
from scalesearch.report.page.payload import Arch, StudyPayload
from scalesearch.report.page.views import References, describe_view, measure_views
from scalesearch.report.ways import by_way, split_ways
from scalesearch.retraining.running import PART as TRAIN
from scalesearch.scaling.curves import PART as CURVES
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record, frame_of, load_records

PARTS = (*SERIES_ORDER, TRAIN, CURVES, *DETECTOR_PARTS)
"""Whose trials are results; a proposal by a cheap score and the readings of fidelity are none."""

_GROWTH = 1.05  # of the finished trials, after which what takes long is worked out again
_MEASURED = ("latency_ms", "peak_memory_mib")  # in the tables of the family and the curves

T = TypeVar("T")
State = tuple[Hashable, ...]


class StudyReader:
    """One study, opened once.

    Args:
        folder: Of the study.
        records: Of its parts.
        url: Of its storage, where parts that begin later are looked for; none are without it.
    """

    def __init__(self, folder: StudyFolder, records: Sequence[Record], url: str | None = None) -> None:
        self.folder = folder
        self._url = url
        self._records = list(records)
        self._archs: dict[str, Arch | None] = {}
        self._kept: dict[str, tuple[Hashable, Any]] = {}
        self._grown: dict[str, tuple[int, Any]] = {}
        self._state: State = self.look()

    @classmethod
    def open(cls, folder: StudyFolder, storage: str | None = None) -> StudyReader:
        """Open a study.

        Args:
            folder: Of the study.
            storage: URL of its storage, where it is not its own SQLite file.

        Raises:
            StudyError: There is no such study, or its storage cannot be opened.
        """
        if storage is None and not folder.database.exists():  # SQLite would make an empty one
            raise StudyError(f"{folder.root}: there is no such study")
        url = folder.storage_url(storage)
        return cls(folder, load_records(url, folder.name), url)

    def look(self) -> State:
        """Look at the record again, and return what changes whenever the page would.

        That is the trials that began or ended, parts, and files that were written.
        """
        self._look_for_parts()
        told = (path for path in self.folder.root.glob("*.*") if _is_told(path))
        files = tuple(sorted((path.name, path.stat().st_mtime_ns) for path in told))
        self._state = (files, *((record.part, *_counts(record.trials)) for record in self._records))
        return self._state

    def infos(self, references: References | None = None) -> list[FrontierInfo]:
        """Return the frontier over every pair of axes, over the corners of ``references`` where they are given."""
        budget = runs.budget_of(self.folder.read_config())
        corners = None if references is None else tuple(sorted(references.items()))
        return self._keep("infos", (self._state, corners), lambda: measure_views(self._trials(), budget, references))

    def read(self, references: References | None = None) -> StudyPayload:
        """Return everything the page shows of the study, as of the last look."""
        infos, trials, config = self.infos(references), self._trials(), self.folder.read_config()
        records = [record for record in self._records if record.part in PARTS]
        num_classes, files = runs.read_num_classes(records), self._state[0]
        series = [one for record in records for one in split_ways(record.part, record.trials)]
        networks = list_networks(series, infos)
        add_courses(networks, self.folder)
        grid = trials[trials.part == "scale"]
        searched = next((record.trials for record in records if record.part in ("search", "detect-scale")), [])
        return StudyPayload(
            name=self.folder.name,
            arguments=runs.study_arguments(self.folder),
            notes=runs.read_notes(self.folder),
            networks=networks,
            archs=self._describe_archs(records, num_classes),
            views=[describe_view(info, trials) for info in infos],
            importance=self._keep_long("importance", finished(searched), lambda: measure_importance(searched)),
            map=self._keep("map", (len(grid), files), lambda: sections.describe_map(self.folder, grid, num_classes)),
            curves=self._keep("curves", files, lambda: sections.describe_curves(self.folder)),
            fidelity=self._keep("fidelity", files, lambda: sections.describe_fidelity(self.folder)),
            detectors=self._keep("detectors", files, lambda: sections.describe_detectors(self.folder)),
            pictures=self._keep("pictures", files, lambda: sections.describe_pictures(self.folder)),
            parts=runs.table_parts(self._records),
            sessions=runs.table_sessions(self._records),
            machines=runs.describe_machines(self._records),
            seeds=runs.describe_seeds(records),
            config=runs.config_text(config),
            data_arguments=runs.data_arguments(config),
            num_classes=num_classes,
        )

    def _look_for_parts(self) -> None:
        if self._url is None:
            return
        names = {study.study_name for study in self._records[0].study._storage.get_all_studies()}
        if sum(name.split("/")[0] == self.folder.name for name in names) > len(self._records):
            known = {record.part for record in self._records}
            fresh = load_records(self._url, self.folder.name)
            self._records += [record for record in fresh if record.part not in known]

    def _trials(self) -> pd.DataFrame:
        return self._keep("trials", self._state, self._make_trials)

    def _make_trials(self) -> pd.DataFrame:
        frames = [frame_of(record.part, record.trials) for record in self._records if record.part in PARTS]
        if not frames:
            raise StudyError(f"study {self.folder.name} has no part that the page shows, of {', '.join(PARTS)}")
        return self._with_tables(by_way(pd.concat(frames, ignore_index=True)))

    def _with_tables(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return the trials with what was measured of their networks while nothing ran beside them."""
        trials = trials.assign(peak_memory_mib=float("nan"))
        for name in (CURVES, "family"):
            if self.folder.table(name).exists():
                table = pd.read_csv(self.folder.table(name)).drop_duplicates("arch_id").set_index("arch_id")
                for column in (each for each in _MEASURED if each in table.columns):
                    trials[column] = trials.arch_id.map(table[column]).fillna(trials[column])
        return trials

    def _describe_archs(self, records: Sequence[Record], num_classes: int | None) -> dict[str, Arch]:
        for record in records:
            for trial in record.trials:
                arch_id = trial.user_attrs.get("arch_id")
                if arch_id is not None and arch_id not in self._archs:
                    self._archs[arch_id] = describe_arch(trial.user_attrs.get("arch", {}), num_classes)
        return {arch_id: arch for arch_id, arch in self._archs.items() if arch is not None}

    def _keep(self, name: str, key: Hashable, make: Callable[[], T]) -> T:
        if name not in self._kept or self._kept[name][0] != key:
            self._kept[name] = key, make()
        kept: T = self._kept[name][1]
        return kept

    def _keep_long(self, name: str, size: int, make: Callable[[], T]) -> T:
        if name not in self._grown or size > _GROWTH * self._grown[name][0]:
            self._grown[name] = size, make()
        kept: T = self._grown[name][1]
        return kept


def _counts(trials: Sequence[FrozenTrial]) -> tuple[int, int, int]:
    """Return how many trials there are, how many have ended, and what the others have read at rungs."""
    readings = (len(trial.user_attrs.get("rung_values", ())) for trial in trials if not trial.state.is_finished())
    return len(trials), finished(trials), sum(readings)


def _is_told(path: Path) -> bool:
    """Say whether the page shows something of a file; what the report writes itself it does not read."""
    return path.suffix in (".csv", ".yaml", ".md", ".png") and path.name not in ("trials.csv", "README.md")
