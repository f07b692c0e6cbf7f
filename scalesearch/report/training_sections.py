"""What a study's summary says of its full trainings: the ways side by side, their courses, their classes."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from scalesearch.report.markdown import plain_text, renamed, table_lines
from scalesearch.report.plot import save_figure
from scalesearch.report.plot_training import plot_confusion, plot_courses
from scalesearch.report.training import confusion_info, course_name, courses_info
from scalesearch.study.folder import StudyFolder

PART = "train"

_COURSES = "train-curves"
_COLUMNS = {
    "label": "label",
    "image_size": "image size",
    "params": "params",
    "macs": "macs",
    "steps": "steps",
    "latency_ms": "latency, ms",
    "val_top1": "search-val top-1",
    "val_top1_se": "± se",
    "test_top1": "test top-1",
    "test_top1_se": "± se of test",
    "test_top5": "test top-5",
    "test_top5_se": "± se of top-5",
    "num_seeds": "seeds",
    "train_seconds": "training, s",
}
_TEXTS = {"label": str, "class": str, "predicted": str, "taken_for": str, "init": str, "arch_id": str}


def draw_trainings(folder: StudyFolder) -> tuple[Path, ...]:
    """Draw the courses of all full trainings, and the confusions of each network and label; nothing where none ran."""
    if not folder.table(PART).exists():
        return ()
    summary, history, classes, confusion = (_read(folder, name) for name in ("", "history", "classes", "confusion"))
    pictures: list[Path] = []
    if not history.empty:
        info = courses_info(history, summary, title=f"Full trainings of study {folder.name}")
        pictures += save_figure(plot_courses(info), folder.root / _COURSES)
    for label, arch_id in zip(summary.label, summary.arch_id, strict=True):
        mine = classes[(classes.label == label) & (classes.arch_id == arch_id)]
        if len(mine):
            counted = confusion[(confusion.label == label) & (confusion.arch_id == arch_id)]
            title = f"Confusions on test: {course_name(summary, label, arch_id)}"
            stem = folder.root / _confusion_stem(label, arch_id)
            pictures += save_figure(plot_confusion(confusion_info(counted, mine, title=title)), stem)
    return tuple(pictures)


def training_sections(folder: StudyFolder) -> list[str]:
    """Return the sections on full trainings; nothing where none ran."""
    if not folder.table(PART).exists():
        return []
    summary, classes = _read(folder, ""), _read(folder, "classes")
    sections = ["## Full trainings", table_lines(renamed(summary, _COLUMNS))]
    sections += [
        f"{plain_text(row.label)} began with weights of another training: {plain_text(row.init)}."
        for row in summary.itertuples()
        if isinstance(row.init, str) and row.init
    ]
    if (folder.root / f"{_COURSES}.png").exists():
        sections.append(f"![Loss and search-val top-1 over the steps]({_COURSES}.png)")
    if not classes.empty:
        sections += ["### Accuracy by class, on test", table_lines(_by_class(classes, summary))]
    for label, arch_id in zip(summary.label, summary.arch_id, strict=True):
        stem = _confusion_stem(label, arch_id)
        if (folder.root / f"{stem}.png").exists():
            sections.append(f"![Confusions on test: {course_name(summary, label, arch_id)}]({stem}.png)")
    return sections


def _confusion_stem(label: str, arch_id: str) -> str:
    return f"train-{label}-{arch_id}-confusion"


def _read(folder: StudyFolder, name: str) -> pd.DataFrame:
    """Read a table, whose texts are texts, be they ``01`` or ``NA``; an empty one where it holds nothing."""
    path = folder.table(f"{PART}-{name}" if name else PART)
    if not path.exists() or not path.read_text(encoding="utf-8").strip():
        return pd.DataFrame()
    table = pd.read_csv(path, dtype=_TEXTS, keep_default_na=False, na_values={})
    return table.assign(**{column: pd.to_numeric(table[column]) for column in table.columns if column not in _TEXTS})


def _by_class(classes: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return a row a class: images, and for each way its accuracy, ``mean ± se``, and what it is mostly taken for."""
    first = classes[(classes.label == classes.label.iloc[0]) & (classes.arch_id == classes.arch_id.iloc[0])]
    columns: list[tuple[str, list[object]]] = [("class", list(first["class"])), ("images", list(first.images))]
    for label, arch_id in zip(summary.label, summary.arch_id, strict=True):
        mine = classes[(classes.label == label) & (classes.arch_id == arch_id)]
        if len(mine) == len(first):
            name = course_name(summary, label, arch_id)
            columns.append((f"{name}, %", [_cell(row.accuracy, row.accuracy_se) for row in mine.itertuples()]))
            columns.append(("mostly taken for", [row.taken_for for row in mine.itertuples()]))
    table = pd.DataFrame(dict(enumerate(values for _, values in columns)))
    return table.set_axis([name for name, _ in columns], axis="columns")


def _cell(accuracy: float, error: float) -> str:
    if math.isnan(accuracy):
        return ""
    return f"{100 * accuracy:.1f}" + ("" if math.isnan(error) else f" ± {100 * error:.1f}")
