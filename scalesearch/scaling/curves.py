"""Scaling curves: accuracy against cost when depth, width or resolution grows alone, and when all grow together.

The figure of the papers (Tan & Le 2019, arXiv 1905.11946, figures 3 and 8; Dollar et al. 2021, arXiv 2103.06877), with
seeds. It is a comparison between strategies, which decisions may follow, so it reads the search-val split and leaves
the test split to the family.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from scalesearch.atomic import write_atomically
from scalesearch.scaling.family import FamilyConfig, run_members
from scalesearch.scaling.members import COMPOUND
from scalesearch.scaling.power_law import FEWEST, PowerLaw, fit_power_law

PART = "curves"
COSTS = ("macs", "latency_ms")


@dataclass(frozen=True, slots=True)
class CurvesResult:
    """One row a network, one row a fit, and the trials behind them."""

    table: pd.DataFrame
    fits: pd.DataFrame
    trials: pd.DataFrame


def run_scaling_curves(config: FamilyConfig) -> CurvesResult:
    """Train the base, its siblings and their rivals with each seed; fit a power law to every strategy.

    Writes ``curves.csv``, ``curves-fits.csv`` and ``trials.csv`` into the study's folder.

    Raises:
        ScalesearchError: As ``run_family``.
    """
    result = run_members(config, PART, reads_test=False)
    fits = summarise_fits(result.table)
    write_atomically(config.folder.table("curves-fits"), fits.to_csv(index=False))
    return CurvesResult(result.table, fits, result.trials)


def curve_points(table: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """Return the networks of one strategy in rising macs, each once; the base begins every curve.

    Args:
        table: As ``run_scaling_curves`` gives it.
        strategy: ``compound``, or one of a rival.
    """
    is_base = (table.strategy == COMPOUND) & (table.phi == 0)
    return table[(table.strategy == strategy) | is_base].drop_duplicates("arch_id").sort_values("macs")


def strategies_of(table: pd.DataFrame) -> list[str]:
    """Return the strategies of a table, ``compound`` first."""
    return sorted(table.strategy.unique(), key=lambda name: name != COMPOUND)


def fit_curve(table: pd.DataFrame, strategy: str, cost: str) -> PowerLaw | None:
    """Return the power law of one strategy, None where too few of its networks were trained."""
    points = curve_points(table, strategy).dropna(subset=["val_top1"])
    points = points[points.val_top1 < 1]
    if points[cost].nunique() < FEWEST:
        return None
    return fit_power_law(points[cost].astype(float).tolist(), (1 - points.val_top1).tolist())


def summarise_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each strategy and cost that was fitted."""
    rows = []
    for cost in COSTS:
        for strategy in strategies_of(table):
            fit = fit_curve(table, strategy, cost)
            if fit is not None:
                rows.append(
                    {
                        "cost": cost,
                        "strategy": strategy,
                        "networks": len(fit.residuals),
                        "exponent": fit.exponent,
                        "exponent_se": fit.exponent_se,
                        "coefficient": fit.coefficient,
                        "largest_residual": fit.largest_residual,
                        "lowest": fit.lowest,
                        "highest": fit.highest,
                    }
                )
    columns = ["cost", "strategy", "networks", "exponent", "exponent_se", "coefficient", "largest_residual"]
    return pd.DataFrame(rows, columns=[*columns, "lowest", "highest"])
