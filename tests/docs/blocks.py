"""The fenced blocks of a page, run as a reader would: Python in one namespace, shell lines one after the other.

A line of ``scalesearch`` runs in this process, by ``main``, since importing torch anew for each would take most of the
time. ``<!-- smoke: KEY=VALUE ... -->`` before a block, which the site does not show, is appended to its commands.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalesearch.cli import main

LANGUAGES = ("sh", "python")
_BLOCK = re.compile(
    r"(?P<comments>(?:^<!--[^\n]*-->\n)*)^```(?P<language>\w+)\n(?P<text>.*?)^```$", flags=re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """What is run of a page.

    Attributes:
        language: One of ``LANGUAGES``.
        text: Between the fences.
        smoke: Arguments that make its commands small.
        marks: The other comments before it, as ``postgres``.
    """

    language: str
    text: str
    smoke: tuple[str, ...]
    marks: frozenset[str]


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page that are meant to be run; other languages, as console and text, are only shown."""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        comments = [line.removeprefix("<!--").removesuffix("-->").strip() for line in match["comments"].splitlines()]
        smoke = next((text.removeprefix("smoke:") for text in comments if text.startswith("smoke:")), "")
        marks = frozenset(text for text in comments if not text.startswith("smoke:"))
        if match["language"] in LANGUAGES:
            yield Block(match["language"], match["text"], tuple(shlex.split(smoke)), marks)


def run_block(block: Block, namespace: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Run a block in the current folder.

    Args:
        block: What to run.
        namespace: Of the page's Python, which goes on from block to block.
        environment: Values of ``$NAME`` in its commands.

    Raises:
        AssertionError: A command's exit code is not 0.
    """
    if block.language == "python":
        exec(compile(block.text, "page", "exec"), namespace)
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        words = [_filled(word, environment) for word in shlex.split(line, comments=True)]
        if words[:1] == ["scalesearch"]:
            assert main([*words[1:], *block.smoke]) == 0, line
        elif words:
            subprocess.run(words, check=True, env={**os.environ, **environment})


def _filled(word: str, environment: Mapping[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: environment[match[1]], word)
