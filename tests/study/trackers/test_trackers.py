"""The contract of all trackers: each trial once, whatever dies; and no trouble of theirs is the study's."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution

from scalesearch.errors import ConfigError
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record
from scalesearch.study.trackers import TRACKERS, TrackedPart, TrackerConfig
from tests.study.jobs import new_score

METHODS = [method for method in TRACKERS if method != "off"]
SECRET = "swordfish"


@dataclass
class Read:
    """What a tracker's own reader finds: a trial's numbers, its curve over the steps, the keys."""

    numbers: dict[int, dict[str, float]]
    course: dict[int, list[tuple[int, float]]]
    config: str


def read_tensorboard(root: Path) -> Read:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def load(folder: Path) -> Any:
        assert len(list(folder.iterdir())) == 1  # one file of events: it was written once
        return accumulators.EventAccumulator(str(folder)).Reload()

    numbers, course = {}, {}
    for folder in sorted((root / "tensorboard" / "search").glob("trial-*")):
        events, number = load(folder), int(folder.name[-4:])
        names = [name for name in events.Tags()["scalars"] if not name.startswith("course/")]
        numbers[number] = {name: events.Scalars(name)[-1].value for name in names}
        has_course = "course/val_top1" in events.Tags()["scalars"]
        course[number] = [(e.step, e.value) for e in events.Scalars("course/val_top1")] if has_course else []
    keys = load(root / "tensorboard" / "search" / "config").Tensors("config/text_summary")[0]
    return Read(numbers, course, str(keys.tensor_proto.string_val))


def read_mlflow(root: Path) -> Read:
    tracking = pytest.importorskip("mlflow.tracking")
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    numbers, course, config = {}, {}, ""
    for run in runs:
        if "mlflow.parentRunId" not in run.data.tags:
            assert config == ""  # one run of the part
            config = str(run.data.params)
            continue
        number = int(run.data.tags["scalesearch.key"].rpartition("/")[2])
        assert number not in numbers
        numbers[number] = {name: value for name, value in run.data.metrics.items() if "/" not in name}
        read = client.get_metric_history(run.info.run_id, "course/val_top1")
        course[number] = [(metric.step, metric.value) for metric in read]
    return Read(numbers, course, config)


def wandb_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a .wandb file: LevelDB's log, in blocks of 32 KiB, after a head of 7 bytes."""
    assert content[:4] == b":W&B"
    place, parts = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:  # no room for a head: padding
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


def read_wandb(root: Path) -> Read:
    protobuf = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    numbers: dict[int, dict[str, float]] = {}
    course: dict[int, list[tuple[int, float]]] = {}
    config = ""
    for path in sorted((root / "wandb").rglob("*.wandb")):
        for data in wandb_records(path.read_bytes()):
            record = protobuf.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                config += "".join(
                    f"{item.key or item.nested_key} {item.value_json}" for item in record.run.config.update
                )
            row = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            if "trial/number" in row:
                number = int(row["trial/number"])
                assert number not in numbers
                plain = {name.removeprefix("trial/"): text for name, text in row.items() if name.startswith("trial/")}
                numbers[number] = {name: float(text) for name, text in plain.items() if not text.startswith('"')}
                course.setdefault(number, [])
            for name, text in row.items():
                if name.endswith("/val_top1") and name.startswith("course-"):
                    number = int(name.partition("/")[0].removeprefix("course-"))
                    course.setdefault(number, []).append((int(row[f"course-{number}/step"]), float(text)))
    return Read(numbers, course, config)


READERS: dict[str, Callable[[Path], Read]] = {
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "wandb": read_wandb,
}


def open_record(root: Path, method: str, **keys: str) -> Record:
    place = StudyFolder.of(root, "mine")
    place.make()
    values = {"train": {"steps": 6}, "sampler": "tpe"}
    return Record.open(
        place.storage_url(None),
        "mine",
        "search",
        directions=["maximize"],
        metric_names=["val_top1"],
        identity={},
        tracked=TrackedPart(TrackerConfig(method=method, **keys), place, "search", values),
    )


