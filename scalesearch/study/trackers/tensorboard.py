"""TensorBoard: a folder of events for each trial, below one for the part; ``tensorboard --logdir`` shows all of them.

A trial's folder has its hyperparameters with its numbers (the HPARAMS tab), its readings over the steps, and its texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from scalesearch.study.trackers.facts import TrackedTrial


class TensorBoardTracker:
    """Writes event files.

    Args:
        folder: Of the part.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, config: Mapping[str, str]) -> None:
        """Write the keys as a table, where an earlier session has not."""
        folder = self._folder / "config"
        if folder.exists():
            return
        lines = [f"    {key}: {value}" for key, value in config.items()]  # indented: Markdown shows it as typed
        with SummaryWriter(str(folder)) as writer:
            writer.add_text("config", "\n".join(lines))

    def log(self, trial: TrackedTrial) -> None:
        """Write a trial's folder anew: one that is there is of a process that died while it wrote."""
        folder = self._folder / f"trial-{trial.number:04d}"
        shutil.rmtree(folder, ignore_errors=True)
        writer: Any = SummaryWriter(str(folder))
        with writer:
            drawn = {**trial.params, "state": trial.state, "label": trial.texts.get("label", "")}
            for summary in hparams(drawn, dict(trial.numbers)):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary)
            for name, number in trial.numbers.items():
                writer.add_scalar(name, number, trial.number)
            for step, numbers in trial.course:
                for name, number in numbers.items():
                    writer.add_scalar(f"course/{name}", number, step)
            for name, text in {**trial.texts, "state": trial.state}.items():
                writer.add_text(name, f"    {text}")

    def close(self) -> None:
        """Do nothing: every trial's file is closed."""
