"""Brief training: the score, the checkpoint it belongs to, and the test split that it leaves alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, load_model

from scalesearch.arch import ArchSpec
from scalesearch.data import DataConfig, load_data
from scalesearch.errors import ConfigError, DivergenceError
from scalesearch.measure.optimisation import Optimisation
from scalesearch.measure.scores import Job, Score, Sibling, brief_score
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


class Spy:
    """Notes the generator at every step of a training: equal ones have drawn the same images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[torch.Tensor] = []
        step = Optimisation.step

        def note(optimisation: Optimisation, loss: torch.Tensor) -> float:
            self.seen.append(torch.get_rng_state())
            return step(optimisation, loss)

        monkeypatch.setattr(Optimisation, "step", note)


def test_candidates_of_one_seed_see_the_same_images_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    plain = replace(JOB, train=TrainConfig(steps=4, batch_size=22))
    other = ArchSpec.from_blocks(["ds_r1_k3_s2_c16"], stem_channels=16, head_channels=32, image_size=16, stem_stride=1)
    brief_score(plain)
    brief_score(replace(plain, arch=other))
    assert all(torch.equal(one, two) for one, two in zip(spy.seen[:4], spy.seen[4:], strict=True))


def test_a_larger_network_begins_with_its_siblings_weights(checkpoint: Path, score: Score, tmp_path: Path) -> None:
    larger = ArchSpec.from_blocks(
        ["ds_r1_k3_s2_c8", "ir_r2_k3_s1_e2_c8_se0.25"], stem_channels=8, head_channels=16, image_size=16, stem_stride=1
    )
    barely = TrainConfig(steps=1, batch_size=22, learning_rate=1e-12)
    path = tmp_path / "larger.safetensors"
    brief_score(replace(JOB, arch=larger, train=barely, sibling=Sibling(ARCH, checkpoint), checkpoint=path))
    begun, sibling = load_file(path), load_file(checkpoint)
    for name in ("conv_stem.weight", "blocks.1.0.conv_pw.weight", "classifier.weight"):
        torch.testing.assert_close(begun[name], sibling[name])
    assert begun["blocks.1.1.bn3.weight"].abs().max() < 1e-9  # the block that is more adds nothing yet


def test_a_siblings_weights_that_are_gone_are_said(tmp_path: Path) -> None:
    gone = Sibling(ARCH, tmp_path / "gone.safetensors")
    with pytest.raises(ConfigError, match=r"gone\.safetensors: the sibling's weights cannot be read"):
        brief_score(replace(JOB, sibling=gone))
