"""Latencies of a part: read once, by the network, and standing when the part goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.measure.profiling import LatencyInfo
from scalesearch.nn import build_network
from scalesearch.study import latencies as latencies_file
from scalesearch.study.latencies import read_latencies
from scalesearch.study.store import Record

ARCHS = [
    ArchSpec.from_blocks([f"ds_r1_k3_s2_c{channels}"], stem_channels=8, head_channels=16, image_size=16)
    for channels in (8, 16, 24)
]


class Clock:
    """Stands in for ``profile_latency``: each reading is later than the one before, as on a machine that grows busy."""

    def __init__(self) -> None:
        self.params: list[int] = []

    def __call__(self, network: torch.nn.Module, image_size: int, **_: Any) -> LatencyInfo:
        self.params.append(sum(weight.numel() for weight in network.parameters()))
        return LatencyInfo(float(len(self.params)), 99.0, 1, 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latencies_file, "profile_latency", clock)
    return clock


def open_record(folder: Path, part: str = "family") -> Record:
    """Open the part's record, as a run that goes on does."""
    url = f"sqlite:///{folder / 'study.db'}"
    return Record.open(url, "mine", part, directions=["maximize"], metric_names=["val_top1"], identity={})


def read(record: Record, archs: list[ArchSpec]) -> dict[str, float]:
    return read_latencies(record, archs, build=lambda arch: build_network(arch, 10), device="cpu")


def test_a_network_is_timed_and_known_by_its_arch_id(tmp_path: Path) -> None:
    latencies = read(open_record(tmp_path), ARCHS)
    assert list(latencies) == [arch.arch_id for arch in ARCHS]
    assert all(0 < latency < 1000 for latency in latencies.values())


def test_what_was_read_stands_when_the_part_goes_on(tmp_path: Path, clock: Clock) -> None:
    first = read(open_record(tmp_path), ARCHS[:2])
    again = read(open_record(tmp_path), ARCHS)
    assert list(first.values()) == [1.0, 2.0]
    assert list(again.values()) == [1.0, 2.0, 3.0]
    assert read(open_record(tmp_path), ARCHS) == again
    assert len(clock.params) == 3


def test_what_was_read_stands_to_the_last_bit(tmp_path: Path) -> None:
    assert read(open_record(tmp_path), ARCHS) == read(open_record(tmp_path), ARCHS)


def test_an_interruption_loses_no_reading(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(network: torch.nn.Module, image_size: int, **_: Any) -> LatencyInfo:
        if len(clock.params) == 2:
            raise KeyboardInterrupt
        return clock(network, image_size)

    monkeypatch.setattr(latencies_file, "profile_latency", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(open_record(tmp_path), ARCHS)
    monkeypatch.setattr(latencies_file, "profile_latency", clock)
    assert list(read(open_record(tmp_path), ARCHS).values()) == [1.0, 2.0, 3.0]
    assert len(clock.params) == 3  # only the one that was missing


def test_a_network_that_comes_twice_is_read_once(tmp_path: Path, clock: Clock) -> None:
    assert read(open_record(tmp_path), [ARCHS[0], ARCHS[1], ARCHS[0]]) == {
        ARCHS[0].arch_id: 1.0,
        ARCHS[1].arch_id: 2.0,
    }
    assert len(clock.params) == 2


def test_only_what_is_asked_for_is_returned_and_the_rest_is_kept(tmp_path: Path, clock: Clock) -> None:
    record = open_record(tmp_path)
    read(record, ARCHS[:2])
    assert read(record, ARCHS[1:2]) == {ARCHS[1].arch_id: 2.0}
    assert read(record, ARCHS[2:]) == {ARCHS[2].arch_id: 3.0}
    assert read(record, ARCHS[:1]) == {ARCHS[0].arch_id: 1.0}
    assert read(record, []) == {}


def test_another_part_reads_for_itself(tmp_path: Path, clock: Clock) -> None:
    assert read(open_record(tmp_path, "family"), ARCHS[:1]) == {ARCHS[0].arch_id: 1.0}
    assert read(open_record(tmp_path, "scale"), ARCHS[:1]) == {ARCHS[0].arch_id: 2.0}


def test_the_network_that_is_timed_has_the_datas_classes(tmp_path: Path, clock: Clock) -> None:
    read(open_record(tmp_path), ARCHS)
    assert clock.params == [network_cost(arch, num_classes=10).params for arch in ARCHS]
