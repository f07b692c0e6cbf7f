"""Scaling curves: every strategy begins at the base, nothing reads the test split, and a fit to each."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scalesearch.scaling.curves import CurvesResult, curve_points, run_scaling_curves, strategies_of
from tests.scaling.test_family import BASE, FormulaFamily
from tests.study.stand_ins import FormulaExecutor, settings


def curves(folder: Path, executor: FormulaExecutor) -> CurvesResult:
    BASE.save(folder / "base.yaml")
    keys = {"base": str(folder / "base.yaml"), "factors": "1.2,1.1,1.15", "phi": "0..3", "rivals": True, "seeds": 2}
    config = FormulaFamily(**settings(folder, **keys))
    config.used = executor
    return run_scaling_curves(config)


@pytest.fixture
def executor() -> FormulaExecutor:
    """Accuracy rises with the pixels."""
    return FormulaExecutor(lambda job: 0.5 + job.arch.image_size / 100)


def test_every_strategy_is_trained_and_begins_at_the_base(tmp_path: Path, executor: FormulaExecutor) -> None:
    table = curves(tmp_path, executor).table
    assert strategies_of(table)[0] == "compound"
    assert set(strategies_of(table)) == {"compound", "depth", "width", "resolution", "dWr"}
    for strategy in strategies_of(table):
        points = curve_points(table, strategy)
        assert points.arch_id.iloc[0] == BASE.arch_id
        assert points.macs.is_monotonic_increasing
    assert (table.num_seeds == 2).all()
    assert (table.latency_ms > 0).all()
    assert (table.peak_memory_mib > 0).all()


def test_the_test_split_is_not_read(tmp_path: Path, executor: FormulaExecutor) -> None:
    table = curves(tmp_path, executor).table
    assert not any(job.reads_test for _, job in executor.submitted)
    assert table.test_top1.isna().all()


def test_a_rivals_difference_is_paired_over_seeds(tmp_path: Path, executor: FormulaExecutor) -> None:
    table = curves(tmp_path, executor).table.set_index("member")
    gain = table.val_top1["phi=2 resolution"] - table.val_top1["phi=2"]
    assert table.minus_compound["phi=2 resolution"] == pytest.approx(gain)
    assert table.minus_compound_se["phi=2 resolution"] == pytest.approx(0.0, abs=1e-12)  # no seed differs
    assert pd.isna(table.minus_compound["phi=2"])


def test_each_strategy_has_a_fit_against_macs_and_latency(tmp_path: Path, executor: FormulaExecutor) -> None:
    result = curves(tmp_path, executor)
    fits = result.fits.set_index(["cost", "strategy"]).exponent
    assert fits["macs", "resolution"] > fits["macs", "compound"] > 0
    assert fits["macs", "width"] == pytest.approx(0.0, abs=1e-9)  # it gains nothing here
    written = pd.read_csv(tmp_path / "mine" / "curves-fits.csv")
    assert written.strategy.tolist() == result.fits.strategy.tolist()
