"""What a command prints on standard output: sentences and tables."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_CONSOLE = Console(highlight=False, soft_wrap=True, markup=False)

_FILE_WIDTH = 170  # columns of a table that is not read in a terminal, which would say its own width


def wide_console() -> Console:
    """Return a console for tables: as wide as the terminal, or wide enough for a file."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """Print a table with a row for each of the frame's."""
    table = new_table(title, *(str(column) for column in frame.columns))
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    wide_console().print(table)


def new_table(title: str, *columns: str) -> Table:
    """Return a table without rows, its first column and blocks to the left, numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or column == "blocks" else "right", no_wrap=True)
    return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def say(text: str) -> None:
    """Print a sentence, as it is."""
    _CONSOLE.print(text, markup=False)


def say_written(*paths: Path) -> None:
    """Say which files were written."""
    say("Wrote " + ", ".join(str(path) for path in paths))
