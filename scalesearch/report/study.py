"""A study as a value, for a notebook: its trials, its frontier, its networks. It reads and never writes."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from scalesearch.arch import ArchSpec
from scalesearch.errors import StudyError, shown
from scalesearch.report.analysis import SERIES_ORDER, frontier_info
from scalesearch.report.detector_sections import DETECTOR_PARTS
from scalesearch.report.info import CostName, FrontierInfo, FrontierPoint, ScoreName
from scalesearch.report.plot import plot_frontier, svg_text
from scalesearch.report.ways import by_way
from scalesearch.retraining.running import PART as TRAIN
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import load_records


@dataclass(frozen=True, slots=True)
class Study:
    """A study that was begun, as its record says at the moment one asks; a notebook shows it as its frontier.

    A study whose database is not there, as one of ``results/`` that was committed without it, is read from the
    ``trials.csv`` of its last report.

    Args:
        name: Of the study.
        results: Folder that holds studies.
        storage: URL of the study's storage, where it is not its own SQLite file.

    Raises:
        StudyError: There is no such study.
    """

    name: str
    results: str | Path = "results"
    storage: str | None = None

    def __post_init__(self) -> None:
        if not self._has_record and not self.folder.table("trials").exists():
            raise StudyError(f"{self.folder.root}: there is no such study")

    @property
    def folder(self) -> StudyFolder:
        """Where it is kept, and what lies there."""
        return StudyFolder.of(self.results, self.name)

    @property
    def config(self) -> dict[str, Any]:
        """What each of its parts was told, in plain values."""
        return self.folder.read_config()

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial of every part: state, network, costs, scores, parameters."""
        if not self._has_record:
            return pd.read_csv(self.folder.table("trials"))
        records = load_records(self.folder.storage_url(self.storage), self.name)
        return pd.concat([record.frame() for record in records], ignore_index=True)

    def frontier(self, cost: CostName = "macs", score: ScoreName | None = None) -> FrontierInfo:
        """Return its networks, or where it has none its detectors, with the front of each part.

        Args:
            cost: On the cost axis.
            score: On the score axis; by default accuracy, or AP of detectors, on the search-val split.

        Raises:
            StudyError: Nothing is complete, or nothing complete has this cost and score.
        """
        trials, parts = self.trials, (*SERIES_ORDER, TRAIN)
        networks, detectors = by_way(trials[trials.part.isin(parts)]), trials[trials.part.isin(DETECTOR_PARTS)]
        has_networks = (networks.state == "COMPLETE").any() or detectors.empty
        return frontier_info(
            networks if has_networks else detectors,
            cost=cost,
            score=score or ("val_top1" if has_networks else "val_ap"),
            budget=self._budget_macs() if cost == "macs" else math.inf,
            title=f"Study {self.name}",
        )

    @property
    def best(self) -> FrontierPoint:
        """The network or detector with the highest score on search-val, whatever it costs."""
        return max(self.frontier().points, key=lambda point: point.score)

    def arch(self, arch_id: str | None = None) -> ArchSpec:
        """Return a network of the study.

        Args:
            arch_id: Its ``arch_id``, as the trials and the points of the frontier have it; the base where not given.

        Raises:
            StudyError: The study has none of that name, or only its database would know it.
        """
        base = ArchSpec.load(self.folder.base) if self.folder.base.exists() else None
        if base is not None and arch_id in (None, base.arch_id):
            return base
        if arch_id is None:
            raise StudyError(f"{self.folder.base}: the study has no base network; give an arch_id")
        if not self._has_record:
            raise StudyError(f"{self.folder.root}: without its database only its base is known, got {shown(arch_id)}")
        for record in load_records(self.folder.storage_url(self.storage), self.name):
            for trial in record.trials:
                if trial.user_attrs.get("arch_id") == arch_id and record.part not in DETECTOR_PARTS:
                    return ArchSpec.from_dict(trial.user_attrs["arch"])
        raise StudyError(f"study {self.name} has no network {shown(arch_id)}")

    @property
    def _has_record(self) -> bool:
        return self.storage is not None or self.folder.database.exists()

    def _budget_macs(self) -> float:
        return float(self.config.get("search", {}).get("budget", {}).get("macs", math.inf))

    def _summary(self) -> str:
        """Return its parts with their trials by state, in a line."""
        parts = []
        for part, trials in self.trials.groupby("part", sort=False):
            states = ", ".join(f"{count} {str(state).lower()}" for state, count in trials.state.value_counts().items())
            parts.append(f"{part}: {states}")
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        """Return its frontier as a picture with a line below; only the line while nothing is complete."""
        line = f"<p><b>{html.escape(self.name)}</b> {html.escape(self._summary())}</p>"
        try:
            info = self.frontier()
        except StudyError as error:
            return f"{line}<p>{html.escape(str(error))}</p>"
        return f"{svg_text(plot_frontier(info), salt=self.name)}{line}"
