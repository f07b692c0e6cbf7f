"""The page as one HTML document that needs nothing else: no network, no other file.

What comes from the record is JSON in a script element that no browser runs, with every character escaped that could
end it; the page's own scripts make text nodes of it. A content security policy lets through only those scripts, by
their hashes, so that a text that slipped into the markup would still be none.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from plotly.offline import get_plotlyjs

from scalesearch.report.page.payload import Payload

_ASSETS = files(__package__) / "assets"
_SCRIPTS = ("dom", "state", "theme", "frontier", "drawing", "detail", "table", "charts", "sections", "live", "main")
"""In the order in which they are run; each adds to the one name ``page``."""

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_page(payload: Payload, *, live: str = "") -> str:
    """Return the document.

    Args:
        payload: What it shows.
        live: Of a page that is served, the version of the payload: the page asks for the next one.
    """
    scripts = [get_plotlyjs(), *map(_script, _SCRIPTS)]
    parts = {
        "policy": html.escape(content_policy(is_live=bool(live))),
        "title": html.escape(" and ".join(study["name"] for study in payload["studies"])),
        "style": _asset("page.css"),
        "live": html.escape(live),
        "payload": embed(payload),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    document = _asset("page.html")
    for name, text in parts.items():  # payload and scripts come last: what they hold is not looked into again
        before, after = document.split(f"<!--{name}-->" if name in ("payload", "scripts") else f"%{name}%", 1)
        document = before + text + after
    return document


def embed(value: object) -> str:
    r"""Return a value as JSON that may stand inside a script element, whatever texts it holds.

    Example:
        >>> embed({"class": "</script>"})
        '{"class":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text


@cache
def content_policy(*, is_live: bool) -> str:
    """Return the content security policy: our own scripts, pictures that are part of the page, nothing else.

    Plotly sets styles from its script, hence ``unsafe-inline`` for styles alone.
    """
    sources = _hashes([get_plotlyjs(), *map(_script, _SCRIPTS)])
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(sources),
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'self'" if is_live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hashes(scripts: Sequence[str]) -> list[str]:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def _script(name: str) -> str:
    return _asset(f"{name}.js")


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
