"""Optuna's dashboard opens a study: started for real, and asked for what it shows."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import URLError

import pytest

from scalesearch.arch.budget import Budget
from scalesearch.data import DataConfig
from scalesearch.measure.training import TrainConfig
from scalesearch.search import SearchConfig, run_search

pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed (extra: dashboard)")

_START = "import sys; from optuna_dashboard._cli import main; main()"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Search a little, start the dashboard on the study's database, and give its address."""
    config = SearchConfig(
        study="mine", results=str(tmp_path_factory.mktemp("results")), workers=1, device="cpu", trials=3,
        data=DataConfig(patches_per_class=4, eval_patches_per_class=4, stored_size=32), sampler="random",
        train=TrainConfig(steps=2), budget=Budget(macs=3e6),
    )  # fmt: skip
    run_search(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _START, config.url, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield wait_for(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert process.poll() is None, "the dashboard ended"
        try:
            ask(f"{address}/api/studies")
        except (URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return address
    raise AssertionError("the dashboard does not answer")


def ask(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def test_the_dashboard_shows_objectives_by_name_values_parameters_and_what_we_keep(dashboard: str) -> None:
    [summary] = ask(f"{dashboard}/api/studies")["study_summaries"]
    assert summary["study_name"] == "mine/search"
    assert summary["directions"] == ["maximize", "minimize"]
    study = ask(f"{dashboard}/api/studies/{summary['study_id']}")
    assert study["objective_names"] == ["val_top1", "macs"]
    trained, infeasible = [], []
    for trial in study["trials"]:
        assert trial["state"] == "Complete"
        assert trial["params"]
        kept = {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}
        assert {"arch_id", "blocks", "params", "macs", "acts"} <= set(kept)
        if "state" in kept:
            assert "INFEASIBLE" in kept["state"]
            infeasible.append(trial)
        else:
            assert trial["values"][1] == float(kept["macs"]) <= 3e6
            assert 0 <= trial["values"][0] <= 1
            trained.append(trial)
    assert len(trained) == 3
    assert infeasible, "a third of the space is over the budget"
