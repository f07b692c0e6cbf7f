"""The tables of a study's full trainings: a row a way of training, its way over the steps, its classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scalesearch.retraining.history import load_history
from scalesearch.study.folder import StudyFolder

_SCORES = ("val_top1", "val_top5", "test_top1", "test_top5")


@dataclass(frozen=True, slots=True)
class Trained:
    """What the trainings of the part say.

    Attributes:
        summary: A row a network and label: costs, mean scores over seeds with their standard errors.
        history: A row a reading: label, arch_id, seed, step and what was read.
        classes: A row a label, network and class: test images, accuracy over the seeds, what it is mostly taken for.
        confusion: A row a label, network, true class and prediction that occurred: images of the test split, summed
            over the seeds.
    """

    summary: pd.DataFrame
    history: pd.DataFrame
    classes: pd.DataFrame
    confusion: pd.DataFrame

    def by_name(self) -> dict[str, pd.DataFrame]:
        """Return the tables by the names of their files."""
        return {
            "train": self.summary,
            "train-history": self.history,
            "train-classes": self.classes,
            "train-confusion": self.confusion,
        }


def tabulate(
    folder: StudyFolder, trials: pd.DataFrame, latencies: Mapping[str, float], class_names: Sequence[str]
) -> Trained:
    """Return the tables of the complete trainings.

    Args:
        folder: Of the study; the readings of trainings whose files are elsewhere are left out.
        trials: Of the part.
        latencies: Milliseconds by ``arch_id``.
        class_names: Of the data.
    """
    complete = trials[trials.state == "COMPLETE"]
    groups = [
        (str(label), str(arch_id), rows)
        for (label, arch_id), rows in complete.groupby(["label", "arch_id"], sort=False)
    ]
    summary = [_summarise(label, rows, latencies) for label, _, rows in groups]
    history = [
        _load_history(folder, label, arch_id, int(seed)) for label, arch_id, rows in groups for seed in rows.seed
    ]
    confusions = [
        (label, arch_id, _load_confusions(folder, label, arch_id, rows.seed)) for label, arch_id, rows in groups
    ]
    return Trained(
        summary=pd.DataFrame(summary),
        history=pd.concat(history, ignore_index=True) if history else pd.DataFrame(),
        classes=pd.DataFrame([row for group in confusions for row in _class_rows(*group, class_names)]),
        confusion=pd.DataFrame([row for group in confusions for row in _confusion_rows(*group, class_names)]),
    )


def _summarise(label: str, mine: pd.DataFrame, latencies: Mapping[str, float]) -> dict[str, Any]:
    first = mine.iloc[0]
    row: dict[str, Any] = {"label": label, "image_size": int(first.image_size), "steps": int(first.steps)}
    row |= {name: int(first[name]) for name in ("params", "macs", "acts")}
    row["latency_ms"] = latencies.get(first.arch_id, float("nan"))
    for name in _SCORES:
        row |= {name: mine[name].mean(), f"{name}_se": mine[name].sem()}
    return {
        **row,
        "num_seeds": len(mine),
        "train_seconds": mine.train_seconds.mean(),
        "init": str(first.init) if first.init else "",
        "arch_id": first.arch_id,
    }


def _stem(label: str, arch_id: str, seed: int) -> str:
    return f"train-{label}-{arch_id}-seed{seed}"


def _load_history(folder: StudyFolder, label: str, arch_id: str, seed: int) -> pd.DataFrame:
    path = folder.readings / f"{_stem(label, arch_id, seed)}.csv"
    table = pd.DataFrame(load_history(path))
    if table.empty:
        return table
    table.insert(0, "seed", seed)
    table.insert(0, "arch_id", arch_id)
    table.insert(0, "label", label)
    return table


def _load_confusions(folder: StudyFolder, label: str, arch_id: str, seeds: pd.Series[int]) -> list[NDArray[np.int64]]:
    """Return the counts of each seed, as far as their files are here."""
    paths = [folder.readings / f"{_stem(label, arch_id, int(seed))}-confusion.csv" for seed in seeds]
    return [np.loadtxt(path, delimiter=",", dtype=np.int64, ndmin=2) for path in paths if path.exists()]


def _class_rows(
    label: str, arch_id: str, counts: Sequence[NDArray[np.int64]], class_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for index, name in enumerate(class_names if counts else ()):
        images = int(counts[0][index].sum())
        shares = pd.Series([each[index, index] / max(1, images) for each in counts])
        wrong = sum(counts)[index].copy()  # type: ignore[index]
        wrong[index] = 0
        worst = int(wrong.argmax())
        yield {
            "label": label,
            "class": name,
            "images": images,
            "accuracy": shares.mean() if images else float("nan"),
            "accuracy_se": shares.sem(),
            "num_seeds": len(counts),
            "taken_for": class_names[worst] if wrong[worst] else "",
            "taken_for_share": wrong[worst] / max(1, images * len(counts)),
            "arch_id": arch_id,
        }


def _confusion_rows(
    label: str, arch_id: str, counts: Sequence[NDArray[np.int64]], class_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    if not counts:
        return
    total = np.sum(counts, axis=0)
    for true, predicted in np.argwhere(total):
        yield {
            "label": label,
            "class": class_names[true],
            "predicted": class_names[predicted],
            "images": int(total[true, predicted]),
            "class_index": int(true),
            "predicted_index": int(predicted),
            "arch_id": arch_id,
        }
