"""The supernet's training learns and resumes, and what it scores is what a network with its weights reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, load_model
from torch import Tensor

from scalesearch.arch import ArchSpec
from scalesearch.arch.space import SearchSpace
from scalesearch.data import Augmentation, DataConfig, ImageData, load_data
from scalesearch.data.loading import choose_images, open_source
from scalesearch.data.stream import StreamSplit
from scalesearch.data.transforms import Normalisation
from scalesearch.errors import ConfigError, DivergenceError, SpaceError
from scalesearch.measure.scores import Job, ScoreConfig, SupernetConfig
from scalesearch.measure.scores.supernet import checkpoint as checkpoints
from scalesearch.measure.scores.supernet import score as scores
from scalesearch.measure.scores.supernet import supernet_score, train_supernet, training
from scalesearch.measure.scores.supernet.score import estimate_batch_norm
from scalesearch.measure.training import TrainConfig, evaluate
from scalesearch.nn import build_network
from scalesearch.nn.elastic import largest_arch, smallest_arch

SPACE = SearchSpace.from_dict(
    "tiny",
    {
        "image_size": [12, 16],
        "stem_channels": 8,
        "stem_stride": 1,
        "head_channels": [16, 32],
        "stages": [
            {"block": ["ds", "cn"], "kernel_size": [3, 5], "stride": 2, "out_channels": [8, 16]},
            {
                "block": "ir",
                "kernel_size": 3,
                "stride": 2,
                "expand_ratio": [1, 2],
                "out_channels": 16,
                "se_ratio": [0, 0.25],
            },
        ],
    },
)
ARCH = ArchSpec.from_blocks(
    ["cn_r1_k3_s2_c8_skip", "ir_r1_k3_s2_e2_c16_se0.25"],
    stem_channels=8,
    head_channels=16,
    image_size=16,
    stem_stride=1,
)
DATA = DataConfig(patches_per_class=4, eval_patches_per_class=3, stored_size=16)
# 44 images: passes of four steps
TRAIN = TrainConfig(batch_size=11, learning_rate=5e-3, dropout=0.1, drop_path=0.1, label_smoothing=0.1, clip_norm=5.0)
CONFIG = SupernetConfig(steps=7, save_every=3, batch_norm_images=44)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(DATA)


@pytest.fixture(scope="module")
def trained(data: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("supernet") / "new" / "tiny.safetensors"
    train_supernet(SPACE, data, TRAIN, replace(CONFIG, steps=40), path, seed=0)
    return path


def job_of(path: Path, **changes: Any) -> Job:
    score = ScoreConfig(method="supernet", supernet=replace(CONFIG, path=str(path)))
    return replace(Job(arch=ARCH, seed=0, data=DATA, train=TRAIN, score=score), **changes)


def stop_after(last: int) -> Callable[[int, int], None]:
    def on_step(step: int, num_steps: int) -> None:
        if step == last:
            raise KeyboardInterrupt

    return on_step


def stream(data: ImageData) -> ImageData:
    """Return the same data, decoded while they are read."""
    train = choose_images(open_source(DATA), DATA)["train"]
    normalisation = Normalisation(data.mean, data.std)
    return replace(data, train=StreamSplit(train, normalisation, data.num_classes, 0, 0.0))


@pytest.mark.parametrize(
    ("train", "config", "streams"),
    [
        (TRAIN, CONFIG, False),
        (TRAIN, CONFIG, True),
        (replace(TRAIN, optimizer="rmsprop"), replace(CONFIG, sampling="uniform"), False),
        (
            replace(TRAIN, optimizer="sgd", augmentation=Augmentation(mixup_alpha=0.2, min_crop_area=0.5)),
            replace(CONFIG, distillation=False),
            False,
        ),
    ],
    ids=["sandwich", "stream", "uniform", "mixup"],
)
def test_an_interrupted_training_ends_as_one_that_was_not(
    train: TrainConfig, config: SupernetConfig, streams: bool, data: ImageData, tmp_path: Path
) -> None:
    images = stream(data) if streams else data
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    told: list[int] = []
    train_supernet(SPACE, images, train, config, whole, seed=1)
    with pytest.raises(KeyboardInterrupt):
        train_supernet(SPACE, images, train, config, broken, seed=1, on_step=stop_after(5))
    torch.manual_seed(99)
    train_supernet(SPACE, images, train, config, broken, seed=1, on_step=lambda step, _: told.append(step))
    assert told == [4, 5, 6, 7]
    expected, got = load_file(whole), load_file(broken)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_another_seed_gives_other_weights(data: ImageData, tmp_path: Path) -> None:
    for seed in (1, 2):
        train_supernet(SPACE, data, TRAIN, replace(CONFIG, steps=1), tmp_path / f"{seed}.safetensors", seed=seed)
    one, other = (load_file(tmp_path / f"{seed}.safetensors") for seed in (1, 2))
    assert not torch.equal(one["weights.conv_stem.weight"], other["weights.conv_stem.weight"])


@pytest.mark.parametrize("sampling", ["sandwich", "uniform"])
def test_all_networks_learn(sampling: str, data: ImageData, tmp_path: Path) -> None:
    path, config = tmp_path / "tiny.safetensors", replace(CONFIG, steps=60, sampling=sampling)
    plain = TrainConfig(batch_size=22, learning_rate=0.02, augmentation=Augmentation(crop_padding=0.0, flip=False))
    train_supernet(SPACE, data, plain, config, path, seed=0)
    supernet, _ = checkpoints.load_supernet(path)
    images, targets = next(
        data.train.batches(batch_size=44, image_size=16, augmentation=None, shuffle=False, drop_last=False)
    )
    for arch in (largest_arch(SPACE), smallest_arch(SPACE), ARCH):
        with torch.no_grad():
            loss = F.cross_entropy(supernet(training.fit_size(images, arch.image_size), arch), targets)
        assert loss < 2.0  # by chance: log(11) = 2.4


@pytest.mark.parametrize("distillation", [True, False])
def test_in_a_sandwich_the_smaller_networks_learn_from_the_largest_where_they_are_told_to(
    distillation: bool, data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor, float]] = []

    def spy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        seen.append((logits.detach(), targets, label_smoothing))
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    monkeypatch.setattr(training, "F", type("Spied", (), {"cross_entropy": spy, "interpolate": F.interpolate}))
    config = replace(CONFIG, steps=1, distillation=distillation)
    train_supernet(SPACE, data, TRAIN, config, tmp_path / "tiny.safetensors", seed=0)
    (logits, labels, smoothing), *others = seen
    assert (labels.dtype, smoothing, len(others)) == (torch.int64, TRAIN.label_smoothing, 3)
    for _, targets, smoothing in others:
        assert not targets.requires_grad
        assert torch.equal(targets, logits.softmax(1) if distillation else labels)
        assert smoothing == (0.0 if distillation else TRAIN.label_smoothing)


def test_a_finished_training_takes_no_step_and_its_file_holds_the_weights_alone(trained: Path, data: ImageData) -> None:
    before = trained.read_bytes()
    assert {name.split(".")[0] for name in load_file(trained)} == {"weights"}
    train_supernet(SPACE, data, TRAIN, replace(CONFIG, steps=40), trained, seed=0, on_step=stop_after(1))
    assert trained.read_bytes() == before
    assert [file.name for file in trained.parent.iterdir()] == [trained.name]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"space": SearchSpace.from_dict("other", {**SPACE.to_dict(), "stem_channels": [8, 16]})},
            r"space\.stem_channels must be \[8\], with which the supernet in this file was trained, got \[8, 16\]$",
        ),
        ({"seed": 1}, "seed must be 0, .* got 1$"),
        ({"train": replace(TRAIN, learning_rate=0.1)}, r"train\.learning_rate must be 0\.005, .* got 0\.1$"),
        ({"config": CONFIG}, r"score\.supernet\.steps must be 40, .* got 7$"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    changes: dict[str, Any], told: str, trained: Path, data: ImageData
) -> None:
    given = {"space": SPACE, "data": data, "train": TRAIN, "config": replace(CONFIG, steps=40), "seed": 0} | changes
    with pytest.raises(ConfigError, match=f"^{trained}: {told}"):
        train_supernet(checkpoint=trained, **given)


def test_a_checkpoint_of_other_data_is_refused(trained: Path, data: ImageData) -> None:
    other, told = replace(data, fingerprint="other"), f"^{trained}: data_fingerprint must be '.*got 'other'$"
    with pytest.raises(ConfigError, match=told):
        train_supernet(SPACE, other, TRAIN, replace(CONFIG, steps=40), trained, seed=0)
    with pytest.raises(ConfigError, match=f"^{trained}: data_fingerprint must be "):
        supernet_score(job_of(trained, data=replace(DATA, patches_per_class=5)))


def test_a_file_that_is_no_finished_supernet_is_refused(data: ImageData, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    with pytest.raises(ConfigError, match=r"^score\.supernet\.path must be a supernet's checkpoint, got '.*no file$"):
        supernet_score(job_of(path))
    path.write_text("no tensors")
    with pytest.raises(ConfigError, match=r"a supernet's checkpoint, .* is wanted, got another file$"):
        supernet_score(job_of(path))
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        train_supernet(SPACE, data, TRAIN, CONFIG, path, seed=0, on_step=stop_after(3))
    with pytest.raises(ConfigError, match=r"must have ended before it scores, got 3 of 7 steps$"):
        supernet_score(job_of(path))


def test_a_write_that_fails_leaves_the_last_checkpoint(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.safetensors"

    def fail(tensors: object, file: Path, metadata: object) -> None:
        file.write_text("half")
        raise OSError("no space left")

    def break_the_disk(step: int, num_steps: int) -> None:
        if step == 3:
            monkeypatch.setattr(checkpoints, "save_file", fail)

    with pytest.raises(OSError, match="no space left"):
        train_supernet(SPACE, data, TRAIN, CONFIG, path, seed=0, on_step=break_the_disk)
    assert checkpoints.read_record(path).step == 3


def test_a_loss_that_is_not_finite_ends_the_training(data: ImageData, tmp_path: Path) -> None:
    hopeless = replace(TRAIN, learning_rate=1e30, warmup=0.0, clip_norm=float("inf"))
    with pytest.raises(DivergenceError, match=r"^the supernet's loss was (nan|inf) at step \d of 7$"):
        train_supernet(SPACE, data, hopeless, CONFIG, tmp_path / "tiny.safetensors", seed=0)


def test_a_score_is_what_the_extracted_network_reaches(trained: Path, data: ImageData) -> None:
    score = supernet_score(job_of(trained, reads_test=True))
    network = checkpoints.load_supernet(trained)[0].extract(ARCH)
    estimate_batch_norm(network, data.train, 44, image_size=16)
    val = evaluate(network, data.val, image_size=16)
    assert (score.val_top1, score.val_loss) == (val.top1, val.loss)
    assert score.test_top1 == evaluate(network, data.test, image_size=16).top1
    assert score.latency_ms > 0
    assert (score.steps, score.train_seconds) == (0, 0.0)


def test_a_score_depends_on_no_seed_moves_no_generator_and_reads_test_only_when_told(trained: Path) -> None:
    before = torch.get_rng_state()
    one, other = supernet_score(job_of(trained)), supernet_score(job_of(trained, seed=5))
    assert one.val_loss == other.val_loss
    assert "test_top1" not in one.to_dict()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_weights_of_a_score_can_be_kept(trained: Path, data: ImageData, tmp_path: Path) -> None:
    path = tmp_path / "new" / "net.safetensors"
    score = supernet_score(job_of(trained, checkpoint=path))
    network = build_network(ARCH, data.num_classes)
    assert load_model(network, path, strict=True) == (set(), [])
    assert evaluate(network, data.val, image_size=16).loss == pytest.approx(score.val_loss, rel=1e-5)


def test_the_checkpoint_is_read_once_until_it_changes(
    trained: Path, data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    load = checkpoints.load_supernet
    monkeypatch.setattr(scores, "load_supernet", lambda path: reads.append(path) or load(path))
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(trained.read_bytes())
    first = [supernet_score(job_of(path)).val_loss for _ in range(2)]
    path.unlink()
    train_supernet(SPACE, data, TRAIN, CONFIG, path, seed=3)
    assert supernet_score(job_of(path)).val_loss != first[0]
    assert reads == [path, path]


def test_a_candidate_outside_the_space_is_refused(trained: Path) -> None:
    other = replace(ARCH, head_channels=24)
    with pytest.raises(
        SpaceError, match=rf"^{trained}: search space tiny: head_channels must be one of \[16, 32\], got 24$"
    ):
        supernet_score(job_of(trained, arch=other))


def test_batch_norm_is_estimated_from_the_training_images(trained: Path, data: ImageData) -> None:
    network = checkpoints.load_supernet(trained)[0].extract(ARCH).eval()
    unknown = evaluate(network, data.val, image_size=16).loss
    told: list[tuple[int, int]] = []
    estimate_batch_norm(network, data.train, 1000, image_size=16, on_step=lambda *step: told.append(step))
    images, _ = next(
        data.train.batches(batch_size=44, image_size=16, augmentation=None, shuffle=False, drop_last=False)
    )
    with torch.no_grad():
        outputs = network.conv_stem(images)
    torch.testing.assert_close(network.bn1.running_mean, outputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.bn1.running_var, outputs.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert evaluate(network, data.val, image_size=16).loss < unknown
    assert (network.training, network.bn1.momentum, told) == (False, 0.1, [(1, 1)])
