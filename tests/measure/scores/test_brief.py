"""Brief training: the score, the checkpoint it belongs to, and the test split that it leaves alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model

from scalesearch.arch import ArchSpec
from scalesearch.data import DataConfig, load_data
from scalesearch.errors import DivergenceError
from scalesearch.measure.scores import Job, Score, brief_score
from scalesearch.measure.training import TrainConfig, evaluate
from scalesearch.nn import build_network

ARCH = ArchSpec.from_blocks(
    ["ds_r1_k3_s2_c8", "ir_r1_k3_s1_e2_c8_se0.25"], stem_channels=8, head_channels=16, image_size=16, stem_stride=1
)
JOB = Job(
    arch=ARCH,
    seed=3,
    data=DataConfig(patches_per_class=4, eval_patches_per_class=3, stored_size=16),
    train=TrainConfig(steps=4, batch_size=22, dropout=0.1, ema_decay=0.9),
)


class Judge:
    """Follows a scoring and stops it at the rung ``last``."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.steps: list[int] = []
        self.readings: list[tuple[int, int, float]] = []

    def __call__(self, steps: int, num_steps: int) -> None:
        self.steps.append(steps)

    def reached(self, rung: int, steps: int, val_top1: float) -> bool:
        self.readings.append((rung, steps, val_top1))
        return rung != self.last


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scores") / "new" / "net.safetensors"


@pytest.fixture(scope="module")
def score(checkpoint: Path) -> Score:
    return brief_score(replace(JOB, checkpoint=checkpoint, reads_test=True))


def test_the_checkpoint_loads_strictly_and_has_the_accuracy_that_was_told(score: Score, checkpoint: Path) -> None:
    data = load_data(JOB.data)
    network = build_network(ARCH, data.num_classes)
    assert load_model(network, checkpoint, strict=True) == (set(), [])
    val = evaluate(network, data.val, image_size=16)
    assert (val.top1, val.loss) == (score.val_top1, pytest.approx(score.val_loss, rel=1e-5))
    assert evaluate(network, data.test, image_size=16).top1 == score.test_top1


def test_what_was_measured_is_a_plain_number(score: Score) -> None:
    measured = score.to_dict()
    assert set(measured) == {
        "val_top1",
        "val_loss",
        "test_top1",
        "latency_ms",
        "latency_p90_ms",
        "train_seconds",
        "eval_seconds",
        "steps",
    }
    assert measured["steps"] == 4
    assert measured["latency_ms"] > 0
    assert measured["train_seconds"] > 0


def test_a_job_that_does_not_read_test_has_no_test_accuracy_and_the_same_network(score: Score) -> None:
    unread = brief_score(JOB)
    assert math.isnan(unread.test_top1)
    assert "test_top1" not in unread.to_dict()
    assert (unread.val_top1, unread.val_loss) == (score.val_top1, score.val_loss)


def test_a_score_without_a_checkpoint_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    brief_score(JOB)
    assert list(tmp_path.iterdir()) == []


def test_another_seed_is_another_score_and_the_callers_random_state_does_not_matter(score: Score) -> None:
    torch.manual_seed(99)
    assert brief_score(JOB).val_loss == score.val_loss
    assert brief_score(replace(JOB, seed=4)).val_loss != score.val_loss


def test_images_from_the_cache_give_the_same_score(score: Score, tmp_path: Path) -> None:
    first, again = (brief_score(replace(JOB, cache=tmp_path)) for _ in range(2))
    assert (first.val_loss, again.val_loss) == (score.val_loss, score.val_loss)


def test_a_diverged_training_is_no_score_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    hopeless = replace(JOB.train, learning_rate=1e30, warmup=0.0)
    with pytest.raises(DivergenceError, match=r"^the loss was"):
        brief_score(replace(JOB, train=hopeless, checkpoint=tmp_path / "net.safetensors"))
    assert list(tmp_path.iterdir()) == []


def test_a_candidate_that_passes_its_rungs_has_the_score_of_one_without(score: Score) -> None:
    judge = Judge()
    passed = brief_score(replace(JOB, rungs=(1, 3)), judge)
    assert (passed.val_top1, passed.val_loss, passed.steps) == (score.val_top1, score.val_loss, 4)
    assert not passed.stopped
    assert [(rung, steps) for rung, steps, _ in judge.readings] == [(0, 1), (1, 3)]
    assert judge.steps == [1, 2, 3, 4]


def test_a_candidate_that_is_stopped_has_what_it_read_there_and_no_checkpoint(tmp_path: Path) -> None:
    judge = Judge(last=1)
    stopped = brief_score(
        replace(JOB, rungs=(1, 2, 3), checkpoint=tmp_path / "net.safetensors", reads_test=True), judge
    )
    assert stopped.stopped
    assert stopped.steps == 2
    assert judge.readings[-1] == (1, 2, stopped.val_top1)
    assert math.isfinite(stopped.val_loss)
    assert math.isnan(stopped.test_top1)
    assert list(tmp_path.iterdir()) == []
    assert "stopped" not in stopped.to_dict()


def test_without_anybody_to_ask_the_rungs_are_passed(score: Score) -> None:
    assert brief_score(replace(JOB, rungs=(1, 3))).val_loss == score.val_loss
