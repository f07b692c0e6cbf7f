"""What scaling curves say: each strategy's networks over one cost, its power law, and where that would lead.

Pure functions from the table of the scaling curves to the frozen values that ``plot_curves`` draws: the figure of Tan
& Le 2019 (arXiv 1905.11946, figure 3) and Dollar et al. 2021 (arXiv 2103.06877), with seeds and with latency. A law's
line between the measured networks and beyond them are kept apart: the second is an extrapolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalesearch.errors import StudyError
from scalesearch.report.info import CostName, ScoreName
from scalesearch.scaling.curves import curve_points, fit_curve, strategies_of
from scalesearch.scaling.members import COMPOUND
from scalesearch.scaling.power_law import PowerLaw

Point = tuple[float, float]

REACH = 4.0
"""Times a strategy's highest cost that its law is drawn to at most, and never by more than was measured below it."""

_NUM_STEPS = 40  # of a drawn law: it bends little
_NEEDED = ("member", "strategy", "phi", "arch_id", "macs", "val_top1", "val_top1_se", "num_seeds")


@dataclass(frozen=True)
class CurvePoint:
    """One network: its cost, and its score as the mean over seeds; the standard error is NaN with one seed."""

    label: str
    phi: float
    cost: float
    score: float
    standard_error: float
    num_seeds: int
    arch_id: str


@dataclass(frozen=True)
class CurveFit:
    """The power law of a strategy's error, ``1 - top-1 = coefficient * cost^-exponent``.

    ``measured`` and ``extrapolated`` are (cost, score) on its line: between the networks, and from the dearest on.
    ``largest_residual`` is the largest deviation from it, as a share of the error.
    """

    exponent: float
    exponent_se: float
    largest_residual: float
    measured: tuple[Point, ...]
    extrapolated: tuple[Point, ...]


@dataclass(frozen=True)
class CurveInfo:
    """One strategy in rising macs, the base first; ``fit`` is None where it has too few networks for one."""

    strategy: str
    points: tuple[CurvePoint, ...]
    fit: CurveFit | None


@dataclass(frozen=True)
class CurvesInfo:
    """Every strategy over one cost, ``compound`` first; ``base`` is the network they share, None where not trained.

    ``num_left_out`` networks lack the cost or the score.
    """

    curves: tuple[CurveInfo, ...]
    base: CurvePoint | None
    cost_name: CostName
    score_name: ScoreName
    num_left_out: int
    title: str

    def own_points(self, curve: CurveInfo) -> tuple[CurvePoint, ...]:
        """Return a strategy's networks without the base."""
        return tuple(point for point in curve.points if self.base is None or point.arch_id != self.base.arch_id)


def curves_info(table: pd.DataFrame, *, cost: CostName = "macs", title: str = "") -> CurvesInfo:
    """Return the curves over one cost.

    Args:
        table: One row a network, as ``run_scaling_curves`` gives it.
        cost: The column on the cost axis.
        title: What the picture shows; empty for a plain description.

    Raises:
        StudyError: A column is missing, or no network has both cost and score.
    """
    missing = [name for name in (*_NEEDED, cost) if name not in table.columns]
    if missing:
        raise StudyError(
            f"the table of curves lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}"
        )
    measured = table[np.isfinite(table[[cost, "val_top1"]].to_numpy(dtype=float)).all(axis=1)]
    if measured.empty:
        raise StudyError(f"no network of the curves has both {cost} and val_top1, of {len(table)}")
    bases = _points(measured[(measured.strategy == COMPOUND) & (measured.phi == 0)], cost)
    curves = (_curve(measured, strategy, cost) for strategy in strategies_of(measured))
    return CurvesInfo(
        curves=tuple(curves),
        base=bases[0] if bases else None,
        cost_name=cost,
        score_name="val_top1",
        num_left_out=len(table) - len(measured),
        title=title or "What compute buys, by what grows: depth, width, resolution, or all of them",
    )


def _curve(measured: pd.DataFrame, strategy: str, cost: CostName) -> CurveInfo:
    law = fit_curve(measured, strategy, cost)
    return CurveInfo(
        strategy=strategy,
        points=_points(curve_points(measured, strategy), cost),
        fit=None if law is None else _fit(law),
    )


def _points(rows: pd.DataFrame, cost: CostName) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            label=str(row["member"]),
            phi=float(row["phi"]),
            cost=float(row[cost]),
            score=float(row["val_top1"]),
            standard_error=float(row["val_top1_se"]),
            num_seeds=int(row["num_seeds"]),
            arch_id=str(row["arch_id"]),
        )
        for row in rows.to_dict("records")
    )


def _fit(law: PowerLaw) -> CurveFit:
    return CurveFit(
        exponent=law.exponent,
        exponent_se=law.exponent_se,
        largest_residual=law.largest_residual,
        measured=_line(law, np.geomspace(law.lowest, law.highest, _NUM_STEPS).tolist()),
        extrapolated=_line(law, np.geomspace(law.highest, _reach(law) * law.highest, _NUM_STEPS).tolist()),
    )


def _reach(law: PowerLaw) -> float:
    return min(REACH, law.highest / law.lowest)


def _line(law: PowerLaw, costs: Sequence[float]) -> tuple[Point, ...]:
    return tuple((cost, 1 - law.error_at(cost)) for cost in costs)
