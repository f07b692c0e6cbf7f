from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from scalesearch.errors import ConfigError
from scalesearch.measure.training import TrainConfig
from scalesearch.study.executors import ExecutorConfig, ResourcesConfig
from scalesearch.study.settings import StudyConfig
from tests.study.stand_ins import settings


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"device": "gpu"}, "device must be cpu, cuda or cuda:N, got 'gpu'"),
        ({"device": "cuda:99"}, r"device must be cpu or one of the \d+ CUDA devices here, got 'cuda:99'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_key(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        StudyConfig(**changes)  # type: ignore[arg-type]


def test_auto_takes_cuda_where_there_is_one() -> None:
    assert StudyConfig().torch_device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert StudyConfig(device="cpu").torch_device == "cpu"


def test_on_a_cluster_auto_takes_cuda_where_a_gpu_is_asked_for() -> None:
    slurm = ExecutorConfig(kind="slurm")
    assert StudyConfig(executor=slurm).torch_device == "cpu"
    assert StudyConfig(executor=slurm, resources=ResourcesConfig(gpus=1)).torch_device == "cuda"
    assert StudyConfig(executor=slurm, device="cuda:0").torch_device == "cuda:0"  # whatever this machine has


def test_each_part_keeps_its_own_section(tmp_path: Path) -> None:
    config = StudyConfig(**settings(tmp_path))
    config.save("search")
    StudyConfig(**settings(tmp_path, train=TrainConfig(steps=9))).save("scale")
    config.save("search")
    sections = yaml.safe_load(config.folder.config.read_text(encoding="utf-8"))
    assert list(sections) == ["search", "scale"]
    assert (sections["search"]["train"]["steps"], sections["scale"]["train"]["steps"]) == (1, 9)
    assert TrainConfig(**{**sections["scale"]["train"], "augmentation": config.train.augmentation}).steps == 9


def test_the_identity_is_images_training_and_seed(tmp_path: Path) -> None:
    config = StudyConfig(**settings(tmp_path))
    data = config.load_data()
    one, other = config.identity(data), StudyConfig(**settings(tmp_path, workers=2, device="auto")).identity(data)
    assert one == other  # where it runs makes no difference
    assert one["data"]["fingerprint"] == data.fingerprint
    assert StudyConfig(**settings(tmp_path, seed=1)).identity(data) != one
    assert StudyConfig(**settings(tmp_path, train=TrainConfig(steps=2))).identity(data) != one
