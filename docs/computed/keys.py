"""The keys of every verb as pages, and those of one part of the configuration as a table: what ``--help`` prints."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from computed.tables import write_table
from scalesearch.cli import VERBS, main
from scalesearch.config import conf_of, describe_keys
from scalesearch.report.markdown import plain_text
from scalesearch.schemas import SCHEMAS


def describe_group(verb: str, *prefixes: str) -> str:
    """Return the keys of a verb that begin with one of ``prefixes``, as ``score.`` or ``sampler``.

    Raises:
        ValueError: No key does.
    """
    rows = [row for row in describe_keys(SCHEMAS[verb]) if row[0].startswith(prefixes)]
    if not rows:
        raise ValueError(f"scalesearch {verb} has no keys that begin with {', '.join(prefixes)}")
    return _table(rows)


def verb_pages() -> dict[str, str]:
    """Return a page for each verb by its file's name, and the page that lists them."""
    pages = {f"{verb}.md": _verb_page(verb) for verb in VERBS}
    listed = [[f"[`{verb}`]({verb}.md)", plain_text(_said(verb)[0])] for verb in VERBS]
    toctree = "\n".join(VERBS)
    pages["index.md"] = (
        "# Verbs and their keys\n\nWhat `scalesearch VERB --help` prints, of this version.\n\n"
        + write_table(["verb", "does"], listed)
        + f"\n```{{toctree}}\n:hidden:\n:titlesonly:\n\n{toctree}\n```\n"
    )
    return pages


def _verb_page(verb: str) -> str:
    meaning, example = _said(verb)
    parts = [f"# {verb}", plain_text(meaning), f"```sh\n{example}\n```"]
    if verb in SCHEMAS:
        groups = _groups(verb)
        if groups:
            parts += ["## Groups", "A group is chosen by name and sets several keys at once.", groups]
        parts += ["## Keys", _table(describe_keys(SCHEMAS[verb]))]
    else:
        parts.append(_rest_of_help(verb))
    return "\n\n".join(parts) + "\n"


def _table(rows: object) -> str:
    cells = [[f"`{key}`", f"`{default}`" if default else "", plain_text(meaning)] for key, default, meaning in rows]  # type: ignore[attr-defined]
    return write_table(["key", "default", "meaning"], cells)


def _help(verb: str) -> list[str]:
    """Return the paragraphs that ``scalesearch VERB --help`` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([verb, "--help"])
    return out.getvalue().split("\n\n")


def _said(verb: str) -> tuple[str, str]:
    """Return what a verb does, and its example."""
    paragraphs = _help(verb)
    meaning = " ".join(paragraphs[0].split(": ", 1)[-1].split())
    example = next((text for text in paragraphs[1:] if text.startswith("  scalesearch ")), f"scalesearch {verb}")
    return meaning, "\n".join(line.strip() for line in example.splitlines())


def _rest_of_help(verb: str) -> str:
    """Return what a verb without a table of keys says below its example."""
    return "\n\n".join(text.replace("*", r"\*") for text in _help(verb)[2:])


def _groups(verb: str) -> str:
    """Return the choices of each group of a verb's yaml, with the first sentence of their own files."""
    folder = conf_of(verb)
    used = {line.split(":")[0].strip(" -") for line in _defaults(folder / f"{verb}.yaml")}
    rows = []
    for group in sorted(path for path in folder.iterdir() if path.is_dir() and path.name in used):
        rows += [[f"`{group.name}={path.stem}`", plain_text(_comment(path))] for path in sorted(group.glob("*.yaml"))]
    return write_table(["choice", "is"], rows) if rows else ""


def _defaults(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("  - ")]


def _comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
