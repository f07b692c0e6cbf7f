"""Full trainings end to end: what is written, ways beside each other, resumed and shared trainings."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from scalesearch.arch import ArchSpec
from scalesearch.data import DataConfig
from scalesearch.errors import ConfigError, DivergenceError, StudyError
from scalesearch.measure.training import TrainConfig
from scalesearch.report.studies import write_report
from scalesearch.retraining import RetrainConfig, RetrainResult, run_train
from scalesearch.study.executors import Executor, InlineExecutor

BLOCKS = "ir_r1_k3_s2_e2_c8"
DATA = DataConfig(patches_per_class=4, eval_patches_per_class=2, stored_size=16)
TRAINING = TrainConfig(steps=6, batch_size=22, ema_decay=0.9, dropout=0.1)
KEYS = [
    "train", "study=mine", f"arch={BLOCKS}", "image_size=16", "seeds=1", "evaluate_every=2", "device=cpu", "workers=1",
    "threads=1", "data.patches_per_class=4", "data.eval_patches_per_class=2", "data.stored_size=16",
    "train.batch_size=22", "train.ema_decay=0.9", "train.dropout=0.1", "train.label_smoothing=0",
]  # fmt: skip


class HereConfig(RetrainConfig):
    """Trains in this process: a process a training costs more than these do."""

    __slots__ = ()

    def build_executor(self, run: Any, data: object) -> Executor:
        return InlineExecutor(run)


def retrain(folder: Path, **changes: Any) -> RetrainResult:
    keys = {"study": "mine", "results": str(folder), "arch": BLOCKS, "image_size": 16, "seeds": 2, "evaluate_every": 2}
    keys |= {"device": "cpu", "data": DATA, "train": TRAINING, "snapshot_seconds": float("inf")}
    result = run_train(HereConfig(**{**keys, **changes}))
    assert result is not None
    return result


def test_a_training_leaves_tables_whose_numbers_agree(tmp_path: Path) -> None:
    result = retrain(tmp_path)
    folder = tmp_path / "mine"
    (row,) = result.tables.summary.to_dict("records")
    trials = pd.read_csv(folder / "trials.csv")
    assert (row["label"], row["num_seeds"], row["steps"]) == ("scratch", 2, 6)
    assert row["test_top1"] == pytest.approx(trials.test_top1.mean())
    assert row["test_top1_se"] == pytest.approx(trials.test_top1.sem())
    history = pd.read_csv(folder / "train-history.csv")
    assert history.groupby("seed").step.apply(list).tolist() == [[2, 4, 6], [2, 4, 6]]
    assert history[history.step == 6].val_top1.tolist() == trials.val_top1.tolist()
    confusion, classes = (pd.read_csv(folder / f"train-{name}.csv") for name in ("confusion", "classes"))
    right = confusion[confusion.class_index == confusion.predicted_index].images.sum() / confusion.images.sum()
    assert right == pytest.approx(row["test_top1"])
    assert classes.accuracy.mean() == pytest.approx(row["test_top1"])  # as many images of each class
    assert classes.images.tolist() == [2] * 11
    assert result.checkpoint is not None
    assert result.checkpoint.exists()


def test_two_ways_stand_beside_each_other_in_table_and_report(tmp_path: Path) -> None:
    first = retrain(tmp_path, study="other").checkpoint
    retrain(tmp_path)
    result = retrain(tmp_path, init=str(first), init_keeps="features")
    assert result.tables.summary.label.tolist() == ["scratch", "finetuned"]
    assert result.init.startswith("loaded ")
    assert "left fresh 2 (classifier)" in result.init
    report = write_report(HereConfig(study="mine", results=str(tmp_path)).folder)
    assert any(line.startswith("train finetuned: ") for line in report.lines)
    readme = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "| scratch | 16 |" in readme
    assert "finetuned began with weights of another training: loaded" in readme
    assert "### Accuracy by class, on test" in readme
    pictures = {path.name for path in report.files if path.suffix == ".svg"}
    assert {"train-curves.svg", "frontier.svg"} < pictures
    assert sum(name.endswith("-confusion.svg") for name in pictures) == 2


def test_a_label_stands_for_one_recipe(tmp_path: Path) -> None:
    retrain(tmp_path, seeds=1)
    with pytest.raises(StudyError, match=r"label scratch was begun with train\.steps 6, got 8; give another label="):
        retrain(tmp_path, seeds=1, train=TrainConfig(steps=8, batch_size=22, ema_decay=0.9, dropout=0.1))
    table = retrain(tmp_path, seeds=1, train=TrainConfig(steps=8, batch_size=22), label="longer").tables.summary
    assert table.steps.tolist() == [6, 8]


def test_the_same_command_trains_nothing_again(tmp_path: Path) -> None:
    retrain(tmp_path)
    before = pd.read_csv(tmp_path / "mine" / "trials.csv")
    retrain(tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "mine" / "trials.csv"), before)


def test_weights_that_do_not_fit_are_refused_before_anything_is_begun(tmp_path: Path) -> None:
    torch.save({"conv_stem.weight": torch.zeros(5, 3, 3, 3)}, tmp_path / "alien.pt")
    with pytest.raises(ConfigError, match=r"alien\.pt: weights of a network .* \(conv_stem\.weight must be"):
        retrain(tmp_path, init=str(tmp_path / "alien.pt"))
    assert not (tmp_path / "mine" / "config.yaml").exists()


def test_the_base_of_a_study_is_trained_where_no_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"base\.yaml: the study has no base network; give arch="):
        retrain(tmp_path, arch=None)
    arch = ArchSpec.from_blocks([BLOCKS], image_size=16)
    (tmp_path / "found").mkdir()
    arch.save(tmp_path / "found" / "base.yaml")
    result = retrain(tmp_path, arch=None, image_size=None, from_study="found", seeds=1)
    assert result.tables.summary.arch_id.tolist() == [arch.arch_id]
    with pytest.raises(StudyError, match="there is no record to read member='phi=1' from"):
        retrain(tmp_path, arch=None, from_study="found", member="phi=1")


def start(folder: Path, *keys: str, command: tuple[str, ...] = (sys.executable,)) -> subprocess.Popen[str]:
    arguments = [*command, "-m", "scalesearch", *KEYS, f"results={folder}", *keys]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(folder: Path, *keys: str, command: tuple[str, ...] = (sys.executable,)) -> str:
    process = start(folder, *keys, command=command)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = (folder / "mine" / "checkpoints").glob("*.safetensors")
    return load_file(path)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_killed_training_ends_as_one_that_never_was(tmp_path: Path, one_thread: None) -> None:
    process = start(tmp_path / "killed", "train.steps=30", "snapshot_seconds=0")
    snapshots = tmp_path / "killed" / "mine" / "checkpoints"
    while process.poll() is None and not list(snapshots.glob("*.snapshot")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(snapshots.glob("*.snapshot")), "it ended first"
    for name in ("killed", "whole"):  # in this process, with the one thread that the killed one had
        retrain(tmp_path / name, seeds=1, train=replace(TRAINING, steps=30), snapshot_seconds=0.0)
    killed, whole = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(killed[name], whole[name]) for name in whole)
    histories = [(tmp_path / name / "mine" / "train-history.csv").read_text() for name in ("killed", "whole")]
    assert histories[0] == histories[1]


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.mark.slow
def test_two_processes_train_one_network_and_one_of_them_speaks(tmp_path: Path) -> None:
    said = finish(tmp_path, "train.steps=6", command=TORCHRUN)
    assert said.count("Full trainings") == 1
    table = pd.read_csv(tmp_path / "mine" / "train.csv")
    assert table.num_seeds.tolist() == [1]
    confusion = pd.read_csv(tmp_path / "mine" / "train-confusion.csv")
    assert confusion.images.sum() == 22  # every image once, though shared
    assert pd.read_csv(tmp_path / "mine" / "train-history.csv").step.tolist() == [2, 4, 6]


def test_batches_that_two_processes_cannot_share_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesearch.retraining.running.num_processes", lambda: 4)
    with pytest.raises(ConfigError, match="must be a multiple of the 4 processes, got 22 images a step"):
        retrain(tmp_path)


def test_a_loss_that_is_not_finite_ends_its_training(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"the loss was (nan|inf) at step"):
        retrain(tmp_path, train=TrainConfig(steps=6, batch_size=22, learning_rate=1e30, optimizer="sgd"))
