"""Files of arguments: what they say to each verb, and that the command line lies over them."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arguments import quote, quoted, read_file
from scalesearch.config import describe_config, load_config, load_run_config
from scalesearch.errors import ConfigError, ScalesearchError
from scalesearch.schemas import SCHEMAS

FILE = """
study: mine
data: {format: folder, root: "pictures, mine", stored_size: 48}
train: full
train.steps: 70
budget: {macs: 5e6}
search: {trials: 9, train: {steps: 30}}
family: {phi: [0, 1], reads_nothing: 1}
"""


@pytest.fixture(autouse=True)
def in_a_folder_with_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(FILE.replace(", reads_nothing: 1", ""), encoding="utf-8")


def test_a_file_serves_every_verb_with_the_keys_it_has() -> None:
    search = load_config("search", ["config=mine.yaml"])
    assert (search.study, search.trials, search.budget.macs) == ("mine", 9, 5e6)
    assert (search.data.format, search.data.root, search.data.stored_size) == ("folder", "pictures, mine", 48)
    assert search.train.steps == 30
    family = load_config("family", ["config=mine.yaml"])
    assert (family.phi, family.train.steps, family.train.ema_decay) == ([0, 1], 70, search.train.ema_decay)
    assert load_config("report", ["config=mine.yaml"]).study == "mine"
    assert load_config("data-check", ["config=mine.yaml"]).data.root == "pictures, mine"


def test_the_command_line_lies_over_the_file_wherever_it_names_it() -> None:
    for arguments in (["trials=3", "config=mine.yaml"], ["config=mine.yaml", "trials=3"]):
        assert load_config("search", arguments).trials == 3


def test_a_group_of_the_command_line_begins_anew() -> None:
    data = load_config("search", ["config=mine.yaml", "data=patches"]).data
    assert (data.format, data.root, data.stored_size) == ("patches", "", 64)
    assert load_config("search", ["config=mine.yaml", "data.root=x"]).data.stored_size == 48


def test_run_hands_the_file_to_its_parts() -> None:
    run = load_run_config(["config=mine.yaml", "search.trials=2", "seed=4"])
    assert (run.search.study, run.search.trials, run.family.phi) == ("mine", 2, [0, 1])
    assert (run.search.train.steps, run.scale.train.steps, run.family.train.steps) == (30, 70, 70)
    assert {run.search.seed, run.scale.seed, run.family.seed} == {4}


def test_a_study_goes_on_with_what_the_file_says_now() -> None:
    load_config("search", ["config=mine.yaml"]).save("search")
    Path("results/mine").mkdir(parents=True, exist_ok=True)
    Path("mine.yaml").write_text("study: mine\nsearch: {trials: 20}\n", encoding="utf-8")
    config = load_config("search", ["config=mine.yaml"])
    assert (config.trials, config.budget.macs) == (20, 5e6)


@pytest.mark.parametrize("verb", [verb for verb in SCHEMAS if verb not in ("new", "completion")])
def test_what_a_verb_shows_of_its_configuration_can_be_read_again(verb: str) -> None:
    config = load_config(verb, [])
    Path("shown.yaml").write_text(describe_config(config), encoding="utf-8")
    assert load_config(verb, ["config=shown.yaml"]) == config


def test_the_configuration_of_run_can_be_read_again() -> None:
    config = load_run_config(["study=mine", "search.trials=2", "family.phi=[0]"])
    Path("shown.yaml").write_text(describe_config(config), encoding="utf-8")
    assert load_run_config(["config=shown.yaml"]) == config


def test_passwords_are_not_shown() -> None:
    config = load_config("search", ["storage=postgresql://me:secret@host/db?password=other"])
    shown = describe_config(config)
    assert "secret" not in shown
    assert "other" not in shown
    assert yaml.safe_load(shown)["storage"] == "postgresql://me:***@host/db?password=***"


@settings(max_examples=15)
@given(st.text(alphabet=st.characters(exclude_characters="\0\r\n$", exclude_categories=("Cs", "Cc")), max_size=20))
def test_any_text_arrives_as_it_was(text: str) -> None:
    assert load_config("search", [f"data.name={quoted(text)}"]).data.name == text


@settings(max_examples=15)
@given(st.floats(allow_nan=False, min_value=1))
def test_any_number_of_a_file_arrives_as_it_was(tmp_path_factory: pytest.TempPathFactory, number: float) -> None:
    file = tmp_path_factory.mktemp("numbers") / "n.yaml"
    file.write_text(yaml.safe_dump({"budget": {"macs": number}}), encoding="utf-8")
    assert load_config("search", [f"config={file}"]).budget.macs == number
    assert math.isinf(load_config("search", []).budget.params)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("trails: 3", r"^mine\.yaml: it has keys of scalesearch's verbs, .*; got trails$"),
        ("- 3", r"^mine\.yaml: it must be a mapping of keys to values, got \[3\]$"),
        ("search: {trails: 3}", r"^scalesearch search has the keys .*; got 'trails' \(did you mean trials\?\)$"),
        ("data: foldr", "^data must be one of folder, npz, parquet, patches, torchvision, got 'foldr'$"),
        ("trials: many", "^trials: Value 'many' of type 'str' could not be converted to Integer"),
        ("study: ${oc.env:HOME}", r"^study must be a plain text without \$\{\.\.\.\}, got "),
        ("a: [", r"^config: mine\.yaml: while parsing"),
        ("!!python/object/apply:os.system [ls]", r"^config: mine\.yaml: "),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence(content: str, sentence: str) -> None:
    Path("mine.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ScalesearchError, match=sentence):
        load_config("search", ["config=mine.yaml"])


def test_a_file_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^config: nowhere\.yaml cannot be read \(No such file or directory\)$"):
        read_file("search", Path("nowhere.yaml"))


def test_no_verb_has_a_key_called_config() -> None:
    assert not [verb for verb, schema in SCHEMAS.items() if "config" in asdict(schema())]
    assert quote("arch=a,b") == "arch='a,b'"
