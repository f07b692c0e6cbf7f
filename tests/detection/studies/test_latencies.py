"""Latencies of detectors from those of their parts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.studies import latencies
from scalesearch.detection.studies.latencies import PartLatencies, load_latencies
from scalesearch.detection.studies.space import DetectorSpace
from scalesearch.errors import StudyError
from tests.detection.detectors import tiny_spec

CHOICES = {"neck_channels": (8, 16), "neck_cells": (1, 3), "head_depth": (1, 4), "image_size": (48, 64)}
SPACE = DetectorSpace(tiny_spec(max_level=4), CHOICES)


def formula(spec: DetectorSpec) -> float:
    return spec.image_size / 8 + spec.neck_channels * (0.5 * spec.neck_cells + 0.25 * spec.head_depth)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[DetectorSpec]:
    """Put a formula in place of the clock, and tell which detectors were timed."""
    seen: list[DetectorSpec] = []

    def tell(spec: DetectorSpec, device: str) -> float:
        seen.append(spec)
        return formula(spec)

    monkeypatch.setattr(latencies, "_time", tell)
    return seen


def test_a_latency_is_the_sum_of_the_parts_that_were_measured(tmp_path: Path, timed: list[DetectorSpec]) -> None:
    model = load_latencies(tmp_path / "latencies.json", SPACE, device="cpu")
    assert len(timed) == 4 * 3  # widths and sizes, and three detectors of each
    assert all(spec.neck_cells + spec.head_depth <= 3 for spec in timed)
    for spec in SPACE.detectors():
        assert model.predict_ms(spec) == pytest.approx(formula(spec))


def test_a_part_takes_no_less_than_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([5.0, 4.0, 6.0] * 4)
    monkeypatch.setattr(latencies, "_time", lambda spec, device: next(readings))
    model = load_latencies(tmp_path / "latencies.json", SPACE, device="cpu")
    assert set(model.parts.values()) == {(5.0, 0.0, 1.0)}


def test_what_was_measured_is_not_measured_again(tmp_path: Path, timed: list[DetectorSpec]) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "latencies.json"
    model = load_latencies(path, SPACE, device="cpu", on_measured=lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    timed.clear()
    assert load_latencies(path, SPACE, device="cpu") == model
    assert timed == []
    wider = DetectorSpace(SPACE.base, {**CHOICES, "neck_channels": (8, 16, 24)})
    load_latencies(path, wider, device="cpu")
    assert {spec.neck_channels for spec in timed} == {24}
    assert load_latencies(path, SPACE, device="cpu") == model  # of its own detectors alone


def test_another_neck_or_backbone_is_measured_for_itself(tmp_path: Path, timed: list[DetectorSpec]) -> None:
    path = tmp_path / "latencies.json"
    load_latencies(path, SPACE, device="cpu")
    for changes in ({"neck": "fpn"}, {"fusion": "sum"}, {"min_level": 2}, {"max_level": 5}):
        timed.clear()
        load_latencies(path, DetectorSpace(replace(SPACE.base, **changes), CHOICES), device="cpu")  # type: ignore[arg-type]
        assert len(timed) == 12, changes


def test_an_interrupted_measurement_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, readings = tmp_path / "latencies.json", iter([1.0, 2.0, 3.0, 4.0])

    def stop_at_the_fifth(spec: DetectorSpec, device: str) -> float:
        try:
            return next(readings)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(latencies, "_time", stop_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        load_latencies(path, SPACE, device="cpu")
    assert list(json.loads(path.read_text())["parts"].values()) == [[1.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "3", "{}", '{"device": "cpu", "parts": {}}', '{"device": "cpu", "processor": "x", "parts": {"a": [1]}}',
     '{"device": "cpu", "processor": "x", "parts": {"a": [1, 2, NaN]}}', '{"parts": {"a": "abc"}}', "\x00"],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "latencies.json"
    path.write_text(content, encoding="utf-8")
    sentence = f"{path}: it must hold latencies that detect-scale wrote; remove it to measure anew"
    with pytest.raises(StudyError, match=f"^{re.escape(sentence)}$"):
        load_latencies(path, SPACE, device="cpu")
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("changes", [{"processor": "another one"}, {"device": "cuda"}])
def test_a_file_of_another_machine_is_refused(
    tmp_path: Path, timed: list[DetectorSpec], changes: dict[str, Any]
) -> None:
    path = tmp_path / "latencies.json"
    load_latencies(path, SPACE, device="cpu")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")
    sentence = r"latencies\.json: it must be measured on cpu of .*, got (cpu of another one|cuda of .*); remove it to"
    with pytest.raises(StudyError, match=sentence):
        load_latencies(path, SPACE, device="cpu")


def test_a_model_says_under_what_it_was_measured() -> None:
    assert PartLatencies("cpu", "a processor", {}).identity() == {"device": "cpu", "processor": "a processor"}


def test_measuring_takes_time_and_draws_no_random_number(tmp_path: Path) -> None:
    one = DetectorSpace(SPACE.base, {"neck_channels": (8,), "image_size": (48,)})
    state = torch.random.get_rng_state()
    model = load_latencies(tmp_path / "latencies.json", one, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    ((first, cell, layer),) = model.parts.values()
    assert first > 0
    assert min(cell, layer) >= 0