def finish_trial(record: Record, worth: float, history: str = "") -> None:
    trial = record.study.ask({"alpha": FloatDistribution(0, 2)})
    for name, value in {"macs": 1000, "params": 10, "seed": 3, "label": "<b>one</b>", "arch_id": "abc"}.items():
        trial.set_user_attr(name, value)
    score = new_score(worth)
    record.complete(trial, [worth], score if not history else _WithHistory(score, history))


class _WithHistory:
    def __init__(self, score: Any, history: str) -> None:
        self._score, self._history = score, history

    def to_dict(self) -> dict[str, Any]:
        return {**self._score.to_dict(), "history": self._history}


def write_history(folder: Path) -> str:
    readings = StudyFolder.of(folder, "mine").readings
    readings.mkdir(parents=True, exist_ok=True)
    text = "step,loss,learning_rate,val_top1\n2,1.5,0.1,0.25\n4,1.25,0.05,0.5\n"
    (readings / "one.csv").write_text(text, encoding="utf-8")
    return "one.csv"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_trial_is_told_once_by_whichever_session(tmp_path: Path, method: str) -> None:
    first = open_record(tmp_path, method)
    with first.tracking:
        finish_trial(first, 0.25)
        finish_trial(first, 0.5, write_history(tmp_path))
        failed = first.study.ask({})
        first.fail(failed, "the loss was nan")
    finish_trial(first, 0.75)  # ended while nothing was tracked: as when the process dies before it tells
    again = open_record(tmp_path, method)
    with again.tracking:
        finish_trial(again, 1.0)
    read = READERS[method](tmp_path / "mine" / "trackers")
    assert sorted(read.numbers) == [0, 1, 2, 3, 4]
    worths = {number: numbers.get("value.val_top1") for number, numbers in read.numbers.items()}
    assert worths == {0: 0.25, 1: 0.5, 2: None, 3: 0.75, 4: 1.0}
    assert read.numbers[1]["macs"] == 1000
    assert {number: course for number, course in read.course.items() if course} == {1: [(2, 0.25), (4, 0.5)]}
    assert "train.steps" in read.config
    assert "tpe" in read.config


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_tracker_that_fails_is_told_of_once_and_the_study_goes_on(
    tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be", encoding="ascii")
    keys = {"mlflow": {"uri": f"http://me:{SECRET}@127.0.0.1:9"}}.get(
        method, {"folder": str(tmp_path / "blocked" / "x")}
    )
    record = open_record(tmp_path, method, **keys)
    with caplog.at_level(logging.WARNING, logger="scalesearch"), record.tracking:
        finish_trial(record, 0.25)
        finish_trial(record, 0.5)
    assert record.frame().state.tolist() == ["COMPLETE", "COMPLETE"]
    said = [line.getMessage() for line in caplog.records if line.name.startswith("scalesearch")]
    assert len(said) == 1
    assert said[0].startswith(f"tracker {method} failed (")
    assert "the study goes on without it" in said[0]
    assert SECRET not in caplog.text
    if method != "mlflow":
        return
    with open_record(tmp_path, method).tracking:  # a server that is back
        pass
    assert sorted(read_mlflow(tmp_path / "mine" / "trackers").numbers) == [0, 1]


def test_without_a_tracker_nothing_is_written(tmp_path: Path) -> None:
    record = open_record(tmp_path, "off")
    with record.tracking:
        finish_trial(record, 0.25)
    assert not (tmp_path / "mine" / "trackers").exists()
    assert not any(name.startswith("tracked.") for name in record.study.user_attrs)


def test_a_tracker_that_is_not_installed_is_refused_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesearch.study.trackers.config.find_spec", lambda name: None)
    for method in METHODS:
        with pytest.raises(
            ConfigError, match=rf"needs {method}; install it with pip install 'scalesearch\[{method}\]'"
        ):
            TrackerConfig(method=method)
    with pytest.raises(ConfigError, match="tracker must be one of off, tensorboard, mlflow, wandb, got 'neptune'"):
        TrackerConfig(method="neptune")
