"""Real Ray: what it adds to the contract of executors. Nodes are processes of this machine."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from scalesearch import SearchConfig, run_search
from scalesearch.data import ImageData, load_data
from scalesearch.errors import ConfigError
from scalesearch.study.executors import (
    ExecutorConfig,
    Failed,
    Lost,
    ResourcesConfig,
    Scored,
    WorkerSettings,
    build_executor,
)
from scalesearch.study.executors.ray import RayExecutor
from scalesearch.study.executors.ray_cluster import RayCluster
from tests.study import jobs
from tests.study.executors.contract import JOB, events_of, pids_of, run_to_the_end
from tests.study.executors.ray_clusters import begun_ray
from tests.study.stand_ins import settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]

SPACE = """
image_size: 16
stem_channels: 8
head_channels: 16
stages:
  - {block: ir, kernel_size: [3, 5], stride: 2, expand_ratio: [1, 2], out_channels: [8, 16]}
"""


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with begun_ray(num_cpus=3, num_gpus=1) as begun:
        yield begun


def test_what_ray_cannot_tell_apart_is_lost_and_what_it_can_is_a_failure(ray: Any) -> None:
    executor = RayExecutor(1, jobs.crash, RayCluster("", 0))
    (event,) = run_to_the_end(executor, 7)
    executor.close()
    assert event == Lost(
        7, "the worker process ended without a word: it was killed, or it crashed; Ray does not tell which"
    )
    executor = RayExecutor(1, jobs.return_what_cannot_be_sent, RayCluster("", 0))
    (event,) = run_to_the_end(executor, 7)
    executor.close()
    assert isinstance(event, Failed)
    assert event.reason.startswith("TypeError: ")
    assert ray.is_initialized()  # the caller's own, which outlives an executor


def test_a_worker_that_ends_itself_over_its_memory_is_a_failure_not_a_loss(ray: Any) -> None:
    executor = RayExecutor(1, jobs.run_for_ever, RayCluster("", 0), WorkerSettings(1, memory_gib=0.05))
    *_, event = run_to_the_end(executor, 7)
    executor.close()
    assert isinstance(event, Failed)
    assert event.out_of_memory
    assert event.reason.endswith("over worker_memory_gib=0.05")


def test_the_data_lie_in_the_store_once_and_workers_read_them_there(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_data(JOB.data, tmp_path / "cache")
    mean = float(data.train.images.mean()) / 255  # type: ignore[attr-defined]
    puts: list[ImageData] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda value: (puts.append(value), put(value))[1])
    executor = RayExecutor(2, jobs.read_the_data, RayCluster("", 0), data=data)
    shutil.rmtree(tmp_path / "cache")
    scores = [event.score for event in run_to_the_end(executor, 1, 2) if isinstance(event, Scored)]
    executor.close()
    assert puts == [data]
    assert [(score.val_top1, score.steps) for score in scores] == [(pytest.approx(mean), 1)] * 2


def test_two_halves_of_a_gpu_are_given_and_a_third_waits(ray: Any, tmp_path: Path) -> None:
    executor = build_executor(
        ExecutorConfig(kind="ray"),
        jobs.wait_for_the_word,
        num_workers=3,
        num_threads=1,
        resources=ResourcesConfig(gpus=0.5),
    )
    for key in (1, 2, 3):
        executor.submit(key, replace(JOB, seed=key, cache=tmp_path))
    assert len(pids_of(executor, 2)) == 2
    assert executor.wait(1.0) == []
    (tmp_path / "go").touch()
    assert {event.key for event in events_of(executor, 3) if isinstance(event, Scored)} == {1, 2, 3}
    executor.close()


def test_a_device_is_refused_unless_a_share_of_one_is_declared(ray: Any) -> None:
    executor = RayExecutor(1, jobs.tell_the_seed, RayCluster("", 0))
    with pytest.raises(ConfigError, match=r"resources\.gpus is above 0, got device=cuda$"):
        executor.submit(1, replace(JOB, device="cuda"))
    executor.close()


def test_a_search_on_ray_finds_what_it_finds_with_processes(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # after Ray began: its workers are elsewhere, and the study's paths are relative
    Path("space.yaml").write_text(SPACE, encoding="utf-8")
    found = {}
    for kind in ("local", "ray"):
        keys = settings(Path(kind), space="space.yaml", sampler="random", trials=2, workers=2, threads=1)
        run_search(SearchConfig(**{**keys, "executor": ExecutorConfig(kind=kind)}))
        study = optuna.load_study(study_name=None, storage=f"sqlite:///{kind}/mine/study.db")
        found[kind] = {str(trial.params): trial.values[0] for trial in study.trials if trial.values}
        assert list(Path(kind).rglob("*.safetensors"))
    assert found["ray"] == found["local"]
    assert len(found["ray"]) == 2


def test_rays_client_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^executor.address must be auto or HOST:PORT, .*, got 'ray://there:1'$"):
        RayCluster("ray://there:1", 0)
