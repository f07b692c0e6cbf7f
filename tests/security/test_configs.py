"""The command line and a study's ``config.yaml``: values, and nothing that would be looked up, built or run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scalesearch.cli import main
from scalesearch.config import load_config
from scalesearch.errors import ConfigError, ScalesearchError
from scalesearch.study.folder import StudyFolder

SECRET = "hunter2"
REFERENCES = [
    "${oc.env:SCALESEARCH_SECRET}",
    "x/${oc.env:SCALESEARCH_SECRET,none}",
    "${oc.decode:${oc.env:SCALESEARCH_SECRET}}",
    "${seed}",
    "${hydra:runtime.cwd}",
    "\\${seed}",
]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALESEARCH_SECRET", SECRET)


@pytest.mark.parametrize("key", ["data.root", "results", "study", "storage", "space"])
@pytest.mark.parametrize("value", REFERENCES)
def test_a_reference_on_the_command_line_is_refused_and_not_resolved(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ScalesearchError) as refusal:
        load_config("search", [f"results={tmp_path}", f"{key}={value}"])
    assert SECRET not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_the_sentence_says_which_key_must_be_plain() -> None:
    sentence = r"^data\.root must be a plain text without \$\{\.\.\.\}, got '\$\{oc\.env:SCALESEARCH_SECRET\}'$"
    with pytest.raises(ConfigError, match=sentence):
        load_config("search", ["data=folder", "data.root=${oc.env:SCALESEARCH_SECRET}"])


@pytest.mark.parametrize("value", REFERENCES[:4])
@pytest.mark.parametrize("key", ["device", "space", "data"])
def test_a_reference_in_a_studys_config_is_refused_and_reaches_no_file(
    tmp_path: Path, key: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study's folder may come from anybody: it must not show what the reader's environment holds."""
    folder = StudyFolder.of(tmp_path, "mine")
    folder.root.mkdir()
    section = {key: {"root": value} if key == "data" else value}
    folder.config.write_text(yaml.safe_dump({"search": section}), encoding="utf-8")
    where = "data.root" if key == "data" else key
    assert main(["search", f"results={tmp_path}", "study=mine", "trials=1"]) == 2
    said = capsys.readouterr().err
    assert f"{folder.config}: {where} must be a plain text without ${{...}}" in said
    assert SECRET not in said
    assert [path.name for path in folder.root.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("_target_=os.system", "got '_target_'"),
        ("data._target_=os.system", r"got 'data\._target_'"),
        ("+data._target_=os.system", "an argument is key=value"),
        ("data={_target_: os.system, _args_: [x]}", "data must be one of|an argument is key=value|data: "),
        ("train={_target_: os.system}", "train must be one of|an argument is key=value|train: "),
        ("space={_target_: os.system}", "space: "),
        ("hydra.run.dir=/tmp/x", r"got 'hydra\.run\.dir'"),
        ("hydra/launcher=basic", "got 'hydra/launcher'"),
        ("~data", "an argument is key=value"),
        ("data@x=folder", "an argument is key=value"),
        ("data=../../etc/passwd", "data must be one of"),
        ("seed=" + "[" * 500, "an argument is key=value"),
        ("seed=" + "9" * 5000, "an argument is key=value"),
        ("x" * 5000 + "=1", "search has the keys"),
        ("--config-dir=/tmp", "an argument is key=value"),
    ],
)
def test_what_hydra_could_build_or_lay_elsewhere_is_refused(argument: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config("search", [argument])


@pytest.mark.parametrize(
    "section",
    [
        {"data": {"_target_": "os.system", "_args_": ["touch x"]}},
        {"train": {"steps": {"_target_": "os.system"}}},
        {"seed": "many"},
        {"data": [1]},
        {"storage": "a\0b"},
        {"data": {1: 2}},
    ],
)
def test_a_studys_config_with_what_its_keys_cannot_be_is_refused_with_its_name(
    tmp_path: Path, section: dict[str, object]
) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    folder.root.mkdir()
    folder.config.write_text(yaml.safe_dump({"search": section}), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^{folder.config}: "):
        load_config("search", [f"results={tmp_path}", "study=mine"])


@pytest.mark.parametrize("section", [{5: 6}, {None: 1}, {"_target_": "os.system"}, {True: 1}])
def test_keys_that_a_part_does_not_have_are_left_out(tmp_path: Path, section: dict[object, object]) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    folder.root.mkdir()
    folder.config.write_text(yaml.safe_dump({"search": section}), encoding="utf-8")
    assert load_config("search", [f"results={tmp_path}", "study=mine"]).seed == 0


def test_a_shells_words_are_values(tmp_path: Path) -> None:
    value = "$(touch x); `touch x` && touch x | cat > x #"
    config = load_config("search", [f"data.root={value}", "data=folder", f"results={tmp_path}"])
    assert config.data.root == value
