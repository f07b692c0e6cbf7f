"""The report of a study: its record in, tables and pictures out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from scalesearch.atomic import write_atomically
from scalesearch.report.analysis import SERIES_ORDER, frontier_info, scaling_info
from scalesearch.report.detector_sections import DETECTOR_PARTS, draw_detectors
from scalesearch.report.info import FrontierInfo, ScalingInfo
from scalesearch.report.page.writing import open_studies, write_report_page
from scalesearch.report.plot import plot_frontier, plot_frontiers, plot_scaling, save_figure
from scalesearch.report.summary import write_summary
from scalesearch.report.training_sections import draw_trainings
from scalesearch.report.ways import by_way
from scalesearch.retraining.running import PART as TRAIN
from scalesearch.scaling.curves import PART as CURVES
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record, load_records, write_trials

_PARAMETER = "param."


@dataclass(frozen=True, slots=True)
class Report:
    """Files that were written, and sentences that say what they show."""

    files: tuple[Path, ...]
    lines: tuple[str, ...]


def write_report(
    folder: StudyFolder,
    storage: str | None = None,
    compare: str | None = None,
    formats: Sequence[str] = ("png", "svg"),
) -> Report:
    """Write ``trials.csv``, the frontier, a grid's candidates, the study's ``README.md`` and its page ``report.html``.

    Args:
        folder: Of the study.
        storage: URL of its storage, where it is not its own SQLite file.
        compare: Another study in the same results folder: its search is drawn beside this one's, and all of it stands
            on the page.
        formats: Of the pictures; ``png`` is written too where it is not among them, for the README shows it.

    Raises:
        StudyError: A study has no record, this one no trial that was trained, or the two are the same.
    """
    formats = tuple(dict.fromkeys(("png", *formats)))
    readers = open_studies(folder, storage, compare)
    records, trials = (
        load_records(folder.storage_url(storage), folder.name),
        write_trials(folder, folder.storage_url(storage)),
    )
    # a proposal by a cheap score and the readings of fidelity are no results
    records = [record for record in records if record.part in (*SERIES_ORDER, CURVES, TRAIN, *DETECTOR_PARTS)]
    detectors = trials[trials.part.isin(DETECTOR_PARTS)]
    pictures = list(draw_detectors(folder, detectors, formats)) if (detectors.state == "COMPLETE").any() else []
    lines = _detector_lines(detectors) if pictures else []
    frontier = scaling = None
    networks = by_way(trials[trials.part.isin((*SERIES_ORDER, CURVES, TRAIN))])
    pictures += draw_trainings(folder)
    if not lines or (networks.state == "COMPLETE").any():
        drawn = networks[networks.part != CURVES]
        if drawn.empty:  # beside a family, its rivals would crowd the frontier, and they have their own picture
            drawn = networks
        if drawn.empty:  # nothing of detectors is complete either: refused with what became of them
            drawn = detectors
        beside = _other_search(folder, storage, compare)
        if beside is not None:
            records.append(beside)
            drawn = pd.concat([drawn, beside.frame()], ignore_index=True)
        frontier = frontier_info(drawn, budget=_budget_macs(folder), title=f"What compute buys: study {folder.name}")
        pictures += save_figure(_plot_networks(frontier, drawn), folder.root / "frontier", formats)
        lines = [*_frontier_lines(frontier), *lines]
    if "scale" in set(networks.part):
        scaling = grid_info(networks[networks.part == "scale"])
        pictures += save_figure(plot_scaling(scaling), folder.root / "scaling", formats)
    write_atomically(folder.readme, write_summary(folder, records, frontier, scaling))
    page = write_report_page(folder, readers)
    return Report((folder.table("trials"), *pictures, folder.readme, page), tuple(lines))


def _plot_networks(by_macs: FrontierInfo, drawn: pd.DataFrame) -> Figure:
    """Draw accuracy against macs and, unless nothing ran because it was looked up in a table, against latency."""
    if not drawn.latency_ms.notna().any():
        return plot_frontier(by_macs)
    return plot_frontiers(by_macs, frontier_info(drawn, cost="latency_ms", title=by_macs.title))


def grid_info(trials: pd.DataFrame) -> ScalingInfo:
    """Return what the trials of a scaling grid say; its factors are the trials' parameters in the record.

    A parameter that is a column of the record too, as the seed, is read from that column.

    Raises:
        StudyError: No trial is complete.
    """
    named = trials.dropna(axis="columns", how="all").rename(columns=lambda name: name.removeprefix(_PARAMETER))
    return scaling_info(named.loc[:, ~named.columns.duplicated()])  # the record's own columns come first


def _other_search(folder: StudyFolder, storage: str | None, name: str | None) -> Record | None:
    """Return another study's search as a part named after its sampler; None where it has none."""
    if name is None:
        return None
    other = StudyFolder.of(folder.root.parent, name)
    records = load_records(other.storage_url(storage), name)
    search = next((each for each in records if each.part == "search"), None)
    return None if search is None else Record(str(_settings(other).get("sampler", name)), search.study)


def _settings(folder: StudyFolder) -> dict[str, Any]:
    """Return what the study's search was told."""
    return dict(folder.read_config().get("search", {}))


def _budget_macs(folder: StudyFolder) -> float:
    return float(_settings(folder).get("budget", {}).get("macs", math.inf))


def _detector_lines(detectors: pd.DataFrame) -> list[str]:
    complete = detectors[detectors.state == "COMPLETE"].dropna(subset="val_ap").sort_values("val_ap")
    best = complete.iloc[-1]
    return [f"{len(complete)} trainings of detectors, the best with an AP of {best.val_ap:.3f} on val: {best.blocks}"]


def _frontier_lines(info: FrontierInfo) -> list[str]:
    lines = []
    for series in (each for each in info.series if each.num_networks):
        best = info.best(series.name)
        lines.append(
            f"{series.name}: {series.num_networks} networks, best {best.score:.3f} at {best.cost / 1e6:.2f} M macs,"
            f" {len(info.front(series.name))} on its front, hypervolume {series.hypervolume:,.0f}"
        )
    return lines
