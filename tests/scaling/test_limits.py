"""The largest phi within limits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from scalesearch.arch import ArchSpec, ScalingFactors, network_cost, scale_arch
from scalesearch.arch.budget import Budget
from scalesearch.arch.scaling import ScalingRule
from scalesearch.errors import ConfigError
from scalesearch.measure.memory import peak_memory_mib
from scalesearch.measure.profiling import LatencyInfo
from scalesearch.nn import build_network
from scalesearch.scaling import limits as limits_file
from scalesearch.scaling.limits import Limits, largest_phi

TINY = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_c16", "ir_r2_k3_s2_e2_c24"], stem_channels=16, head_channels=32, image_size=16, stem_stride=1
)
RULE = ScalingRule(ScalingFactors(1.2, 1.1, 1.15))
PHIS = [index / 100 for index in range(-1000, 1001)]


def member(phi: float, rule: ScalingRule = RULE) -> ArchSpec:
    return scale_arch(TINY, rule.factors, phi, rounding=rule.rounding)


class Clock:
    """Stands in for ``profile_latency``: a network takes as long as its parameters and pixels say, and never varies."""

    def __init__(self, noise: Callable[[int], float] = lambda repeats: 1.0) -> None:
        self.repeats: list[int] = []
        self.noise = noise

    def __call__(self, network: torch.nn.Module, image_size: int, *, repeats: int, **_: Any) -> LatencyInfo:
        self.repeats.append(repeats)
        params = sum(weight.numel() for weight in network.parameters())
        return LatencyInfo(params * image_size**2 / 1e6 * self.noise(repeats), math.nan, 1, repeats)


def latency_ms(arch: ArchSpec) -> float:
    return network_cost(arch, num_classes=10).params * arch.image_size**2 / 1e6


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stand_in = Clock()
    monkeypatch.setattr(limits_file, "profile_latency", stand_in)
    return stand_in


def solve(rule: ScalingRule = RULE, **limits: float) -> limits_file.PhiSolution:
    return largest_phi(TINY, rule, Limits(**limits), num_classes=10)


@pytest.mark.parametrize("name", ["macs", "params"])
@pytest.mark.parametrize("wanted", [-1.4, 0.0, 2.35])
def test_within_closed_forms_the_next_phi_is_over_the_limit(clock: Clock, name: str, wanted: float) -> None:
    limit = getattr(network_cost(member(wanted), num_classes=10), name)
    solution = solve(**{name: limit})
    assert solution.arch == member(solution.phi)
    assert solution.cost == network_cost(solution.arch, num_classes=10)
    assert solution.phi == max(phi for phi in PHIS if getattr(network_cost(member(phi), num_classes=10), name) <= limit)
    assert solution.phi >= wanted
    assert solution.latency_ms == latency_ms(solution.arch)
    assert len(clock.repeats) == 1  # only of the one that is reported


@pytest.mark.parametrize("rounding", ["ceil", "round"])
@pytest.mark.parametrize("wanted", [-3.0, -0.5, 0.0, 0.01, 1.0, 2.6])
def test_within_a_latency_the_next_phi_is_too_slow_and_few_are_measured(
    clock: Clock, rounding: Any, wanted: float
) -> None:
    rule = ScalingRule(RULE.factors, rounding)
    limit = latency_ms(member(wanted, rule))
    solution = solve(rule, latency_ms=limit)
    assert solution.phi == max(phi for phi in PHIS if latency_ms(member(phi, rule)) <= limit)
    assert solution.latency_ms == latency_ms(solution.arch) <= limit
    assert len(clock.repeats) <= 16  # of some 600 distinct networks
    assert clock.repeats[-1] > max(clock.repeats[:-1])


def test_within_a_memory_the_next_phi_takes_more(clock: Clock) -> None:
    def peak(phi: float) -> float:
        return peak_memory_mib(build_network(member(phi), 10), member(phi).image_size)

    limit = peak(1.5)
    solution = solve(peak_memory_mib=limit)
    assert solution.phi >= 1.5
    assert solution.peak_memory_mib == peak(solution.phi) <= limit
    assert peak(solution.phi + 0.01) > limit


def test_all_limits_hold_together_and_the_tightest_decides(clock: Clock) -> None:
    arch = member(1.0)
    loose, tight = network_cost(member(3.0), num_classes=10), latency_ms(arch)
    both = solve(macs=loose.macs, latency_ms=tight)
    assert both == solve(latency_ms=tight)
    assert solve(macs=network_cost(TINY, num_classes=10).macs, latency_ms=tight).cost.macs < both.cost.macs


def test_a_network_that_proves_too_slow_gives_way_to_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    slower = Clock(lambda repeats: 1.3 if repeats > 20 else 1.0)  # quick passes flatter
    monkeypatch.setattr(limits_file, "profile_latency", slower)
    limit = latency_ms(member(2.0))
    solution = solve(latency_ms=limit)
    assert solution.latency_ms == 1.3 * latency_ms(solution.arch) <= limit
    assert 0 < solution.phi < 2


def test_latencies_that_never_hold_are_refused_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_file, "profile_latency", Clock(lambda repeats: math.inf if repeats > 20 else 1.0))
    with pytest.raises(ConfigError, match=r"^budget\.latency_ms of .* was met while seeking, but not by longer"):
        solve(latency_ms=latency_ms(TINY))


@pytest.mark.parametrize("name", ["macs", "params", "peak_memory_mib", "latency_ms"])
def test_where_the_smallest_network_is_over_a_limit_the_sentence_names_it_and_what_suffices(
    clock: Clock, name: str
) -> None:
    least = {
        "latency_ms": latency_ms(member(-10)),
        "peak_memory_mib": peak_memory_mib(build_network(member(-10), 10), member(-10).image_size),
        **network_cost(member(-10), num_classes=10)._asdict(),
    }[name]
    with pytest.raises(ConfigError) as error:
        solve(**{name: 1e-5})
    sentence = (
        rf"budget\.{name} must be at least ([\d,.]+), what the rule's smallest network has \(phi -10\); got 1e-05"
    )
    told = float(re.fullmatch(sentence, str(error.value))[1].replace(",", ""))
    assert least <= told < least + 0.01
    assert solve(**{name: told}).phi < 0


def test_without_a_limit_there_is_no_largest_phi() -> None:
    with pytest.raises(ConfigError, match=r"^at least one of budget\.latency_ms, .*budget\.macs must be finite$"):
        solve()


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (0.9, 1.2, 1.2)])
def test_factors_that_do_not_grow_are_refused(factors: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"^the largest phi is sought by factors of at least 1, one of them above 1;"):
        solve(ScalingRule(ScalingFactors(*factors)), macs=1e6)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("name", ["latency_ms", "peak_memory_mib", "params", "macs"])
def test_a_limit_must_be_above_zero(name: str, limit: float) -> None:
    with pytest.raises(ConfigError, match=rf"^budget\.{name} must be above 0, got {limit}$"):
        Limits(**{name: limit})


def test_the_budget_of_limits_holds_their_closed_forms() -> None:
    assert Limits(latency_ms=1.0, params=2.0, macs=3.0).budget == Budget(params=2.0, macs=3.0)


def test_a_real_latency_limit_is_met_by_what_is_reported() -> None:
    solution = largest_phi(TINY, RULE, Limits(latency_ms=1e4, macs=network_cost(TINY).macs))
    assert 0 < solution.latency_ms <= 1e4
    assert solution.arch == TINY
