"""YAML, JSON and XML from strangers: tags, documents that unfold to gigabytes, and a thousand brackets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from scalesearch.arch import SearchSpace
from scalesearch.arch.plain_yaml import parse_yaml
from scalesearch.arch.reading import read_arch, read_rule
from scalesearch.detection.arch.reading import load_detector
from scalesearch.detection.data.coco import CocoFiles, open_coco
from scalesearch.detection.data.voc import open_voc
from scalesearch.errors import ConfigError, DataError, ScalesearchError
from scalesearch.measure.latency_table.table import LatencyTable
from scalesearch.scaling.verdict import Verdict
from scalesearch.study.folder import StudyFolder
from tests.security.attacks import little_memory
from tests.security.documents import COCO, write_picture

READ_YAML: dict[str, Callable[[Path], object]] = {
    "space": SearchSpace.load,
    "arch": lambda path: read_arch(str(path)),
    "factors": lambda path: read_rule(str(path)),
    "verdict": Verdict.load,
    "detector": load_detector,
    "config.yaml": lambda path: StudyFolder(path.parent).read_config(),
}
TENS = [", ".join([f"*a{n}"] * 10) for n in range(12)]  # each alias ten times
LAUGHS = "a0: &a0 [ha]\n" + "".join(f"a{n + 1}: &a{n + 1} [{ten}]\n" for n, ten in enumerate(TENS))
MERGES = "a0: &a0 {ha: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{ten}]}}\n" for n, ten in enumerate(TENS))
TAGS = ("!!python/object/apply:os.system ['touch VICTIM']", "!!python/name:os.system", "!!python/object/new:set [[1]]")
TAGS += ("!!map {a: 1}", "!!timestamp x", "!own x", "! x")


@pytest.mark.parametrize("reader", READ_YAML)
@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_is_refused_and_does_not_run(tmp_path: Path, reader: str, tag: str) -> None:
    path, victim = tmp_path / "config.yaml", tmp_path / "victim"
    path.write_text(f"stages: {tag.replace('VICTIM', str(victim))}\n", encoding="utf-8")
    with pytest.raises(ScalesearchError, match=rf"^{path}: tags are not read, got \S+ in line 1$"):
        READ_YAML[reader](path)
    assert not victim.exists()


@pytest.mark.parametrize("reader", READ_YAML)
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (LAUGHS, "at most 100,000 values are read, aliases followed"),
        (MERGES, "at most 100,000 values are read, aliases followed"),
        ("a: &a [*a]\n", "a value must not hold itself"),
        ("a: &a {b: {c: *a}}\n", "a value must not hold itself"),
        ("[" * 5000, "values must be nested at most 50 deep"),
        ("- " * 1000, "values must be nested at most 50 deep"),
        ("".join(f"{' ' * n}a:\n" for n in range(200)), "values must be nested at most 50 deep"),
        ("a: " + "9" * 5000, r"a value cannot be read \(Exceeds the limit"),
        ("a: 2001-99-99", r"a value cannot be read \(month must be in 1\.\.12"),
        ("a: 1\n--- \nb: 2", "expected a single document"),
    ],
    ids=["laughs", "merges", "itself", "deeply itself", "flow", "block", "mapping", "digits", "date", "two documents"],
)
def test_yaml_that_unfolds_or_nests_without_end_is_one_sentence(
    tmp_path: Path, reader: str, text: str, sentence: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with little_memory(), pytest.raises(ScalesearchError, match=rf"^{path}: {sentence}") as refusal:
        READ_YAML[reader](path)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 1000


def test_aliases_that_say_something_once_are_read() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}, e: *a}\n") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1, "e": [1, 2]},
    }


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, True, None, "x", float("inf")]}, [], "text", {"a": {"b": {"c": "d: e"}}}]
)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value


def test_a_space_with_more_settings_than_can_be_built_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    many = list(range(1, 400, 2))
    path.write_text(
        f"stages: [{{block: ir, kernel_size: {many}, out_channels: {many}, num_blocks: {many}}}]", encoding="utf-8"
    )
    sentence = r"the choices of all stages must make at most 100,000 settings, got 8,000,000$"
    with little_memory(), pytest.raises(ScalesearchError, match=sentence):
        SearchSpace.load(path)


@pytest.mark.parametrize("field", ["r", "k", "c", "e", "se"])
def test_a_block_string_with_a_number_no_machine_builds_is_refused(field: str) -> None:
    for digits in ("9" * 5000, "9" * 300 + ".5", "1" + "0" * 7):
        parts = {"r": "1", "k": "3", "s": "1", "e": "6", "c": "16", field: digits}
        with pytest.raises(ScalesearchError) as refusal:
            read_arch("ir_" + "_".join(f"{code}{value}" for code, value in parts.items()))
        assert len(str(refusal.value)) < 500


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "text", [DEEP, '{"a":' * 100_000, '{"images": ' + DEEP + "}", '{"images": ' + "9" * 5000 + "}"]
)
def test_json_that_nests_without_end_is_no_coco_and_no_latency_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"^{path}: must be a COCO json, got one that cannot be parsed: "):
        open_coco({"train": CocoFiles(path, tmp_path)})
    with pytest.raises(ConfigError, match=rf"^{path}: it must be a latency table that scalesearch wrote; "):
        LatencyTable.load(path)


def test_half_characters_and_endless_values_of_a_json_are_refused_shortly(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    for name in ("\ud800", ["x"] * 100_000):
        path.write_text(json.dumps({**COCO, "categories": [{"id": 1, "name": name}]}), encoding="utf-8")
        with pytest.raises(
            DataError, match=r"categories\[0\] must have a whole number as id and a name, got "
        ) as refusal:
            open_coco({"train": CocoFiles(path, tmp_path)})
        assert len(str(refusal.value)) < 500


BOMB = '<!ENTITY e0 "ha">' + "".join(f'<!ENTITY e{n + 1} "&e{n};&e{n};">' for n in range(39))


@pytest.mark.parametrize(
    "declared",
    [BOMB, '<!ENTITY e39 SYSTEM "file:///etc/passwd">', '<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;', ""],
    ids=["laughs", "file", "network", "empty"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_xml_with_a_document_type_is_refused_before_its_entities(
    tmp_path: Path, declared: str, encoding: str
) -> None:
    write_picture(tmp_path / "x.png")
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE annotation [{declared}]>'
    text += "<annotation><object><name>&e39;</name></object></annotation>"
    (tmp_path / "x.xml").write_bytes(text.encode(encoding))
    with (
        little_memory(),
        pytest.raises(DataError, match=r"x\.xml: must be an annotation in plain xml, got a document type"),
    ):
        open_voc(tmp_path)


def test_an_xml_of_a_hundred_thousand_levels_or_of_no_known_encoding_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png")
    for text in ("<annotation>" + "<a>" * 100_000, '<?xml version="1.0" encoding="utf-0"?><annotation/>'):
        (tmp_path / "x.xml").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"x\.xml: must be an annotation in plain xml, got "):
            open_voc(tmp_path)
