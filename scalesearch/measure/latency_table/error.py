"""How far the table's predictions are from whole networks, measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import kendalltau

from scalesearch.arch.spec import ArchSpec
from scalesearch.errors import ConfigError
from scalesearch.measure.latency_table.measuring import OnEntry, Timers, measure_networks
from scalesearch.measure.latency_table.table import LatencyTable


@dataclass(frozen=True, slots=True)
class LatencyErrorRow:
    """One network: milliseconds of a pass as predicted, and as measured in the least disturbed round."""

    arch_id: str
    predicted_ms: float
    measured_ms: float

    @property
    def error_pct(self) -> float:
        """Percent of the measured latency by which the predicted one is too high."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)


@dataclass(frozen=True, slots=True)
class LatencyErrorInfo:
    """The table's error over some networks.

    Attributes:
        n: Networks.
        mean_abs_error_pct: Mean of the absolute errors, in percent of what was measured.
        worst_pct: The largest of them.
        kendall_tau: Rank correlation of predicted and measured latencies, in [-1, 1]; 0 where all are predicted equal.
        noise_pct: Mean over the networks of what their middle round took above their least disturbed one, in percent:
            where this is not well below the error, the machine was busy and the error is not the table's alone.
        rows: One for each network.
    """

    n: int
    mean_abs_error_pct: float
    worst_pct: float
    kendall_tau: float
    noise_pct: float
    rows: tuple[LatencyErrorRow, ...]


def evaluate_latency_table(
    table: LatencyTable,
    archs: Sequence[ArchSpec],
    *,
    repeats: int = 20,
    warmup: int = 3,
    rounds: int = 3,
    on_entry: OnEntry | None = None,
    timers: Timers | None = None,
) -> LatencyErrorInfo:
    """Measure whole networks under the table's conditions and compare.

    Args:
        table: The table.
        archs: At least 2 networks, none of them in the table's ``fitted_on``.
        repeats: Timed passes of a network in one round.
        warmup: Passes before them that are not timed.
        rounds: Rounds over all networks; the least median of a network counts.
        on_entry: Told after every reading.
        timers: What takes the times.

    Raises:
        ArchError: The table lacks a block of one of the networks.
        ConfigError: There are too few networks, or the factor was fitted on one of them.
    """
    _check_networks(table, archs)
    predicted = [table.predict_ms(arch) for arch in archs]
    timers = timers or Timers.of(table.conditions, repeats, warmup)
    times = measure_networks(archs, timers=timers, rounds=rounds, what="networks", on_entry=on_entry)
    rows = tuple(
        LatencyErrorRow(arch.arch_id, ms, min(mine)) for arch, ms, mine in zip(archs, predicted, times, strict=True)
    )
    errors = [abs(row.error_pct) for row in rows]
    return LatencyErrorInfo(
        n=len(rows),
        mean_abs_error_pct=statistics.fmean(errors),
        worst_pct=max(errors),
        kendall_tau=_rank_correlation(rows),
        noise_pct=statistics.fmean(100 * (statistics.median(mine) / min(mine) - 1) for mine in times),
        rows=rows,
    )


def _check_networks(table: LatencyTable, archs: Sequence[ArchSpec]) -> None:
    if len(archs) < 2:
        raise ConfigError(f"the error of a latency table needs at least 2 networks to compare with, got {len(archs)}")
    known = sorted({arch.arch_id for arch in archs} & set(table.fitted_on))
    if known:
        raise ConfigError(f"networks must be others than those the table was fitted on, got {', '.join(known)}")


def _rank_correlation(rows: Sequence[LatencyErrorRow]) -> float:
    predicted, measured = [row.predicted_ms for row in rows], [row.measured_ms for row in rows]
    if len(set(predicted)) == 1 or len(set(measured)) == 1:
        return 0.0  # no order to agree on; scipy says NaN
    return float(kendalltau(predicted, measured).statistic)
