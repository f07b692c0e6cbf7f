"""The keys of detectors: their own data and trainings under the same names, and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scalesearch.config import (
    load_config,
)
from scalesearch.errors import ConfigError
from scalesearch.paths import CONF
from scalesearch.search.rungs import METHODS as PRUNERS

BOXES = {"coco": ["data.root=pictures"], "made": [], "voc": ["data.root=pictures"]}
DETECTOR_PARTS = ("detect", "detect-scale")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("part", DETECTOR_PARTS)
@pytest.mark.parametrize("data", BOXES)
@pytest.mark.parametrize("train", ["brief", "full"])
def test_every_choice_of_data_and_training_of_detectors_composes(part: str, data: str, train: str) -> None:
    config = load_config(part, [f"data={data}", f"train={train}", *BOXES[data]])
    assert config.data.format == data
    assert config.train.steps == yaml.safe_load((CONF / f"detection/train/{train}.yaml").read_text())["steps"]


def test_a_search_of_detectors_trains_briefly_and_a_comparison_longer() -> None:
    brief, full = (load_config(part, []).train for part in ("detect-scale", "detect"))
    assert brief.steps < full.steps


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_search_of_detectors_has_the_pruners_keys(pruner: str) -> None:
    assert load_config("detect-scale", [f"pruner.method={pruner}"]).pruner.method == pruner


@pytest.mark.parametrize(
    ("verb", "argument", "sentence"),
    [
        ("detect", "data=patches", r"^data must be one of coco, made, voc, got 'patches'$"),
        ("detect-scale", "data=folder", r"^data must be one of coco, made, voc, got 'folder'$"),
        ("search", "data=coco", r"^data must be one of folder, npz, parquet, patches, torchvision, got 'coco'$"),
        ("detect", "train=long", r"^train must be one of brief, full, got 'long'$"),
        ("detect", "nekc=fpn", r"^scalesearch detect has the keys .*; got 'nekc' \(did you mean neck\?\)$"),
        ("detect-scale", "trails=3", r"got 'trails' \(did you mean trials\?\)$"),
        ("detect", "train.box_los=ciou", r"under train, .*; got 'train\.box_los' \(did you mean train\.box_loss\?\)$"),
        ("detect", "trials=3", r"^scalesearch detect has the keys .*; got 'trials'"),
        ("predict", "weigths=x", r"got 'weigths' \(did you mean weights\?\)$"),
        ("predict", "study=mine", r"^scalesearch predict has the keys .*; got 'study'$"),
        ("detect", "image_size=big", r"^image_size: Value 'big' of type 'str' could not be converted to Integer$"),
        ("search", "detection/data=coco", r"^scalesearch search has the keys .*; got 'detection/data'"),
    ],
)
def test_a_mistake_in_a_key_of_detectors_is_one_sentence(verb: str, argument: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(verb, [argument])
