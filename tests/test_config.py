"""From the command line to checked values: what composes, what a study's own configuration adds."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalesearch.config import (
    PARTS,
    SCHEMAS,
    conf_of,
    describe_keys,
    load_config,
    load_run_config,
)
from scalesearch.detection.arch.reading import DETECTORS
from scalesearch.errors import ConfigError, ScalesearchError, StudyError
from scalesearch.measure.scores.config import METHODS
from scalesearch.paths import CONF
from scalesearch.search.rungs import METHODS as PRUNERS

BLOCKS = "ds_r1_k3_s1_c16,ir_r1_k3_s2_e3_c24"
DATA = {
    "folder": ["data.root=pictures"],
    "npz": ["data.root=digits.npz"],
    "parquet": ["data.root=cifar"],
    "patches": [],
    "torchvision": ["data.name=CIFAR10"],
}
BOXES = {"coco": ["data.root=pictures"], "made": [], "voc": ["data.root=pictures"]}
DETECTOR_PARTS = ("detect", "detect-scale")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_yaml_is_a_verb_or_a_choice_that_a_test_composes() -> None:
    files = {str(path.relative_to(CONF).with_suffix("")) for path in CONF.rglob("*.yaml")}
    groups = {
        *(f"data/{name}" for name in DATA),
        *("train/brief", "train/full", "train/long"),
        *(f"score/{name}" for name in METHODS),
        *(f"pruner/{name}" for name in PRUNERS),
    }
    network_verbs = {verb for verb in SCHEMAS if conf_of(verb) == CONF}
    detector_groups = {*(f"data/{name}" for name in BOXES), "train/brief", "train/full"}
    of_detectors = {f"detection/{name}" for name in {*SCHEMAS} - network_verbs | detector_groups}
    read_as_detectors = {f"detectors/{path.stem}" for path in DETECTORS.glob("*.yaml")}  # in tests/detection/studies
    assert files == {*network_verbs, "run", *groups, *of_detectors, *read_as_detectors}


@pytest.mark.parametrize("verb", SCHEMAS)
def test_every_verb_composes_into_its_own_dataclass(verb: str) -> None:
    assert type(load_config(verb, [])) is SCHEMAS[verb]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("train", ["brief", "full"])
def test_every_choice_of_data_and_training_composes(part: str, data: str, train: str) -> None:
    config = load_config(part, [f"data={data}", f"train={train}", *DATA[data]])
    assert config.data.format == data
    assert (config.train.ema_decay > 0) is (train == "full")


@pytest.mark.parametrize("score", METHODS)
@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_choice_of_score_and_pruner_composes_but_a_pruner_where_nothing_is_trained(
    score: str, pruner: str
) -> None:
    arguments = [f"score={score}", f"pruner={pruner}"]
    if score != "brief" and pruner != "off":
        with pytest.raises(ConfigError, match=rf"^pruner.method must be off with score={score}, .*; got '{pruner}'$"):
            load_config("search", arguments)
        return
    config = load_config("search", arguments)
    assert (config.score.method, config.pruner.method) == (score, pruner)


def test_run_composes_with_what_its_file_says_for_each_part() -> None:
    defaults = yaml.safe_load((CONF / "run.yaml").read_text(encoding="utf-8"))
    config = load_run_config([])
    for part in PARTS:
        for argument in [*defaults["all"], *defaults[part]]:
            key, _, value = argument.partition("=")
            wanted = yaml.safe_load(value)
            if not any(other.startswith(f"{key}=") for other in defaults[part]) or argument in defaults[part]:
                assert read(getattr(config, part), key) == (float(wanted) if key == "budget.macs" else wanted)


def read(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize(
    ("verb", "argument", "key", "value"),
    [
        ("search", "trials=7", "trials", 7),
        ("search", "budget.macs=5e6", "budget.macs", 5e6),
        ("search", "budget.macs=inf", "budget.macs", math.inf),
        ("search", "image_size=null", "image_size", None),
        ("search", "train.augmentation.flip=false", "train.augmentation.flip", False),
        ("search", "study=2025", "study", "2025"),
        ("search", "data.root=/a path/with [brackets], commas", "data.root", "/a path/with [brackets], commas"),
        ("search", "storage=postgresql://u@h/x?a=b", "storage", "postgresql://u@h/x?a=b"),
        ("scale", f"base={BLOCKS}", "base", BLOCKS),
        ("scale", "base='efficientnet-b0'", "base", "efficientnet-b0"),
        ("family", "factors=1.2,1.1,1.15", "factors", "1.2,1.1,1.15"),
        ("family", "phi=0..2", "phi", "0..2"),
        ("family", "phi=[0,0.5,2]", "phi", [0, 0.5, 2]),
        ("profile", f"arch={BLOCKS}", "arch", BLOCKS),
        ("report", "compare=other", "compare", "other"),
        ("detect", "neck=fpn,bifpn", "neck", "fpn,bifpn"),
        ("detect", f"backbone={BLOCKS}", "backbone", BLOCKS),
        ("detect", "phi=[0]", "phi", [0]),
        ("detect", "factors=1.2,1.1,1.15", "factors", "1.2,1.1,1.15"),
        ("detect", "image_size=96", "image_size", 96),
        ("detect", "neck=null", "neck", None),
        ("detect-scale", "neck_channels=24,32", "neck_channels", "24,32"),
        ("detect-scale", "neck_channels=[24,32]", "neck_channels", [24, 32]),
        ("detect-scale", "neck_channels=24", "neck_channels", 24),
        ("detect-scale", "max_latency_ms=5", "max_latency_ms", 5.0),
        ("predict", "images=/a path/[1].png", "images", "/a path/[1].png"),
    ],
)
def test_a_value_arrives_as_it_was_typed(verb: str, argument: str, key: str, value: Any) -> None:
    assert read(load_config(verb, [argument]), key) == value


def save_study(sections: dict[str, Any]) -> None:
    folder = Path("results/mine")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")


SEARCH = {
    "study": "former name",
    "results": "elsewhere",
    "seed": 3,
    "workers": 1,
    "trials": 9,
    "budget": {"macs": 2e6, "params": math.inf, "acts": math.inf},
    "data": {"format": "folder", "root": "pictures", "stored_size": 24},
    "train": {"steps": 5, "batch_size": 11, "clip_norm": math.inf, "augmentation": {"flip": False}},
}


def test_a_part_goes_on_with_what_it_was_begun_with() -> None:
    save_study({"search": SEARCH})
    config = load_config("search", ["study=mine"])
    assert (config.study, config.results) == ("mine", "results")
    assert (config.seed, config.workers, config.trials, config.budget.macs) == (3, 1, 9, 2e6)
    assert (config.data.root, config.data.stored_size) == ("pictures", 24)
    assert (config.train.steps, config.train.augmentation.flip) == (5, False)


def test_scale_takes_data_and_training_from_the_studys_search() -> None:
    save_study({"search": SEARCH})
    config = load_config("scale", ["study=mine", "step=0.25"])
    assert (config.data.format, config.data.root, config.train.steps, config.seed) == ("folder", "pictures", 5, 3)
    assert config.step == 0.25


def test_family_takes_the_data_but_trains_in_its_own_way() -> None:
    save_study({"search": SEARCH})
    config = load_config("family", ["study=mine"])
    assert config.data.root == "pictures"
    assert config.train == load_config("family", []).train


def test_fidelity_takes_space_budget_and_brief_training_from_the_search_and_trains_longer() -> None:
    save_study({"search": {**SEARCH, "space": "nas_bench_macro"}})
    config = load_config("fidelity", ["study=mine"])
    assert (config.space, config.budget.macs, config.brief.steps, config.data.root) == (
        "nas_bench_macro",
        2e6,
        5,
        "pictures",
    )
    assert config.train == load_config("fidelity", []).train


DETECT_SCALE = {
    **{key: SEARCH[key] for key in ("study", "results", "seed", "workers")},
    "backbone": BLOCKS,
    "max_level": 4,
    "neck_channels": "8,16",
    "trials": 9,
    "data": {"format": "coco", "root": "boxes", "stored_size": 320},
    "train": {"steps": 5, "box_loss": "ciou"},
    "decoding": {"nms_iou": 0.6},
}


def test_detectors_do_not_take_the_data_of_networks_nor_networks_those_of_detectors() -> None:
    save_study({"search": SEARCH, "detect-scale": DETECT_SCALE})
    assert load_config("scale", ["study=mine"]).data.root == "pictures"
    save_again({"detect-scale": DETECT_SCALE, "search": SEARCH})
    assert load_config("scale", ["study=mine"]).data.root == "pictures"
    save_again({"search": SEARCH})
    detect, defaults = load_config("detect", ["study=mine"]), load_config("detect", [])
    assert (detect.data, detect.train) == (defaults.data, defaults.train)
    save_again({"detect": DETECT_SCALE | {"neck_channels": 8}})
    search, plain = load_config("search", ["study=mine"]), load_config("search", [])
    assert (search.data, search.train) == (plain.data, plain.train)


def save_again(sections: dict[str, Any]) -> None:
    Path("results/mine/config.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")


URL = "postgresql://me@host/studies"


@pytest.mark.parametrize(("verb", "begun"), [("detect", "search"), ("search", "detect"), ("scale", "detect-scale")])
def test_where_and_on_what_a_study_runs_is_the_same_for_networks_and_detectors(verb: str, begun: str) -> None:
    save_study({begun: {"seed": 3, "workers": 1, "threads": 2, "device": "cpu", "storage": URL}})
    config = load_config(verb, ["study=mine", "workers=4"])
    assert (config.seed, config.workers, config.threads, config.device, config.storage) == (3, 4, 2, "cpu", URL)


@pytest.mark.parametrize("begun", ["detect", "search"])
def test_a_report_looks_where_the_study_was_begun(begun: str) -> None:
    save_study({begun: {"storage": URL}})
    assert load_config("report", ["study=mine"]).storage == URL


def test_a_comparison_takes_all_but_the_training_from_the_search_of_detectors() -> None:
    save_study({"search": SEARCH, "detect-scale": DETECT_SCALE})
    config = load_config("detect", ["study=mine", "neck=fpn"])
    assert (config.data.format, config.data.root, config.data.stored_size) == ("coco", "boxes", 320)
    assert (config.backbone, config.max_level, config.decoding.nms_iou, config.seed) == (BLOCKS, 4, 0.6, 3)
    assert config.train == load_config("detect", []).train
    assert (config.neck, config.neck_channels) == ("fpn", None)  # choices of a search are none of a comparison


def test_a_search_of_detectors_takes_the_training_of_a_comparison_too() -> None:
    save_study(
        {"detect": {key: value for key, value in DETECT_SCALE.items() if key not in ("neck_channels", "trials")}}
    )
    config = load_config("detect-scale", ["study=mine"])
    assert (config.data.root, config.train.steps, config.train.box_loss) == ("boxes", 5, "ciou")
    assert config.neck_channels == load_config("detect-scale", []).neck_channels


@pytest.mark.parametrize("verb", DETECTOR_PARTS)
def test_a_study_of_detectors_goes_on_with_what_it_was_begun_with(verb: str) -> None:
    section = {key: value for key, value in DETECT_SCALE.items() if key not in ("neck_channels", "trials")}
    save_study({verb: section})
    config = load_config(verb, ["study=mine", "data.stored_size=64", "train.steps=7"])
    assert (config.study, config.results) == ("mine", "results")
    assert (config.data.root, config.data.stored_size) == ("boxes", 64)
    assert (config.train.steps, config.train.box_loss) == (7, "ciou")
    assert load_config(verb, ["study=mine", "data=made"]).data == load_config(verb, []).data


def test_what_the_command_line_says_comes_first_key_by_key() -> None:
    save_study({"search": SEARCH})
    config = load_config("scale", ["study=mine", "data.stored_size=32", "train.steps=2"])
    assert (config.data.root, config.data.stored_size) == ("pictures", 32)
    assert (config.train.steps, config.train.batch_size) == (2, 11)
    assert load_config("scale", ["study=mine", "data=patches"]).data == load_config("scale", []).data
    assert load_config("scale", ["study=mine", "train=full"]).train == load_config("scale", ["train=full"]).train


def test_another_study_is_not_asked() -> None:
    save_study({"search": SEARCH})
    config, defaults = load_config("scale", ["study=yours"]), load_config("scale", [])
    assert (config.data, config.train, config.seed) == (defaults.data, defaults.train, 0)


def test_a_configuration_of_another_version_is_refused_with_its_file() -> None:
    save_study({"search": {**SEARCH, "train": {"learning_rat": 0.1}}})
    with pytest.raises(ConfigError, match=r"^results/mine/config\.yaml: .*learning_rat"):
        load_config("search", ["study=mine"])


@pytest.mark.parametrize(
    ("macs", "sentence"),
    [
        ("many", r"budget\.macs: Value 'many' of type 'str' could not be converted to Float$"),
        (10**400, "int too large to convert to float$"),
    ],
)
def test_a_saved_value_that_cannot_be_is_refused_with_its_file(macs: object, sentence: str) -> None:
    save_study({"search": {**SEARCH, "budget": {"macs": macs}}})
    with pytest.raises(ConfigError, match=r"^results/mine/config\.yaml: " + sentence):
        load_config("search", ["study=mine"])


def test_a_configuration_broken_by_hand_is_refused_with_its_file() -> None:
    save_study({})
    Path("results/mine/config.yaml").write_text("search: [", encoding="utf-8")
    with pytest.raises(StudyError, match=r"^results/mine/config\.yaml: while parsing"):
        load_config("search", ["study=mine"])


def test_run_hands_shared_keys_to_all_parts_and_the_others_to_their_own() -> None:
    arguments = ["study=mine", "data=folder", "data.root=pictures", "seed=4", "train.steps=2"]
    config = load_run_config([*arguments, "search.trials=3", "scale.train.steps=5", "family.phi=[0]"])
    parts = [config.search, config.scale, config.family]
    assert {part.study for part in parts} == {"mine"}
    assert {part.data.root for part in parts} == {"pictures"}
    assert {part.seed for part in parts} == {4}
    assert [part.train.steps for part in parts] == [2, 5, 2]
    assert (config.search.trials, config.family.phi) == (3, [0])


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("trials=3", r"and search\.\*, scale\.\*, family\.\*; got 'trials' \(did you mean search\.trials\?\)$"),
        ("phi=[0]", r"got 'phi' \(did you mean family\.phi\?\)$"),
        ("nonsense=3", r"has the keys study, .*; got 'nonsense'$"),
        ("search.trails=3", r"^scalesearch search has the keys .*; got 'trails' \(did you mean trials\?\)$"),
        ("scale.step", r"^an argument is key=value, got 'step'$"),
    ],
)
def test_run_says_where_a_key_belongs(argument: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_run_config([argument])


@pytest.mark.parametrize("verb", SCHEMAS)
def test_every_key_has_a_meaning_and_its_default(verb: str) -> None:
    rows = list(describe_keys(SCHEMAS[verb]))
    assert all(meaning for _, _, meaning in rows)
    assert {key.partition(".")[0] for key, _, _ in rows} == {item.name for item in fields(SCHEMAS[verb])}
    defaults = SCHEMAS[verb]()
    for key, default, _ in rows:
        value = read(defaults, key)
        assert default == ("" if value is None else str(value))


@pytest.mark.parametrize(
    "argument",
    ["trials", "", "=3", "+trials=3", "++trials=3", "~trials", "~trials=3", "data@x=folder", "trials=[1", "--multirun"],
)
def test_only_key_value_is_an_argument(argument: str) -> None:
    with pytest.raises(ConfigError, match=r"^an argument is key=value, got "):
        load_config("search", [argument])


@pytest.mark.parametrize(
    "argument",
    [
        "data=null",
        "data=[folder]",
        "train={steps: 3}",
        "hydra.run.dir=x",
        "study=${nope}",
        "study=null",
        "study=a/b",
        "trials=null",
        "trials=1,2",
        "trials=range(1,3)",
        "budget=3",
        "budget.macs=much",
        "train.augmentation=null",
        "train.steps=1.5",
    ],
)
def test_what_hydra_would_understand_otherwise_is_one_sentence(argument: str) -> None:
    with pytest.raises(ScalesearchError) as caught:
        load_config("search", [argument])
    assert len(str(caught.value).splitlines()) == 1
