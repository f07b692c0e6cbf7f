from __future__ import annotations

from pathlib import Path

import pytest

from scalesearch.arch.files import load_value, save_values
from scalesearch.errors import ArchError


@pytest.mark.parametrize("name", ["value.yaml", "value.json"])
def test_what_is_saved_is_loaded(tmp_path: Path, name: str) -> None:
    values = {"size": 3, "parts": [{"name": "a"}]}
    save_values(values, tmp_path / name)
    assert load_value(tmp_path / name, dict, "values are a mapping") == values
    assert (tmp_path / name).read_text(encoding="utf-8").startswith("{") == name.endswith(".json")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"- 1\n", r"values are a mapping, got \[1\]"),
        (b"a: [1\n", "while parsing a flow sequence"),
        (b"\xff\xfe\xfa", "codec can't decode|special characters|unacceptable"),
        (b"a: 1\n", "a must be 2, got 1"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(tmp_path: Path, text: bytes, sentence: str) -> None:
    def refuse(values: object) -> None:
        raise ArchError("a must be 2, got 1")

    path = tmp_path / "value.yaml"
    path.write_bytes(text)
    with pytest.raises(ArchError, match=rf"value\.yaml: .*({sentence})") as raised:
        load_value(path, refuse, "values are a mapping")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArchError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        load_value(tmp_path / "none.yaml", dict, "values are a mapping")
