"""The part of the site that nobody writes by hand: what code can say about itself, and tables that stand elsewhere.

``{computed} WHAT ...`` in a page is replaced by what a function says at the build: the facts of a search space, the
keys of a part of the configuration, ratios of macs, the entries of public names. ``{figures} FILE`` is replaced by
rows of a table of another page, so that a measured number stands in one place. And Markdown that lives elsewhere in
the repository (contributing, the changelog, the studies in results/) becomes pages under ``generated/``.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils.parsers.rst import directives
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from computed import api, keys, pages, scaling, spaces, tables

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

WHAT = {
    "space": spaces.describe_space,
    "spaces": spaces.list_spaces,
    "keys": keys.describe_group,
    "names": api.describe_names,
    "roundings": scaling.describe_roundings,
    "factors": scaling.describe_factors,
    "grids": scaling.describe_grids,
}
QUIET = ("LOG", "generated/changelog")  # in the site, but not among what a search of it finds


class Computed(SphinxDirective):
    """``{computed} WHAT ARGUMENTS``: what a function of this package says, as Markdown."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the text."""
        what, *arguments = shlex.split(self.arguments[0])
        if what not in WHAT:
            raise self.error(f"computed knows {', '.join(WHAT)}; got {what!r}")
        return self.parse_text_to_nodes(WHAT[what](*arguments))


class Figures(SphinxDirective):
    """``{figures} FILE``: rows of the first table of a Markdown file whose header begins as ``header`` says."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {
        "header": directives.unchanged_required,
        "rows": directives.unchanged,
        "columns": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the table."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        try:
            table = tables.find_table(Path(absolute).read_text(encoding="utf-8"), self.options["header"])
            chosen = table.where(self.options.get("rows", "")).only(self.options.get("columns", ""))
        except (OSError, ValueError) as error:
            raise self.error(f"{self.arguments[0]}: {error}") from None
        return self.parse_text_to_nodes(chosen.to_markdown())


def _write_pages(app: Sphinx, config: object) -> None:
    """Write what is generated as whole pages, before Sphinx looks for pages."""
    pages.write_pages(Path(app.srcdir))


def _mend_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Lead links out of docs/ to the page that their file has in the site."""
    if not docname.startswith(pages.FOLDER):
        source[0] = pages.mend_links(source[0], Path("docs") / f"{docname}.md", Path("docs") / f"{docname}.md")


def _drop_empty_globs(app: Sphinx, docname: str, source: list[str]) -> None:
    """Leave out what a toctree has room for and nobody has written yet, of which Sphinx would warn."""
    here = Path(app.srcdir, docname).parent

    def keep(match: re.Match[str]) -> str:
        return match[0] if any(here.glob(f"{match[1]}*.md")) else ""

    source[0] = re.sub(r"^([\w/-]+)\*\n", keep, source[0], flags=re.MULTILINE)


def _keep_out_of_search(app: Sphinx, env: BuildEnvironment) -> None:
    for docname in QUIET:
        if docname not in env.found_docs:
            raise ExtensionError(f"the page {docname} is not there to be kept out of the search")
        env.metadata[docname]["nosearch"] = True


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx what is here."""
    app.add_directive("computed", Computed)
    app.add_directive("figures", Figures)
    app.connect("config-inited", _write_pages)
    app.connect("source-read", _mend_links)
    app.connect("source-read", _drop_empty_globs)
    app.connect("env-updated", _keep_out_of_search)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
