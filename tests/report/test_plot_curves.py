"""The scaling curves' picture: every strategy, its fit where there is one, and where measuring ends."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from scalesearch.report.curves import curves_info
from scalesearch.report.plot_curves import plot_curves


def row(strategy: str, phi: float, macs: float, score: float) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "phi": phi,
        "macs": macs,
        "latency_ms": macs**0.5,
        "val_top1": score,
        "val_top1_se": 0.01,
        "num_seeds": 3,
        "image_size": 32,
        "arch_id": f"{strategy}-{phi}",
    }


@pytest.fixture
def figure() -> Figure:
    rows = [row("compound", phi, 4.0**phi, 0.5 + phi / 10) for phi in (0, 1, 2)]
    rows += [row("width", phi, 4.0**phi, 0.5 + phi / 20) for phi in (1, 2)]
    rows += [row("depth", 1, 4.0, 0.52)]
    return plot_curves(curves_info(pd.DataFrame(rows)))


def gids(figure: Figure, panel: int) -> dict[str, Any]:
    return {line.get_gid(): line for line in figure.axes[panel].lines if line.get_gid()}


def test_every_strategy_begins_at_the_base_in_both_panels(figure: Figure) -> None:
    for panel in (0, 1):
        lines = gids(figure, panel)
        for strategy in ("compound", "width", "depth"):
            assert (lines[f"curve-{strategy}"].get_xdata()[0], lines[f"curve-{strategy}"].get_ydata()[0]) == (1.0, 0.5)


def test_two_networks_have_no_fit(figure: Figure) -> None:
    assert "fit-compound" in gids(figure, 0)
    assert "fit-width" in gids(figure, 0)
    assert "fit-depth" not in gids(figure, 0)


def test_the_extrapolation_begins_at_the_highest_measured_cost(figure: Figure) -> None:
    lines = gids(figure, 0)
    assert lines["fit-compound"].get_xdata()[-1] == pytest.approx(16.0)
    assert lines["beyond-compound"].get_xdata()[0] == pytest.approx(16.0)
    assert lines["beyond-compound"].get_linestyle() == ":"
