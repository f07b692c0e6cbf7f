"""Weights & Biases: a run for each session of a part, all in one group; a row a trial, and its course over the steps.

Offline unless ``WANDB_MODE=online`` is set: ``wandb sync`` sends what lies in the folder. A session has a run of its
own, for a run's steps only go up, and those of a study that goes on would begin again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import wandb

from scalesearch.study.trackers.facts import TrackedTrial

_Mode = Literal["online", "offline", "disabled"]


class WandbTracker:
    """Writes a run.

    Args:
        folder: Of its files.
        project: Of W&B.
        study: Name of the study.
        part: Of the study.
    """

    def __init__(self, folder: Path, project: str, study: str, part: str) -> None:
        self._folder, self._project, self._study, self._part = folder, project, study, part
        self._run: Any = None

    def begin(self, config: Mapping[str, str]) -> None:
        """Begin the session's run, with the keys as its configuration."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self._project,
            group=f"{self._study}/{self._part}",
            job_type=self._part,
            name=f"{self._study} {self._part}",
            config=dict(config),
            dir=str(self._folder),
            mode=cast(_Mode, os.environ.get("WANDB_MODE", "offline")),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        self._run.define_metric("trial/number")
        self._run.define_metric("trial/*", step_metric="trial/number")

    def log(self, trial: TrackedTrial) -> None:
        """Write a trial's row, and its course under names of its own."""
        course = f"course-{trial.number}"
        if trial.course:
            self._run.define_metric(f"{course}/*", step_metric=f"{course}/step")
        for step, numbers in trial.course:
            self._run.log({f"{course}/step": step, **{f"{course}/{name}": number for name, number in numbers.items()}})
        row: dict[str, object] = {"number": trial.number, "state": trial.state, **trial.texts, **trial.numbers}
        row |= {f"param.{name}": value for name, value in trial.params.items()}
        self._run.log({f"trial/{name}": value for name, value in row.items()})

    def close(self) -> None:
        """End the run."""
        if self._run is not None:
            self._run.finish()
