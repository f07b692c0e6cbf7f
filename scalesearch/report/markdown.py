"""Tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd


def table_lines(table: pd.DataFrame) -> str:
    """Return a table: numbers with four digits, large ones with separators, NaN as nothing."""
    head = [" | ".join(map(_text, table.columns)), " | ".join("---" for _ in table.columns)]
    rows = [" | ".join(_cell(value) for value in row) for row in table.itertuples(index=False)]
    return "\n".join(f"| {row} |" for row in [*head, *rows])


def renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the columns that were measured, under the names that people read."""
    measured = [name for name in names if name in table.columns and table[name].notna().any()]
    return table[measured].rename(columns=dict(names))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _text(value: object) -> str:
    """Return a text as a cell holds it: in one line, and a bar as no border."""
    return " ".join(str(value).split("\n")).replace("|", "\\|")
