"""Tables in Markdown: found in a text by their header, cut down to some rows and columns, written again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class MarkdownTable:
    """A header and its rows, every cell as it is written."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def where(self, condition: str) -> MarkdownTable:
        """Return the rows where a column has one of some texts, as ``sampler = ours; random``; all if nothing is said.

        Raises:
            ValueError: There is no such column, or no row has one of the texts.
        """
        if not condition:
            return self
        name, _, texts = condition.partition("=")
        index, wanted = self._index(name.strip()), [text.strip() for text in texts.split(";")]
        missing = [text for text in wanted if text not in {row[index] for row in self.rows}]
        if missing:
            raise ValueError(f"no row has {missing[0]!r} under {name.strip()!r}")
        return MarkdownTable(self.header, tuple(row for row in self.rows if row[index] in wanted))

    def only(self, names: str) -> MarkdownTable:
        """Return the columns of these names, in this order; all where nothing is said.

        Raises:
            ValueError: There is no such column.
        """
        if not names:
            return self
        indices = [self._index(name.strip()) for name in names.split("|")]
        rows = (tuple(row[index] for index in indices) for row in self.rows)
        return MarkdownTable(tuple(self.header[index] for index in indices), tuple(rows))

    def to_markdown(self) -> str:
        """Return the table as text."""
        return write_table(self.header, self.rows)

    def _index(self, name: str) -> int:
        if name not in self.header:
            raise ValueError(f"the table has the columns {', '.join(self.header)}; got {name!r}")
        return self.header.index(name)


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def find_table(text: str, header: str) -> MarkdownTable:
    """Return the first table whose header begins with these columns, which are divided by ``|``.

    Raises:
        ValueError: There is none.
    """
    wanted = tuple(name.strip() for name in header.split("|"))
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines):
        if line.startswith("|") and _cells(line)[: len(wanted)] == wanted:
            body = lines[number + 2 :]
            end = next((count for count, row in enumerate(body) if not row.startswith("|")), len(body))
            return MarkdownTable(_cells(line), tuple(_cells(row) for row in body[:end]))
    raise ValueError(f"there is no table that begins with the columns {', '.join(wanted)}")


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in _BORDER.split(line.strip().strip("|")))
