"""Sweeps by Hydra's own grammar: which runs come of them, and in which studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalesearch.errors import ConfigError
from scalesearch.multirun import load_runs


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_runs_are_the_cross_product_and_each_has_its_own_study() -> None:
    runs = load_runs("search", ["study=mine", "seed=0,1", "sampler=tpe,random", "trials=3"])
    assert [(run.config.study, run.config.seed, run.config.sampler) for run in runs] == [
        ("mine-seed0-tpe", 0, "tpe"),
        ("mine-seed0-random", 0, "random"),
        ("mine-seed1-tpe", 1, "tpe"),
        ("mine-seed1-random", 1, "random"),
    ]
    assert {run.config.trials for run in runs} == {3}
    assert runs[1].description == "seed=0 sampler=random"


@pytest.mark.parametrize(
    ("argument", "studies"),
    [
        ("seed=range(1,4)", ["study-seed1", "study-seed2", "study-seed3"]),
        ("seed=choice(4,7)", ["study-seed4", "study-seed7"]),
        ("pruner=glob(*)", ["study-asha", "study-hyperband", "study-off"]),
        ("pruner=glob(*,exclude=off)", ["study-asha", "study-hyperband"]),
        ("budget.macs=2e6,5e6", ["study-macs2000000", "study-macs5000000"]),
        ("train.augmentation.flip=true,false", ["study-fliptrue", "study-flipfalse"]),
        ("study=a,b", ["a", "b"]),
        ("seed=3", ["study"]),
    ],
)
def test_hydras_grammar_is_read(argument: str, studies: list[str]) -> None:
    assert [run.config.study for run in load_runs("search", [argument])] == studies


@pytest.mark.parametrize(
    ("verb", "argument"),
    [
        ("profile", "arch=ds_r1_k3_s1_c16,ir_r1_k3_s2_e3_c24"),
        ("family", "factors=1.2,1.1,1.15"),
        ("detect", "neck=fpn,bifpn"),
        ("detect-scale", "neck_channels=32,48"),
        ("search", "data.root='a,b'"),
        ("search", "storage=postgresql://me:secret@host/db?sslmode=disable"),
        ("report", "formats=pdf,svg"),
    ],
)
def test_commas_of_a_value_are_no_sweep(verb: str, argument: str) -> None:
    assert len(load_runs(verb, [argument])) == 1


def test_choice_sweeps_what_is_joined_by_commas() -> None:
    runs = load_runs("profile", ["arch=choice('ds_r1_k3_s1_c16,ir_r1_k3_s2_e3_c24',efficientnet-b1)"])
    assert [run.config.arch for run in runs] == ["ds_r1_k3_s1_c16,ir_r1_k3_s2_e3_c24", "efficientnet-b1"]


def test_run_sweeps_over_keys_of_its_parts() -> None:
    runs = load_runs("run", ["study=mine", "search.sampler=tpe,random", "seed=0,1"])
    assert [run.config.search.study for run in runs] == [
        "mine-tpe-seed0",
        "mine-tpe-seed1",
        "mine-random-seed0",
        "mine-random-seed1",
    ]
    assert [run.config.family.study for run in runs] == [run.config.search.study for run in runs]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["seed=interval(0,1)"], r"^seed must be swept by a,b or choice\(\.\.\.\), .*, got 'seed=interval\(0,1\)'$"),
        (["seed=range(0,2000)"], "^a command makes at most 1,000 runs, got 1,001$"),
        (["seed=glob(*)"], r"^seed has the choices of no group, got 'seed=glob\(\*\)'$"),
        (["pruner=glob(z*)"], r"^pruner has the choices asha, hyperband, off, got "),
        (["sampler=tpe,cma"], "^sampler must be one of .*, got 'cma'$"),
        (["seed=0,0"], "^each run must have a study of its own, and 'seed=0' and 'seed=0' both have study-seed0; "),
        (["seed=0,1", "nope=3"], "^scalesearch search has the keys "),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_runs(arguments: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_runs("search", arguments)


def test_a_verb_without_a_study_is_swept_too() -> None:
    assert [run.config.image_size for run in load_runs("profile", ["image_size=32,64"])] == [32, 64]
