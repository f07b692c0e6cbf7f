"""Where candidates are read, and which of them go on."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import ConfigError
from scalesearch.search.dominance import crowded_places
from scalesearch.search.rungs import PrunerConfig, Rungs, rung_steps

FRONT = ("maximize", "minimize")


def new_rungs(directions: tuple[str, ...] = ("maximize",), num_steps: int = 90, **changes: Any) -> Rungs:
    return Rungs(PrunerConfig(**{"method": "asha", "grace": 1, **changes}), num_steps, directions)


def arrive(rungs: Rungs, steps: int, *readings: tuple[float, ...], first: int = 0) -> list[bool]:
    """Let trials reach a rung one after another, and return who goes on."""
    goes_on = []
    for number, values in enumerate(readings, start=first):
        rungs.record(number, steps, values)
        goes_on.append(rungs.keeps_on(number, steps))
    return goes_on


@pytest.mark.parametrize(
    ("keys", "num_steps", "steps"),
    [
        ({}, 90, (10, 30)),
        ({"eta": 2, "min_share": 0.1}, 100, (10, 20, 40, 80)),
        ({"eta": 4, "min_share": 0.25}, 100, (25,)),
        ({"min_share": 0.01}, 30, (1, 3, 8, 24)),  # 0.3, 0.9, 2.7 (3), 8.1, 24.3: two round to one step
        ({}, 1, ()),
        ({}, 2, (1,)),
        ({"min_share": 0.999}, 100, ()),
        ({"method": "off"}, 90, ()),
    ],
)
def test_rungs_are_shares_of_a_training_each_eta_times_the_last(keys, num_steps, steps):
    assert rung_steps(PrunerConfig(**{"method": "asha", **keys}), num_steps) == steps


@given(st.integers(1, 10_000), st.integers(2, 9), st.floats(1e-6, 0.999))
def test_rungs_rise_and_lie_inside_the_training(num_steps, eta, min_share):
    steps = rung_steps(PrunerConfig(method="asha", eta=eta, min_share=min_share), num_steps)
    assert list(steps) == sorted(set(steps))
    assert all(0 < step < num_steps for step in steps)


def test_one_in_eta_of_those_so_far_goes_on_and_the_first_always():
    goes_on = arrive(new_rungs(), 10, (0.5,), (0.4,), (0.45,), (0.48,), (0.3,), (0.7,), (0.1,))
    # of 1, 2, ... so far, the best 1, 1, 1, 2, 2, 2, 3 go on
    assert goes_on == [True, False, False, True, False, True, False]


def test_nobody_is_stopped_among_the_first():
    falling = [(0.9 - 0.1 * number,) for number in range(8)]
    assert arrive(new_rungs(grace=5), 10, *falling) == [True] * 5 + [False] * 3


def test_a_tie_stops_nobody():
    assert arrive(new_rungs(), 10, *[(0.5,)] * 6, (0.4,)) == [True] * 6 + [False]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_a_new_best_in_any_objective_is_never_stopped(readings):
    goes_on = arrive(new_rungs(FRONT, eta=9), 10, *[(float(top1), float(macs)) for top1, macs in readings])
    for number, (top1, macs) in enumerate(readings):
        if all(top1 > other for other, _ in readings[:number]) or all(macs < other for _, other in readings[:number]):
            assert goes_on[number]


def test_a_goal_to_minimise_is_ranked_the_other_way():
    readings = [(0.5,), (0.6,), (0.4,)]
    assert arrive(new_rungs(), 10, *readings) == [True, True, False]
    assert arrive(new_rungs(("minimize",)), 10, *readings) == [True, False, True]


def test_rungs_are_ranked_apart():
    rungs = new_rungs()
    arrive(rungs, 10, (0.9,), (0.8,), (0.7,))
    assert arrive(rungs, 30, (0.2,), first=7) == [True]


def test_with_two_objectives_a_small_network_is_not_stopped_for_a_large_ones_accuracy():
    readings = [(0.9, 100.0), (0.8, 50.0), (0.85, 60.0), (0.1, 1.0), (0.7, 90.0), (0.05, 2.0)]
    single = arrive(new_rungs(eta=2), 10, *[reading[:1] for reading in readings])
    assert single == [True, False, True, False, False, False]
    goes_on = arrive(new_rungs(FRONT, eta=2), 10, *readings)
    # the third is between the ends of its front, with two of three to go on; the last two are dominated
    assert goes_on == [True, True, False, True, False, False]


def test_of_a_front_that_is_too_large_the_lonely_go_on():
    rungs = new_rungs(FRONT, eta=2, grace=4)
    arrive(rungs, 10, (0.11, 2.0), (0.12, 3.0), (0.13, 4.0), (0.1, 1.0), (0.9, 100.0))
    assert arrive(rungs, 10, (0.5, 50.0), first=5) == [True]  # 3 of 6: both ends and the one with the widest gap
    assert arrive(rungs, 10, (0.115, 2.5), first=6) == [False]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30), st.integers(2, 4))
def test_of_many_one_in_eta_is_among_the_best_and_those_that_tie_with_the_last(readings, eta):
    rungs = new_rungs(FRONT, eta=eta)
    arrive(rungs, 10, *[(float(top1), float(macs)) for top1, macs in readings])
    kept = {number for number in range(len(readings)) if rungs.keeps_on(number, 10)}
    assert len(kept) >= math.ceil(len(readings) / eta)
    places = crowded_places([(-top1, macs) for top1, macs in readings])
    strictly = [number for number in range(len(readings)) if places[number] < max(places[list(kept)])]
    assert len(strictly) < len(readings) / eta  # more than that only where the last of them tie


def test_readings_given_anew_in_any_order_decide_the_same():
    rng = np.random.default_rng(0)
    readings = [(float(top1), float(macs)) for top1, macs in rng.integers(0, 9, size=(30, 2))]
    once, again = new_rungs(FRONT), new_rungs(FRONT)
    arrive(once, 10, *readings)
    for number in rng.permutation(30):
        again.record(int(number), 10, readings[number])
    assert [once.keeps_on(each, 10) for each in range(30)] == [again.keeps_on(each, 10) for each in range(30)]
    assert again.has(3, 10)
    assert not again.has(3, 30)
    assert not again.has(30, 10)


def test_hyperband_spares_its_brackets_the_first_rungs_and_gives_each_its_share_of_trials():
    rungs = new_rungs(method="hyperband", num_steps=90)
    assert {rungs.bracket(number): rungs.steps(number) for number in range(40)} == {0: (10, 30), 1: (30,), 2: ()}
    # Hyperband's algorithm 1 with R = 9, eta = 3: 9, 5 and 3 candidates
    assert Counter(rungs.bracket(number) for number in range(170)) == {0: 90, 1: 50, 2: 30}
    assert set(map(rungs.bracket, range(6))) == {0, 1, 2}  # interleaved, so that each begins early


def test_brackets_are_ranked_apart():
    rungs = new_rungs(method="hyperband")
    by_bracket = {bracket: [n for n in range(40) if rungs.bracket(n) == bracket] for bracket in (0, 1)}
    for number in by_bracket[0][:4]:
        rungs.record(number, 30, (0.9,))
    newcomer = by_bracket[1][0]
    rungs.record(newcomer, 30, (0.1,))
    assert rungs.keeps_on(newcomer, 30)


@pytest.mark.parametrize("method", ["off", "asha"])
def test_without_brackets_every_trial_has_the_same_rungs(method):
    rungs = new_rungs(method=method)
    assert {rungs.steps(number) for number in range(30)} == {(10, 30) if method == "asha" else ()}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "median"}, "pruner.method must be one of off, asha, hyperband, got 'median'"),
        ({"eta": 1}, "pruner.eta must be at least 2, got 1"),
        ({"min_share": 0.0}, "pruner.min_share must be above 0 and below 1, got 0.0"),
        ({"min_share": 1.0}, "pruner.min_share must be above 0 and below 1, got 1.0"),
        ({"min_share": float("nan")}, "pruner.min_share must be above 0 and below 1, got nan"),
        ({"grace": 0}, "pruner.grace must be at least 1, got 0"),
    ],
)
def test_a_key_outside_its_range_is_refused_by_its_name(changes, sentence):
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        PrunerConfig(**changes)
