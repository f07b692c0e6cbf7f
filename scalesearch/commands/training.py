"""The verb that trains one network to its end."""

from __future__ import annotations

from pathlib import Path

from scalesearch.console import print_frame, say, say_written
from scalesearch.report.training_sections import draw_trainings
from scalesearch.retraining import RetrainConfig, run_train


def train(config: RetrainConfig) -> None:
    """Train one network on the full schedule with several seeds, and score it on the test split."""
    result = run_train(config)
    if result is None:  # another of torchrun's processes says it
        return
    if result.init:
        say(f"Weights of {config.init}: {result.init}.")
    columns = ["label", "image_size", "params", "macs", "steps", "latency_ms", "val_top1", "val_top1_se"]
    columns += ["test_top1", "test_top1_se", "test_top5", "num_seeds"]
    print_frame(result.tables.summary[columns], "Full trainings")
    written: list[Path] = [config.folder.table(name) for name in result.tables.by_name()]
    if result.checkpoint is not None:
        written.append(result.checkpoint)
    say_written(*written, *draw_trainings(config.folder))
