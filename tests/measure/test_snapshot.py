"""A training that is interrupted ends with the weights, bit for bit, of one that never was."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalesearch.arch import ArchSpec
from scalesearch.data import Augmentation, DataConfig, ImageData, load_data
from scalesearch.errors import SnapshotError
from scalesearch.measure.snapshot import SnapshotConfig, Snapshots, read_snapshot, write_snapshot
from scalesearch.measure.steps import Callbacks, FitInfo
from scalesearch.measure.training import TrainConfig, fit
from scalesearch.nn import build_network

ARCH = ArchSpec.from_blocks(
    ["ir_r2_k3_s2_e4_c16_se0.25"], stem_channels=8, head_channels=16, image_size=16, stem_stride=1
)
RANDOM = Augmentation(min_crop_area=0.5, mixup_alpha=0.2, cutmix_alpha=1.0, randaugment_ops=1)
PLAIN = Augmentation()


class KilledError(Exception):
    pass


def train(data: ImageData, config: TrainConfig, snapshots: Snapshots | None = None, stop_at: int = 0) -> Any:
    torch.manual_seed(3)
    network = build_network(ARCH, data.num_classes, dropout=config.dropout, drop_path=config.drop_path)

    def on_step(step: int, num_steps: int) -> None:
        if step == stop_at:
            raise KilledError

    try:
        info = fit(
            network, data.train, config, image_size=16, callbacks=Callbacks(on_step=on_step, snapshots=snapshots)
        )
    except KilledError:
        return None
    return network.state_dict(), info


def open_snapshots(folder: Path, identity: str = "mine", seconds: float = 0) -> Snapshots:
    return Snapshots(SnapshotConfig(folder / "checkpoints" / "one.snapshot", seconds), identity)


@pytest.fixture(scope="module")
def small() -> ImageData:
    return load_data(DataConfig(patches_per_class=6, eval_patches_per_class=2, stored_size=24))


@pytest.fixture(scope="module")
def streamed() -> ImageData:
    config = DataConfig(patches_per_class=60, eval_patches_per_class=2, stored_size=64, memory_mib=1, loader_workers=0)
    data = load_data(config)
    assert data.streams
    return data


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("augmentation", [RANDOM, PLAIN], ids=["random", "plain"])
@pytest.mark.parametrize("kind", ["small", "streamed"])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, augmentation: Augmentation, optimizer: str
) -> None:
    data: ImageData = request.getfixturevalue(kind)
    config = TrainConfig(
        steps=13, batch_size=16, dropout=0.2, drop_path=0.1, ema_decay=0.9, optimizer=optimizer,
        augmentation=augmentation,
    )  # fmt: skip
    weights, info = train(data, config)
    assert train(data, config, open_snapshots(tmp_path), stop_at=5) is None
    assert train(data, config, open_snapshots(tmp_path), stop_at=9) is None  # in another pass, where there are several
    again, info_again = train(data, config, open_snapshots(tmp_path))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert (info.steps, info.loss) == (info_again.steps, info_again.loss)


def steps_taken(data: ImageData, snapshots: Snapshots) -> list[int]:
    steps: list[int] = []
    torch.manual_seed(3)
    fit(
        build_network(ARCH, data.num_classes),
        data.train,
        TrainConfig(steps=6, batch_size=16),
        image_size=16,
        callbacks=Callbacks(on_step=lambda step, _: steps.append(step), snapshots=snapshots),
    )
    return steps


@pytest.fixture
def left(small: ImageData, tmp_path: Path) -> Path:
    """Leave a snapshot of a training that died in its fourth step."""
    assert train(small, TrainConfig(steps=6, batch_size=16), open_snapshots(tmp_path), stop_at=4) is None
    return tmp_path / "checkpoints" / "one.snapshot"


def test_a_training_goes_on_after_the_step_of_its_snapshot(small: ImageData, tmp_path: Path, left: Path) -> None:
    assert steps_taken(small, open_snapshots(tmp_path)) == [4, 5, 6]  # the fourth died before its snapshot


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_byte, "damaged, its checksum does not hold"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "damaged, its checksum does not hold"),
        (lambda path: path.write_bytes(b""), "not a snapshot of a training"),
        (lambda path: path.write_bytes(pickle.dumps("hello")), "not a snapshot of a training"),
    ],
)
def test_a_damaged_snapshot_is_told_and_the_training_begins_anew(
    small: ImageData,
    tmp_path: Path,
    left: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], object],
    said: str,
) -> None:
    damage(left)
    with pytest.raises(SnapshotError, match=rf"^{left}: {said}"):
        read_snapshot(left)
    assert steps_taken(small, open_snapshots(tmp_path)) == [1, 2, 3, 4, 5, 6]
    assert f"{left}: {said}; the training begins anew" in caplog.text


def test_the_snapshot_of_another_training_is_not_gone_on_from(
    small: ImageData, tmp_path: Path, left: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert steps_taken(small, open_snapshots(tmp_path, identity="other")) == [1, 2, 3, 4, 5, 6]
    assert "it is of another training, and is not used" in caplog.text


def test_a_snapshot_that_cannot_be_written_is_told_once_and_costs_only_itself(
    small: ImageData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be", encoding="ascii")
    assert steps_taken(small, open_snapshots(tmp_path)) == [1, 2, 3, 4, 5, 6]
    assert caplog.text.count("cannot be written") == 1


class Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("owned",)


def test_a_snapshot_is_data_and_never_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.snapshot"
    write_snapshot(path, {"identity": "mine", "state": Payload()})  # whole, and with the right checksum
    with pytest.raises(SnapshotError, match=r"evil.snapshot: "):
        read_snapshot(path)
    assert not (tmp_path / "owned").exists()


def test_sigterm_writes_a_snapshot_and_ends_the_training(small: ImageData, tmp_path: Path) -> None:
    def ask_to_end(step: int, num_steps: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    torch.manual_seed(3)
    network, config = build_network(ARCH, small.num_classes), TrainConfig(steps=6, batch_size=16)
    rarely = open_snapshots(tmp_path, seconds=1000)
    with pytest.raises(SystemExit, match="143"):
        fit(network, small.train, config, image_size=16, callbacks=Callbacks(on_step=ask_to_end, snapshots=rarely))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert steps_taken(small, open_snapshots(tmp_path)) == [4, 5, 6]


def test_without_snapshots_nothing_is_written(small: ImageData, tmp_path: Path) -> None:
    info: FitInfo = train(small, TrainConfig(steps=2, batch_size=16))[1]
    assert info.steps == 2
    assert list(tmp_path.iterdir()) == []
