"""Pages that are written whole at the build, below ``generated/``, and links between them and the written ones.

Contributing, the changelog and the studies of results/ live elsewhere in the repository, where a code host shows them;
the site has them as pages. A link to a file that has a page leads to the page, wherever it was written.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from computed.keys import verb_pages

FOLDER = "generated"
REPO = Path(__file__).resolve().parent.parent.parent

_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)]*)?\)")
_FENCE = re.compile(r"^(```.*?^```)", flags=re.DOTALL | re.MULTILINE)


def mirrored_pages() -> dict[Path, Path]:
    """Return the page of each Markdown file outside docs/ that has one, both from the top of the repository."""
    studies = sorted(path.parent.name for path in (REPO / "results").glob("*/README.md"))
    return {
        Path("CONTRIBUTING.md"): Path("docs", FOLDER, "contributing.md"),
        Path("CHANGELOG.md"): Path("docs", FOLDER, "changelog.md"),
        Path("README.md"): Path("docs", "index.md"),
        **{Path("results", name, "README.md"): Path("docs", FOLDER, "studies", f"{name}.md") for name in studies},
    }


def mend_links(text: str, written: Path, shown: Path) -> str:
    """Return a text whose relative links hold where it is shown, and lead to pages where their files have one.

    Args:
        text: Markdown; what is fenced as code is left alone.
        written: The file it stands in, from the top of the repository.
        shown: The page that shows it, likewise.
    """
    mirrored = mirrored_pages()

    def mend(match: re.Match[str]) -> str:
        head, target, anchor = match[1], match[2], match[3] or ""
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = Path(os.path.normpath(written.parent / target))
        path = mirrored.get(path, path)
        return f"{head}{os.path.relpath(path, shown.parent)}{anchor})"

    pieces = _FENCE.split(text)
    return "".join(piece if piece.startswith("```") else _LINK.sub(mend, piece) for piece in pieces)


def write_pages(docs: Path) -> None:
    """Write all generated pages below ``docs/generated``; what has not changed is not written again."""
    folder = docs / FOLDER
    wanted = {folder / "verbs" / name: text for name, text in verb_pages().items()}
    for written, shown in mirrored_pages().items():
        if shown.parts[1] == FOLDER:
            text = (REPO / written).read_text(encoding="utf-8")
            wanted[docs.parent / shown] = mend_links(text, written, shown)
    wanted[folder / "studies" / "index.md"] = _studies_page()
    if folder.is_dir():
        for path in folder.rglob("*.md"):
            if path not in wanted:
                path.unlink()
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _studies_page() -> str:
    return (
        "# Studies\n\nEach was run by the commands that stand in it, on the machine it names, and its folder in"
        " `results/` has the tables and pictures. Their databases are not kept.\n\n"
        "```{toctree}\n:titlesonly:\n:glob:\n\n*\n```\n"
    )
