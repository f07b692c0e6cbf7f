"""What a study's summary says of detectors: their frontier, their average precisions, the classes, the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scalesearch.detection.studies.comparing import PART as DETECT
from scalesearch.detection.studies.searching import PART as DETECT_SCALE
from scalesearch.report.analysis import frontier_info
from scalesearch.report.markdown import renamed, table_lines
from scalesearch.report.plot import plot_frontiers, save_figure
from scalesearch.study.folder import StudyFolder

DETECTOR_PARTS = (DETECT_SCALE, DETECT)
GALLERY = "detections"
"""Stem of the picture of detections and misses, which ``detect`` draws."""

_STEM = "detectors"
DETECTOR_COLUMNS = {
    "detector": "detector",
    "image_size": "image size",
    "params": "params",
    "macs": "macs",
    "latency_ms": "latency, ms",
    "val_ap": "AP",
    "val_ap_se": "± se",
    "val_ap50": "AP50",
    "val_ap50_se": "± se of AP50",
    "val_ap75": "AP75",
    "val_ap_small": "AP small",
    "val_ap_medium": "AP medium",
    "val_ap_large": "AP large",
    "test_ap": "test AP",
    "test_ap_se": "± se of test",
    "test_ap50": "test AP50",
    "num_seeds": "seeds",
}


def draw_detectors(
    folder: StudyFolder, trials: pd.DataFrame, formats: Sequence[str] = ("png", "svg")
) -> tuple[Path, ...]:
    """Draw the frontier of the study's detectors, AP against macs and latency."""
    title = f"What compute buys: detectors of study {folder.name}"
    detectors = _with_quiet_latencies(folder, trials[trials.part.isin(DETECTOR_PARTS)])
    by_macs, by_latency = (
        frontier_info(detectors, cost="macs", score="val_ap", title=title),
        frontier_info(detectors, cost="latency_ms", score="val_ap", title=title),
    )
    return save_figure(plot_frontiers(by_macs, by_latency), folder.root / _STEM, formats)


def _with_quiet_latencies(folder: StudyFolder, detectors: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with the latencies that were read while nothing ran beside them, where they were."""
    if not folder.table(DETECT).exists():
        return detectors
    table = pd.read_csv(folder.table(DETECT)).set_index("arch_id")
    quiet = detectors.arch_id.map(table.latency_ms)
    return detectors.assign(latency_ms=quiet.fillna(detectors.latency_ms))


def detector_sections(folder: StudyFolder) -> list[str]:
    """Return the sections on detectors; nothing where none was trained."""
    sections = []
    if (folder.root / f"{_STEM}.png").exists():
        sections += ["## Detectors", f"![AP against macs and against latency]({_STEM}.png)"]
    if folder.table(DETECT).exists():
        table = pd.read_csv(folder.table(DETECT))
        sections += [
            table_lines(renamed(table, DETECTOR_COLUMNS)),
            "AP is COCO's, the mean over overlaps of 0.50 to 0.95, on the val split; means over seeds. Latency: a pass"
            " of one image on one thread, the median, read after the trainings.",
            "### By class",
            table_lines(class_table(folder)),
        ]
    if (folder.root / f"{GALLERY}.png").exists():
        sections += [
            "### Detections and misses",
            f"![The pictures of val with the most misses and false alarms, and others]({GALLERY}.png)",
        ]
    return sections


def class_table(folder: StudyFolder) -> pd.DataFrame:
    """Return a row a detector and a column a class, average precision in percent as ``mean ± se``."""
    return _by_class(_read_classes(folder.table(f"{DETECT}-classes")))


def _read_classes(path: Path) -> pd.DataFrame:
    """Read the table of classes, whose names are texts, be they ``01`` or ``NA``."""
    texts, empty = {"detector": str, "class": str}, {"val_ap": [""], "val_ap_se": [""]}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=empty)


def _by_class(classes: pd.DataFrame) -> pd.DataFrame:
    """Return a row a detector and a column a class, ``mean ± se``."""
    cells = [
        f"{100 * ap:.1f}" + ("" if pd.isna(error) else f" ± {100 * error:.1f}") if pd.notna(ap) else ""
        for ap, error in zip(classes.val_ap, classes.val_ap_se, strict=True)
    ]
    table = classes.assign(cell=cells).pivot_table(
        index="detector", columns="class", values="cell", aggfunc="first", sort=False
    )
    return table.reset_index(allow_duplicates=True)  # a class may be called "detector"
