"""Bytes that are almost a document: a valid one with some of it deleted, doubled, moved or replaced by what breaks.

One function for both users: hypothesis hands it a ``Random`` that it can shrink, the benchmark a seeded one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

# Numbers, texts and marks at which readers of any format have failed somewhere.
WORDS: tuple[bytes, ...] = (
    *(b"0", b"-1", b"1e999", b"-1e-999", b"nan", b".nan", b"inf", b"NaN", b"Infinity", b"0x" + b"f" * 4000),
    *(b"1" + b"0" * 30, b"9" * 400, b"9" * 5000, b"1.5", b"1_0", b"1:2:3", b"2001-99-99", b"0b1", b"0o7"),
    *(b"null", b"~", b"true", b"[]", b"{}", b'""', b"[[[[", b"]]", b"}}", b"&a", b"*a", b"<<: *a", b"- ", b"? "),
    *(b"!!python/object/apply:os.system [x]", b"!!int x", b"!!timestamp x", b"!!binary x", b"!!set {a}", b"!x y"),
    *(
        b"\0",
        b"\n",
        b"\t",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\\ud800",
        b"\xed\xa0\x80",
        b"\xef\xbc\x92",
        "ß".encode(),
        b"\x85",
    ),
    *(
        b"../..",
        b"/etc/passwd",
        b"a" * 300,
        b"${oc.env:HOME}",
        b"<!DOCTYPE a>",
        b"&lt;",
        b"&e;",
        b"<![CDATA[",
        b"_",
        b",",
    ),
    *(b"=", b":", b"'", b'"', b"#", b"%", b"@", b"|", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"),
)
_MOST_CHANGES = 5
_LONGEST_SLICE = 40
_DEPTHS = (3,) * 10 + (60,) * 9 + (3000,)  # a thousand brackets are dear to read, and once is enough
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")
_BRACKETS = (b"[", b"{", b"- ", b'{"a":', b"<a>", b"(", b"[[", b'"', b"\\")


def mutate(rng: random.Random, documents: Sequence[bytes]) -> bytes:
    """Return one of the documents, changed in one to five places."""
    content = rng.choice(documents)
    for _ in range(rng.randint(1, _MOST_CHANGES)):
        content = rng.choice(_CHANGES)(rng, content, documents)
    return content


def _slice(rng: random.Random, content: bytes) -> tuple[int, int]:
    start = rng.randint(0, len(content))
    return start, min(len(content), start + rng.randint(0, _LONGEST_SLICE))


def _delete(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _slice(rng, content)
    return content[:start] + content[end:]


def _double(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _slice(rng, content)
    return content[:end] + content[start:end] * rng.randint(1, 4) + content[end:]


def _insert(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(content))
    return content[:at] + rng.choice(WORDS) + content[at:]


def _replace(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _slice(rng, content)
    return content[:start] + rng.choice(WORDS) + content[end:]


def _renumber(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """Replace a number, which keeps the document one that is parsed to its end."""
    found = list(_NUMBER.finditer(content[:20_000]))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + rng.choice(WORDS) + content[match.end() :]


def _flip(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    if not content:
        return content
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def _truncate(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    return content[: rng.randint(0, len(content))]


def _splice(rng: random.Random, content: bytes, documents: Sequence[bytes]) -> bytes:
    other = rng.choice(documents)
    return content[: rng.randint(0, len(content))] + other[rng.randint(0, len(other)) :]


def _nest(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at, depth = rng.randint(0, len(content)), rng.choice(_DEPTHS)
    return content[:at] + rng.choice(_BRACKETS) * depth + content[at:]


_Change = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
# what keeps a document readable stands more often
_CHANGES: tuple[_Change, ...] = (
    *(_delete, _double, _insert, _replace, _flip, _truncate, _splice) * 2,
    *(_renumber,) * 8,
    _nest,
)
