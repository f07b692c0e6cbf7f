"""Tables as Markdown."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping

import pandas as pd

from scalesearch.errors import printable

_SPECIAL = re.compile(r"[\\`*|\[\]]")


def table_lines(table: pd.DataFrame, *, code: str = "") -> str:
    """Return a table: numbers with four digits, large ones with separators, NaN as nothing.

    Args:
        table: Its texts, such as classes' names, stay texts: none is a tag, a link or a border.
        code: The column whose texts are shown as typed.
    """
    head = [" | ".join(map(plain_text, table.columns)), " | ".join("---" for _ in table.columns)]
    ways = [_code if column == code else _cell for column in table.columns]
    rows = [" | ".join(way(value) for way, value in zip(ways, row, strict=True)) for row in _rows(table)]
    return "\n".join(f"| {row} |" for row in [*head, *rows])


def renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the columns that were measured, under the names that people read."""
    measured = [name for name in names if name in table.columns and table[name].notna().any()]
    return table[measured].rename(columns=dict(names))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else plain_text(value)


def _rows(table: pd.DataFrame) -> Iterable[tuple[object, ...]]:
    return table.itertuples(index=False, name=None)


def plain_text(value: object) -> str:
    r"""Return a foreign text as Markdown that shows it: in one line, no tag, no link, no border of a cell.

    Example:
        >>> plain_text("<b>cat</b> | [dog](x)")
        '&lt;b&gt;cat&lt;/b&gt; \\| \\[dog\\](x)'
    """
    escaped = html.escape(printable(str(value)), quote=False)
    return _SPECIAL.sub(r"\\\g<0>", escaped)


def _code(value: object) -> str:
    """Return a text between more backticks than it has in a row; an empty one as nothing."""
    text = printable(str(value)).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""
