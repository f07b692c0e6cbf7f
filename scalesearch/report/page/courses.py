"""What full trainings read on search-val on their way, put where the page draws the readings at rungs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from scalesearch.report.page.payload import Network, Pair
from scalesearch.retraining.running import PART as TRAIN
from scalesearch.study.folder import StudyFolder

HISTORY = f"{TRAIN}-history"
"""Table of a study: a row a reading."""


def add_courses(networks: Sequence[Network], folder: StudyFolder) -> None:
    """Give the runs of full trainings their readings, where the study's table has them."""
    path = folder.table(HISTORY)
    if not path.exists():
        return
    courses: dict[tuple[str, str, int], list[Pair]] = {}
    for row in pd.read_csv(path).dropna(subset="val_top1").itertuples():
        key = f"{TRAIN} {row.label}", str(row.arch_id), int(str(row.seed))
        courses.setdefault(key, []).append((float(str(row.step)), float(str(row.val_top1))))
    for network in networks:
        for run in network["runs"]:
            if run["seed"] is not None:
                run["readings"] = courses.get((network["part"], network["arch_id"], run["seed"]), run["readings"])
