"""Real Ray whose nodes, or all of it, come and go. Nodes are processes of this machine."""

from __future__ import annotations

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.errors import ConfigError
from scalesearch.study.executors import Began, Lost, Scored
from scalesearch.study.executors.ray import RayExecutor
from scalesearch.study.executors.ray_cluster import RayCluster
from tests.study import jobs
from tests.study.executors.contract import JOB, events_of, is_running, pids_of
from tests.study.executors.ray_clusters import listening_addresses, nodes, patiently, raylet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]


def test_a_node_that_leaves_costs_its_job_a_new_beginning_on_one_that_joins(tmp_path: Path) -> None:
    with nodes(num_cpus=0) as cluster:
        first, _ = (patiently(cluster.add_node, num_cpus=1) for _ in range(2))
        executor = RayExecutor(2, jobs.wait_for_the_word, RayCluster(cluster.address, 0))
        for key in (1, 2):
            executor.submit(key, replace(JOB, seed=key, cache=tmp_path))
        pids = pids_of(executor, 2)
        cluster.remove_node(first, allow_graceful=False)
        (lost,) = events_of(executor, 1)
        assert isinstance(lost, Lost)
        assert not is_running(pids[lost.key])
        assert is_running(pids[3 - lost.key])
        executor.submit(lost.key, replace(JOB, seed=lost.key, cache=tmp_path))
        assert executor.wait(1.0) == []  # the other node is busy
        patiently(cluster.add_node, num_cpus=1)
        assert isinstance(executor.wait()[0], Began)
        (tmp_path / "go").touch()
        ends = events_of(executor, 2)
        assert {event.key for event in ends if isinstance(event, Scored)} == {1, 2}
        executor.close()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_cluster_that_dies_is_begun_again_and_keeps_to_this_machine(tmp_path: Path) -> None:
    executor = RayExecutor(1, jobs.wait_for_the_word, RayCluster("", 1))
    job = replace(JOB, cache=tmp_path)
    executor.submit(1, job)
    pids_of(executor, 1)
    assert set(listening_addresses()) == {"127.0.0.1"}
    assert os.environ["RAY_AUTH_MODE"] == "token"
    os.kill(raylet(), signal.SIGKILL)
    events = events_of(executor, 1)
    assert isinstance(events[-1], Lost)
    executor.submit(1, job)
    (tmp_path / "go").touch()
    assert isinstance(events_of(executor, 1)[-1], Scored)
    executor.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_at_which_nothing_listens_is_refused_before_ray_would_try_it(host: str) -> None:
    sentence = r"^executor\.address=\S+:1: no Ray cluster can be joined \(nothing listens there: .+\)$"
    with pytest.raises(ConfigError, match=sentence):
        RayCluster(f"{host}:1", 1)
