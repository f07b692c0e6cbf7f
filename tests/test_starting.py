"""The first files of a study: they load, they suit the pictures, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from scalesearch.arch import SearchSpace
from scalesearch.config import load_config, load_run_config
from scalesearch.data import DataConfig
from scalesearch.errors import ConfigError
from scalesearch.schemas import NewConfig
from scalesearch.starting import write_start


@pytest.fixture(autouse=True)
def in_a_folder_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        Path(f"my pictures/{name}").mkdir(parents=True)
        for number in range(6):
            Image.effect_noise((110, 100), 90).convert("RGB").save(f"my pictures/{name}/{number}.png")


def start(folder: str = "mine") -> None:
    write_start(NewConfig(folder=folder, data=DataConfig(format="folder", root="my pictures")))


def test_the_files_suit_the_pictures_and_load_for_every_verb() -> None:
    start()
    search = load_config("search", ["config=mine/config.yaml"])
    assert (search.study, search.data.root, search.data.stored_size) == ("mine", "my pictures", 100)
    space = search.load_space()
    assert space.network["image_size"] == (96,)
    assert space.network["stem_stride"] == (2,)
    assert search.budget.macs > 1e6
    assert load_config("family", ["config=mine/config.yaml"]).seeds == 3
    assert load_run_config(["config=mine/config.yaml"]).search.trials == 40
    assert load_config("data-check", ["config=mine/config.yaml"]).data.format == "folder"


def test_every_line_of_the_configuration_is_explained() -> None:
    start()
    lines = [line for line in Path("mine/config.yaml").read_text().splitlines() if line.strip()]
    assert all("# " in line for line in lines if not line.rstrip().endswith(":"))


def test_embedded_pictures_are_the_start_without_own_ones() -> None:
    write_start(NewConfig(folder="tried"))
    config = load_config("search", ["config=tried/config.yaml"])
    assert config.data.format == "patches"
    assert SearchSpace.load("tried/space.yaml").network["image_size"] == (64,)


def test_other_keys_of_the_data_are_kept() -> None:
    data = DataConfig(format="folder", root="my pictures", max_train_images=8, name='it\'s "so": # {x}')
    write_start(NewConfig(folder="mine", data=data))
    kept = load_config("search", ["config=mine/config.yaml"]).data
    assert (kept.max_train_images, kept.name) == (8, data.name)


@pytest.mark.parametrize("name", ["config.yaml", "space.yaml", "README.md"])
def test_nothing_is_overwritten(name: str) -> None:
    Path("mine").mkdir()
    Path("mine", name).write_text("kept", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^mine/{name}: is there already, and new overwrites nothing; "):
        start()
    assert {path.name for path in Path("mine").iterdir()} == {name}
    assert Path("mine", name).read_text(encoding="utf-8") == "kept"


def test_a_folder_gives_the_study_its_name() -> None:
    start("a b!/My Study (2)")
    assert yaml.safe_load(Path("a b!/My Study (2)/config.yaml").read_text())["study"] == "My-Study-2"
