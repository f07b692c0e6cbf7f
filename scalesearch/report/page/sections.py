"""What stands below the frontier: the map, curves, fidelity, detectors and pictures, from the study's own files."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from scalesearch.arch import ScalingFactors
from scalesearch.arch.reading import read_rule, read_rule_base
from scalesearch.detection.studies.comparing import PART as DETECT
from scalesearch.errors import ScalesearchError
from scalesearch.report.curves import curves_info
from scalesearch.report.detector_sections import DETECTOR_COLUMNS, GALLERY, class_table
from scalesearch.report.fidelity import fidelity_info
from scalesearch.report.markdown import renamed
from scalesearch.report.page.payload import Picture, Table, number, plain
from scalesearch.report.scaling_map import scaling_map_info
from scalesearch.scaling.doublings import cost_doublings
from scalesearch.scaling.evidence import fit_trainings
from scalesearch.scaling.verdict import Verdict
from scalesearch.study.folder import StudyFolder

_REFERENCE = "val_top1"  # of the fidelity table
_LARGEST_SIDE = 1600  # pixels of a picture on the page
_logger = logging.getLogger(__name__)


def describe_map(folder: StudyFolder, trials: pd.DataFrame, num_classes: int | None) -> dict[str, Any] | None:
    """Return the map of the scaling grid; None where there was none, or its rule's file was written by hand.

    Args:
        folder: Of the study: ``scaling.csv`` has the candidates, ``factors.yaml`` the base and the choice.
        trials: Of the grid.
        num_classes: Outputs of the classifier, which counts in the macs.
    """
    if trials.empty or not (folder.table("scaling").exists() and folder.factors.exists()):
        return None
    table = pd.read_csv(folder.table("scaling"))
    try:
        rule, base = read_rule(str(folder.factors)), read_rule_base(str(folder.factors))
        verdict = Verdict.load(folder.factors)
        if base is None or verdict is None:
            return None
        factors = [ScalingFactors(*row) for row in table[["alpha", "beta", "gamma"]].to_numpy(dtype=float).tolist()]
        features = cost_doublings(base, factors, rule.rounding, num_classes or 1000)
        info = scaling_map_info(
            table,
            fit_trainings(features, table.arch_id.tolist(), trials),
            base,
            target=verdict.target,
            rounding=rule.rounding,
            chosen_arch_id=_chosen(table, verdict),
            num_classes=num_classes or 1000,
        )
    except (ScalesearchError, KeyError) as error:
        _logger.warning("study %s: the page has no map (%s)", folder.name, error)
        return None
    return {**plain(asdict(info)), "sentences": verdict.sentences()}


def describe_curves(folder: StudyFolder) -> list[dict[str, Any]]:
    """Return the scaling curves over each cost they were measured in: the curves' own, or the family and its rivals."""
    path = next((each for each in (folder.table("curves"), folder.table("family")) if each.exists()), None)
    if path is None:
        return []
    table, found = pd.read_csv(path), []
    for cost in ("macs", "latency_ms", "params", "acts", "peak_memory_mib"):
        try:
            found.append(plain(asdict(curves_info(table, cost=cost))))
        except ScalesearchError:  # not measured, or a table from before it was
            continue
    return found


def describe_fidelity(folder: StudyFolder) -> dict[str, Any] | None:
    """Return how well cheap scores rank networks trained longer; None where that was not measured."""
    if not folder.table("fidelity").exists():
        return None
    table = pd.read_csv(folder.table("fidelity"))
    scores = [name for name in table.columns if f"{name}_seconds" in table.columns and name != _REFERENCE]
    try:
        return dict(plain(asdict(fidelity_info(table, scores, reference=_REFERENCE))))
    except ScalesearchError as error:
        _logger.warning("study %s: the page has no fidelity (%s)", folder.name, error)
        return None


def describe_detectors(folder: StudyFolder) -> list[Table]:
    """Return the detectors' average precisions, then those by class."""
    tables = []
    if folder.table(DETECT).exists():
        tables.append(to_table("Detectors", renamed(pd.read_csv(folder.table(DETECT)), DETECTOR_COLUMNS)))
    if folder.table(f"{DETECT}-classes").exists():
        tables.append(to_table("Average precision by class, %", class_table(folder)))
    return tables


def describe_pictures(folder: StudyFolder) -> list[Picture]:
    """Return the gallery of detections and misses, made smaller where it is large."""
    path = folder.root / f"{GALLERY}.png"
    if not path.exists():
        return []
    return [
        Picture(title="Detections and misses: the pictures of val with the most mistakes, and others", uri=_uri(path))
    ]


def to_table(title: str, frame: pd.DataFrame) -> Table:
    """Return a frame as the page shows it."""
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return Table(title=title, columns=[str(column) for column in frame.columns], rows=rows)


def _cell(value: object) -> str | float | int | None:
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str) else number(value)


def _chosen(table: pd.DataFrame, verdict: Verdict) -> str:
    chosen: Mapping[str, float] = asdict(verdict.chosen.factors)
    near = np.all([np.isclose(table[name], value) for name, value in chosen.items()], axis=0)
    return str(table.arch_id[near].iloc[0]) if near.any() else ""


def _uri(path: Path) -> str:
    with Image.open(path) as image:
        image.thumbnail((_LARGEST_SIDE, 4 * _LARGEST_SIDE))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
