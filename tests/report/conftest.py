"""A trials table of the form that the study hands out, a row at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

Row = dict[str, object]


def trial(part: str, arch_id: str, val_top1: float, macs: int, **changes: object) -> Row:
    """Return one complete trial; ``changes`` overrides or adds columns."""
    row: Row = {"part": part, "number": 0, "state": "COMPLETE", "arch_id": arch_id, "label": "", "seed": 0}
    row |= {"val_top1": val_top1, "test_top1": math.nan, "macs": macs, "params": macs // 20, "acts": macs // 10}
    return row | {"latency_ms": macs / 1e6, "image_size": 64, "train_seconds": 60.0} | changes


@pytest.fixture
def new_trial() -> Callable[..., Row]:
    return trial


@pytest.fixture
def trials() -> pd.DataFrame:
    """Four searched networks (one dominated), two random ones without latency, a family of three, two failures."""
    rows = [
        trial("search", f"s{i}", top1, macs) for i, (top1, macs) in enumerate([(0.5, 1), (0.6, 2), (0.55, 3), (0.7, 4)])
    ]
    rows += [trial("random", f"r{i}", 0.4 + i / 10, 2 + i, latency_ms=math.nan) for i in range(2)]
    for i in range(3):
        for seed in range(2):
            top1, label = 0.70 + 0.02 * i + 0.01 * seed, f"b{i}"
            rows.append(trial("family", f"f{i}", top1, 4 * 2**i, label=label, seed=seed, image_size=64 + 8 * i))
    rows.append(trial("search", "big", 0.0, 90, state="INFEASIBLE"))
    rows.append(trial("search", "nan", math.nan, 2, state="FAILED"))
    table = pd.DataFrame(rows)
    return table.assign(number=range(len(table)), macs=table["macs"] * 1_000_000, latency_ms=table["latency_ms"] * 1e6)


@pytest.fixture
def scale_trials() -> pd.DataFrame:
    """Three scaling candidates with two seeds each: the first two 0.5 points apart, the third far below."""
    rules = {"deep": (1.4, 1.0, 0.700), "wide": (1.0, 1.2, 0.695), "large": (1.0, 1.0, 0.600)}
    rows = []
    for arch_id, (alpha, beta, top1) in rules.items():
        gamma = math.sqrt(2 / alpha) / beta
        extra = {"alpha": alpha, "beta": beta, "gamma": gamma, "product": 2.0, "realised_ratio": 1.9}
        luck = (-0.005, 0.005) if arch_id == "wide" else (0.005, -0.005)  # a shift common to all would be no noise
        rows += [trial("scale", arch_id, top1 + d, 8_000_000, seed=seed, **extra) for seed, d in enumerate(luck)]
    table = pd.DataFrame(rows)
    return table.assign(number=range(len(table)))
