"""The simulated cluster: its account of the workers' seconds, on trainings whose length is a formula."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmarks.cluster.paper import Lengths, simulate_on_paper
from benchmarks.cluster.regret import regret_of
from benchmarks.cluster.storages import storages_opened_as
from benchmarks.cluster.study import Outcome, Plan, simulate
from benchmarks.cluster.tables import HEADS, rows
from scalesearch.arch import ArchSpec, network_cost
from tests.search.loops import WIDE, all_archs


class FormulaTrainings:
    """A training takes a second for every 10,000 macs, and reads more the more it has of them."""

    def seconds(self, arch: ArchSpec) -> float:
        return network_cost(arch).macs / 1e4

    def read(self, arch: ArchSpec, share: float) -> float:
        return share * self.true_top1(arch)

    def true_top1(self, arch: ArchSpec) -> float:
        macs = network_cost(arch).macs
        return macs / (macs + 1e6)


def stands_still() -> float:
    return 0.0


def ticks(seconds: float) -> Callable[[], float]:
    """Return a stopwatch that is so many seconds later at every reading."""
    count = itertools.count()
    return lambda: seconds * next(count)


def run(folder: Path, stopwatch: Callable[[], float], **changes: object) -> Outcome:
    folder.mkdir(exist_ok=True)
    space = folder / "space.yaml"
    space.write_text(yaml.safe_dump(WIDE), encoding="utf-8")
    plan = Plan(**{"workers": 4, "trials": 16, "sampler": "random", **changes})  # type: ignore[arg-type]
    return simulate(plan, str(space), FormulaTrainings(), folder, stopwatch=stopwatch)


@pytest.mark.parametrize(("stopwatch", "pruner"), [(ticks(0.5), "off"), (time.perf_counter, "asha")])
def test_training_waiting_and_idle_seconds_are_all_there_are(
    tmp_path: Path, stopwatch: Callable[[], float], pruner: str
) -> None:
    ledger = run(tmp_path, stopwatch, pruner=pruner).ledger
    assert ledger.busy + ledger.waited + ledger.idle == pytest.approx(4 * ledger.makespan)
    assert len(ledger.submitted) == len(ledger.ended) == 16


@pytest.mark.parametrize("pruner", ["off", "asha"])
def test_a_driver_that_takes_no_time_keeps_all_workers_busy_up_to_the_tail(tmp_path: Path, pruner: str) -> None:
    ledger = run(tmp_path, stands_still, pruner=pruner).ledger
    assert ledger.steady_utilisation == pytest.approx(1)
    assert ledger.utilisation < 1
    assert ledger.driver_seconds == 0


def test_a_slow_driver_leaves_workers_idle(tmp_path: Path) -> None:
    outcome = run(tmp_path, ticks(5.0))
    assert outcome.load > 1
    assert outcome.ledger.steady_utilisation < 1.1 / outcome.load
    assert outcome.ledger.makespan >= outcome.ledger.driver_seconds > 16 * 5.0


def test_a_stopped_training_costs_its_share(tmp_path: Path) -> None:
    ledger = run(tmp_path, stands_still, pruner="asha", trials=24).ledger
    stopped = [each for each in ledger.ended if each.stopped]
    assert stopped
    assert ledger.busy < sum(FormulaTrainings().seconds(each.arch) for each in ledger.ended)
    assert all(each.worth < FormulaTrainings().true_top1(each.arch) for each in stopped)


def test_the_utilisation_over_time_adds_up_to_the_whole(tmp_path: Path) -> None:
    ledger = run(tmp_path, ticks(0.5)).ledger
    _, utilisation = ledger.utilisation_curve(10)
    assert utilisation.mean() == pytest.approx(ledger.utilisation)


@pytest.mark.parametrize("sampler", ["random", "predictor"])
def test_the_same_seed_gives_the_same_trials_whatever_is_read_again(tmp_path: Path, sampler: str) -> None:
    first = run(tmp_path / "first", stands_still, sampler=sampler)
    second = run(tmp_path / "second", stands_still, sampler=sampler)
    with storages_opened_as("changed"):
        third = run(tmp_path / "third", stands_still, sampler=sampler)
    assert first.ledger.ended == second.ledger.ended == third.ledger.ended


def test_regret_falls_with_time_and_has_a_line_in_the_tables(tmp_path: Path) -> None:
    outcome = run(tmp_path, time.perf_counter)
    trainings = FormulaTrainings()
    best = max(trainings.true_top1(each.arch) for each in outcome.ledger.ended)
    regret = regret_of(outcome.ledger, trainings.true_top1, best)
    assert list(regret.points) == sorted(regret.points, reverse=True)
    assert regret.points[-1] == pytest.approx(0)
    for head, line in zip(HEADS, rows(outcome, regret), strict=True):
        assert head.splitlines()[0].count("|") == line.count("|")


@pytest.mark.parametrize(("workers", "expected"), [(10, 1.0), (100, 1.0), (200, 0.5), (1000, 0.1)])
def test_a_driver_on_paper_keeps_as_many_workers_busy_as_the_law_says(workers: int, expected: float) -> None:
    lengths = dict.fromkeys(all_archs(WIDE)[:20], 100.0)
    outcome = simulate_on_paper(Plan(workers=workers, trials=5 * workers), Lengths(lengths), list(lengths), 1.0)
    assert outcome.load == pytest.approx(workers / 100)
    assert outcome.ledger.steady_utilisation == pytest.approx(expected, rel=0.02)
