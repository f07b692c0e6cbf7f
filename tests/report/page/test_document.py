"""The document: what it embeds, and what it lets a browser run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from scalesearch.report.page.document import content_policy, embed, write_page
from scalesearch.report.page.payload import Payload

EVIL = "</script><script>alert(1)</script><!-- & \u2028\u2029"
EMPTY = Payload(studies=[], landmarks=[], cost_labels={EVIL: EVIL}, score_labels={})


class Scripts(HTMLParser):
    """The scripts of a document as a browser would part them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str | None, str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        if self._inside:
            self.texts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            kind, text = self.texts[-1]
            self.texts[-1] = kind, text + data


def scripts(document: str) -> list[tuple[str | None, str]]:
    parser = Scripts()
    parser.feed(document)
    return parser.texts


def test_no_text_ends_the_script_it_stands_in() -> None:
    assert not set("<>&\u2028\u2029") & set(embed({EVIL: [EVIL]}))
    assert json.loads(embed({EVIL: [EVIL]})) == {EVIL: [EVIL]}


def test_the_payload_is_the_only_script_that_is_not_run_and_comes_back_whole() -> None:
    found = scripts(write_page(EMPTY))
    (data,) = [text for kind, text in found if kind == "application/json"]
    assert json.loads(data) == EMPTY
    assert all(kind is None for kind, text in found if text != data)
    assert "alert(1)" not in "".join(text for kind, text in found if kind is None)


def test_every_script_has_its_hash_in_the_policy_and_nothing_else_may_run() -> None:
    document = write_page(EMPTY)
    rules = dict(rule.split(" ", 1) for rule in content_policy(is_live=False).split("; "))
    assert len(rules["script-src"].split()) == len(scripts(document)) - 1
    assert all(re.fullmatch(r"'sha256-[\w+/=]{44}'", source) for source in rules["script-src"].split())
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert dict(rule.split(" ", 1) for rule in content_policy(is_live=True).split("; "))["connect-src"] == "'self'"


def test_the_page_names_nothing_outside_itself() -> None:
    document = write_page(EMPTY)
    markup = re.sub(r"<script.*?</script>|<style.*?</style>", "", document, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["'](?!#)""", markup)
    assert "innerHTML" not in "".join(text for kind, text in scripts(document)[2:])
