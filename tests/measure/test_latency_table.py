"""Latency as a sum over a table of blocks: what the table holds, what it predicts, and how it is filled."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scalesearch.arch.space import SearchSpace
from scalesearch.arch.spec import ArchSpec
from scalesearch.errors import ArchError, ConfigError
from scalesearch.measure.latency_table import (
    BlockKey,
    Conditions,
    LatencyTable,
    LatencyTableConfig,
    Reading,
    Timers,
    arch_keys,
    describe_conditions,
    evaluate_latency_table,
    measure_latency_table,
    run_latency_table,
    table_keys,
)
from scalesearch.measure.latency_table.blocks import build_block
from scalesearch.measure.latency_table.measuring import CALIBRATION_NETWORKS
from scalesearch.nn import build_network

SPACES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "search_spaces").glob("*.yaml"))
CONDITIONS = Conditions("small", "cpu", "a processor", "2.0", 1, 1, 10)
SMALL = SearchSpace.from_dict(
    "small",
    {
        "image_size": [16, 24],
        "stem_channels": 8,
        "head_channels": 32,
        "stages": [
            {"block": ["ds", "cn"], "kernel_size": 3, "stride": 2, "out_channels": [8, 16]},
            {"block": "ir", "kernel_size": 3, "expand_ratio": [3, 6], "out_channels": 16, "num_blocks": [0, 1, 2]},
            {"one_of": ["none", "er_r2_k3_s1_e3_c24"]},
        ],
    },
)
SMALL_CONDITIONS = describe_conditions(SMALL, num_classes=10)


class FakeTimers:
    """Times that a formula gives; a network takes twice its blocks."""

    def __init__(self) -> None:
        self.blocks: Counter[BlockKey] = Counter()
        self.networks: Counter[str] = Counter()
        self.stop_after = 0

    def block(self, key: BlockKey) -> Reading:
        self.blocks[key] += 1
        if self.stop_after and self.blocks.total() > self.stop_after:
            raise KeyboardInterrupt
        return Reading(block_ms(key), 2 * block_ms(key))

    def network(self, arch: ArchSpec) -> Reading:
        self.networks[arch.arch_id] += 1
        return Reading(2 * sum(map(block_ms, arch_keys(arch))), 100.0)

    def timers(self) -> Timers:
        return Timers(self.block, self.network)


def block_ms(key: BlockKey) -> float:
    return 0.001 * key.out_channels * key.in_size + 0.01 * key.expand_ratio + 0.1 * key.residual


def fake_table(space: SearchSpace) -> LatencyTable:
    return measure_latency_table(
        space, describe_conditions(space, num_classes=10), rounds=1, timers=FakeTimers().timers()
    )


@pytest.mark.parametrize("name", SPACES)
def test_the_keys_of_a_space_cover_its_networks_and_no_other_block(name):
    space, rng = SearchSpace.load(name), random.Random(0)
    table = fake_table(space)
    assert set(table.readings) == set(table_keys(space))
    for _ in range(200):
        arch = space.sample(rng)
        assert table.predict_ms(arch) == pytest.approx(2 * sum(map(block_ms, arch_keys(arch))))


def test_every_key_of_a_space_occurs_in_some_network():
    rng, occurring = random.Random(0), set()
    for _ in range(3000):
        occurring |= set(arch_keys(SMALL.sample(rng)))
    assert occurring == set(table_keys(SMALL))


def test_a_prediction_is_the_sum_of_the_blocks_by_hand():
    arch = ArchSpec.from_blocks(
        ["cn_r1_k3_s1_e1_c8", "ir_r3_k5_s2_e6_c16_se0.25"], stem_channels=8, head_channels=64, image_size=33
    )
    readings = {
        BlockKey("stem", 3, 8, 3, 2, 1.0, 0.0, False, 33, "silu"): Reading(1.0, 9.0),
        BlockKey("cn", 8, 8, 3, 1, 1.0, 0.0, False, 17, "silu"): Reading(2.0, 9.0),
        BlockKey("ir", 8, 16, 5, 2, 6.0, 0.25, False, 17, "silu"): Reading(4.0, 9.0),
        BlockKey("ir", 16, 16, 5, 1, 6.0, 0.25, True, 9, "silu"): Reading(8.0, 9.0),
        BlockKey("head", 16, 64, 1, 1, 1.0, 0.0, False, 9, "silu"): Reading(16.0, 9.0),
    }
    table = LatencyTable(CONDITIONS, readings, scale=1.5)
    assert [table.predict_ms(arch) for _ in range(2)] == [1.5 * (1 + 2 + 4 + 2 * 8 + 16)] * 2


def test_a_missing_block_is_named():
    table = fake_table(SMALL)
    foreign = ArchSpec.from_blocks(["ds_r1_k7_s2_e1_c8"], stem_channels=8, head_channels=32, image_size=16)
    with pytest.raises(
        ArchError, match=r"search space small and has no ds k7 s2 e1 c8 se0 on 8 channels of 8 px, silu"
    ):
        table.predict_ms(foreign)


@pytest.mark.parametrize("name", ["every_block", "residual"])
def test_the_blocks_of_a_network_are_all_there_is_of_it(name, every_block):
    arch = every_block if name == "every_block" else SMALL.sample(random.Random(3))
    state = torch.get_rng_state()
    blocks = [build_block(key, 10).eval() for key in arch_keys(arch)]
    assert torch.equal(state, torch.get_rng_state())
    network = build_network(arch, 10).eval()
    parameters = [parameter for block in blocks for parameter in block.parameters()]
    assert [p.shape for p in parameters] == [p.shape for p in network.parameters()]
    with torch.no_grad():
        for mine, theirs in zip(parameters, network.parameters(), strict=True):
            mine.copy_(theirs)
        images = torch.randn(2, 3, arch.image_size, arch.image_size)
        expected = network(images)
        for block in blocks:
            images = block(images)
    assert torch.equal(images, expected)


def test_a_block_s_least_disturbed_round_counts():
    slow, fast = Reading(3.0, 4.0), Reading(2.0, 9.0)
    assert slow.join(fast) == fast.join(slow) == Reading(2.0, 9.0, 2)
    assert slow.join(fast).join(slow).rounds == 3


def test_every_block_is_measured_once_a_round_and_rounds_are_interleaved():
    fake, told = FakeTimers(), []
    timed: list[BlockKey] = []
    timers = Timers(lambda key: timed.append(key) or fake.block(key), fake.network)
    table = measure_latency_table(
        SMALL,
        SMALL_CONDITIONS,
        rounds=2,
        timers=timers,
        on_entry=lambda *entry: told.append(entry),
    )
    keys = set(table_keys(SMALL))
    assert set(timed[: len(keys)]) == set(timed[len(keys) :]) == keys
    assert len(timed) == 2 * len(keys)
    assert timed[: len(keys)] != timed[len(keys) :]
    assert told[len(timed) - 1] == ("blocks", len(timed), len(timed))
    assert told[-1] == ("networks to fit", 2 * CALIBRATION_NETWORKS, 2 * CALIBRATION_NETWORKS)
    assert {reading.rounds for reading in table.readings.values()} == {2}


def test_the_factor_to_whole_networks_is_fitted_and_recorded():
    table = fake_table(SMALL)
    assert table.scale == pytest.approx(2.0)
    assert len(set(table.fitted_on)) == CALIBRATION_NETWORKS


def test_an_interrupted_table_goes_on_where_it_was(tmp_path):
    path, fake = tmp_path / "table.json", FakeTimers()
    fake.stop_after = 7
    with pytest.raises(KeyboardInterrupt):
        measure_latency_table(SMALL, SMALL_CONDITIONS, rounds=2, path=path, timers=fake.timers())
    kept, going_on = LatencyTable.load(path), FakeTimers()
    assert (len(kept.readings), kept.scale, kept.fitted_on) == (7, 1.0, ())
    table = measure_latency_table(SMALL, SMALL_CONDITIONS, rounds=2, existing=kept, path=path, timers=going_on.timers())
    assert going_on.blocks.total() == 2 * len(table_keys(SMALL)) - 7
    assert all(going_on.blocks[key] == 1 for key in kept.readings)
    assert LatencyTable.load(path) == table


def test_a_complete_table_is_not_measured_again(tmp_path):
    config = LatencyTableConfig(space="nas_bench_macro", networks=5, path=str(tmp_path / "table.json"), rounds=2)
    first, fake = run_latency_table(config, timers=FakeTimers().timers()), FakeTimers()
    again = run_latency_table(config, timers=fake.timers())
    assert again.table == first.table
    assert (first.entries, first.entries_before, again.entries_before) == (17, 0, 17)
    assert not fake.blocks
    assert not set(fake.networks) & set(first.table.fitted_on)
    assert again.error.n == len(fake.networks) == 5
    assert again.error.mean_abs_error_pct == pytest.approx(0, abs=1e-9)


def test_another_image_size_completes_the_table(tmp_path):
    config = LatencyTableConfig(space="nas_bench_macro", networks=0, path=str(tmp_path / "table.json"), rounds=1)
    run_latency_table(config, timers=FakeTimers().timers())
    config.image_size = 64
    result = run_latency_table(config, timers=FakeTimers().timers())
    assert (len(result.table.readings), result.entries, result.entries_before, result.error) == (34, 17, 0, None)


def test_a_table_of_other_conditions_is_refused(tmp_path):
    config = LatencyTableConfig(space="nas_bench_macro", networks=0, path=str(tmp_path / "table.json"), rounds=1)
    run_latency_table(config, timers=FakeTimers().timers())
    config.batch_size = 16
    with pytest.raises(
        ConfigError, match=r"table\.json: batch_size must be 1, as the latency table was measured, got 16"
    ):
        run_latency_table(config, timers=FakeTimers().timers())


def test_a_saved_table_is_loaded_as_it_was(tmp_path):
    table = fake_table(SMALL)
    table.save(tmp_path / "new" / "table.json")
    assert LatencyTable.load(tmp_path / "new" / "table.json") == table
    empty = LatencyTable(CONDITIONS, {})
    empty.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == empty
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["table.json"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other"}, "format must be 'scalesearch latency table 1', got 'other'"),
        ({"batch_size": "1"}, "batch_size must be of type int, got '1'"),
        ({"scale": float("nan")}, "scale must be a finite number above 0, got nan"),
        ({"entries": [3]}, "entry 0 must be a mapping, got 3"),
        ({"entries": [{"p50_ms": -1.0}]}, "entry 0: p50_ms must be a finite number above 0, got -1.0"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, change, sentence):
    path = tmp_path / "table.json"
    fake_table(SMALL).save(path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{path}: it must be a latency table that scalesearch wrote; .*{sentence}"):
        LatencyTable.load(path)


def test_a_file_that_is_no_json_or_is_missing_is_refused(tmp_path):
    path = tmp_path / "table.json"
    with pytest.raises(ConfigError, match=r"table\.json: cannot be read"):
        LatencyTable.load(path)
    for text in ("{", "[1]"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"table\.json: it must be a latency table"):
            LatencyTable.load(path)


def test_the_error_is_that_of_the_networks_measured():
    rng = random.Random(1)
    table = replace(fake_table(SMALL), scale=1.8, fitted_on=())
    archs = list({arch.arch_id: arch for arch in (SMALL.sample(rng) for _ in range(30))}.values())
    fake = FakeTimers()
    info = evaluate_latency_table(table, archs, rounds=3, timers=fake.timers())
    assert set(fake.networks.values()) == {3}
    assert (info.n, len(info.rows)) == (len(archs), len(archs))
    assert (info.mean_abs_error_pct, info.worst_pct) == (pytest.approx(10.0), pytest.approx(10.0))
    assert info.kendall_tau == pytest.approx(1.0)
    assert info.noise_pct == 0
    assert all(row.error_pct == pytest.approx(-10.0) for row in info.rows)


def test_the_error_is_not_taken_on_the_networks_of_the_fit():
    table, arch = fake_table(SMALL), SMALL.sample(random.Random(0))
    with pytest.raises(ConfigError, match="at least 2 networks to compare with, got 1"):
        evaluate_latency_table(table, [arch])
    fitted = replace(table, fitted_on=(arch.arch_id,))
    with pytest.raises(ConfigError, match=f"others than those the table was fitted on, got {arch.arch_id}"):
        evaluate_latency_table(fitted, [arch, arch])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"networks": 1}, "networks, where it is not 0, must be at least 2, got 1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"device": "abacus"}, "device must be cpu.*, got 'abacus'"),
    ],
)
def test_a_mistake_in_the_configuration_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        LatencyTableConfig(**options)


def test_the_file_is_named_after_space_and_device():
    assert LatencyTableConfig(space="spaces/mine.yaml").file() == Path("latency-mine-cpu.json")


def test_real_times_of_real_blocks_add_up_to_something(tmp_path):
    space = SMALL.at_image_size(16)
    table = measure_latency_table(
        space, describe_conditions(space, num_classes=10), repeats=2, warmup=1, rounds=1, path=tmp_path / "table.json"
    )
    assert all(0 < reading.p50_ms <= reading.p90_ms for reading in table.readings.values())
    assert table.conditions.torch_version == torch.__version__
    assert table.predict_ms(space.sample(random.Random(0))) > 0
