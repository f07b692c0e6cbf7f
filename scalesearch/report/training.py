"""What full trainings say, as frozen values: how they went over the steps, and which classes they confuse.

Pure functions from the tables that ``scalesearch train`` writes to what ``plot_training`` draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scalesearch.errors import StudyError

Line = tuple[tuple[float, float], ...]
"""(step, value), in rising steps."""


@dataclass(frozen=True)
class CourseInfo:
    """How one network was trained in one way: the mean over seeds at each step, and every seed's own line."""

    name: str
    loss: Line
    val_top1: Line
    loss_of_seeds: tuple[Line, ...]
    val_top1_of_seeds: tuple[Line, ...]


@dataclass(frozen=True)
class CoursesInfo:
    """All courses of a study, in the order of its table."""

    courses: tuple[CourseInfo, ...]
    title: str


@dataclass(frozen=True)
class ConfusionInfo:
    """What the images of each class are taken for, on the test split, over all seeds.

    Attributes:
        class_names: In the order of the data.
        shares: Of a true class's images (row) that are taken for a class (column), in [0, 1]; NaN without an image.
        num_images: Of each class, summed over the seeds.
        top1: Share of all images that are right.
        title: What the picture shows.
    """

    class_names: tuple[str, ...]
    shares: NDArray[np.float64]
    num_images: tuple[int, ...]
    top1: float
    title: str

    def mistakes(self, most: int) -> list[tuple[str, str, float]]:
        """Return the confusions with the highest shares: the class, what it is taken for, and the share."""
        wrong = np.nan_to_num(self.shares.copy())
        np.fill_diagonal(wrong, 0.0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        places = [(int(place) // len(wrong), int(place) % len(wrong)) for place in order]
        return [
            (self.class_names[true], self.class_names[predicted], float(wrong[true, predicted]))
            for true, predicted in places
            if wrong[true, predicted] > 0
        ]


def courses_info(history: pd.DataFrame, summary: pd.DataFrame, *, title: str = "") -> CoursesInfo:
    """Return how every training went.

    Args:
        history: A row a reading, with label, arch_id, seed and step.
        summary: A row a network and label.
        title: What the picture shows; empty for a plain description.

    Raises:
        StudyError: There is no reading.
    """
    if history.empty:
        raise StudyError("the trainings left no readings to draw")
    courses = []
    for row in summary.itertuples():
        mine = history[(history.label == row.label) & (history.arch_id == row.arch_id)]
        if len(mine):
            courses.append(_course(course_name(summary, str(row.label), str(row.arch_id)), mine))
    return CoursesInfo(tuple(courses), title or "Full trainings: loss and search-val top-1 over the steps")


def course_name(summary: pd.DataFrame, label: str, arch_id: str) -> str:
    """Return what a reader knows a row by: its label, and its macs where several networks have the label."""
    of_label = summary[summary.label == label]
    if len(of_label) == 1:
        return label
    macs = float(of_label[of_label.arch_id == arch_id].macs.iloc[0])
    return f"{label}, {macs / 1e6:.3g} M macs"


def confusion_info(confusion: pd.DataFrame, classes: pd.DataFrame, *, title: str = "") -> ConfusionInfo:
    """Return what one network, trained in one way, confuses.

    Args:
        confusion: Its rows of ``train-confusion.csv``.
        classes: Its rows of ``train-classes.csv``, one a class in the order of the data.
        title: What the picture shows; empty for a plain description.
    """
    counts = np.zeros((len(classes), len(classes)))
    counts[confusion.class_index.to_numpy(), confusion.predicted_index.to_numpy()] = confusion.images.to_numpy()
    images = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        shares = counts / images[:, None]
    return ConfusionInfo(
        class_names=tuple(map(str, classes["class"])),
        shares=shares,
        num_images=tuple(int(number) for number in images),
        top1=float(np.trace(counts) / max(1.0, images.sum())),
        title=title or "What the images of each class are taken for, on test",
    )


def _course(name: str, mine: pd.DataFrame) -> CourseInfo:
    seeds = [rows.sort_values("step") for _, rows in mine.groupby("seed")]
    means = mine.groupby("step")[["loss", "val_top1"]].mean().reset_index()
    return CourseInfo(
        name=name,
        loss=_line(means, "loss"),
        val_top1=_line(means, "val_top1"),
        loss_of_seeds=_lines(seeds, "loss"),
        val_top1_of_seeds=_lines(seeds, "val_top1"),
    )


def _lines(tables: Sequence[pd.DataFrame], column: str) -> tuple[Line, ...]:
    return tuple(_line(table, column) for table in tables)


def _line(table: pd.DataFrame, column: str) -> Line:
    return tuple((float(step), float(value)) for step, value in zip(table.step, table[column], strict=True))
