"""The command line end to end: real searches of tiny networks, and one sentence for each mistake."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_model

from scalesearch.arch import ArchSpec
from scalesearch.cli import VERBS, main
from scalesearch.config import PARTS, describe_keys
from scalesearch.data import DataConfig, load_data
from scalesearch.measure.training import evaluate
from scalesearch.nn import build_network
from scalesearch.schemas import SCHEMAS
from scalesearch.study.store import load_records

SPACE = """
image_size: 16
stem_channels: 8
stem_stride: 2
head_channels: 16
stages:
  - {block: ir, kernel_size: [3, 5], stride: 2, expand_ratio: [1, 2, 3], out_channels: [8, 16], num_blocks: [1, 2]}
"""
DATA = ["data.patches_per_class=2", "data.eval_patches_per_class=2", "data.stored_size=16"]
TRAIN = ["train.steps=2", "train.batch_size=11"]
TINY = [*DATA, *TRAIN, "device=cpu", "workers=1"]


@pytest.fixture(autouse=True)
def in_a_folder_with_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")


def refuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must be refused and return its sentence."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"scalesearch: .+\n", captured.err)  # one line
    assert "Traceback" not in captured.err
    return captured.err.removeprefix("scalesearch: ").rstrip("\n")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "serch",
            "the verbs are run, search, .*, detect, detect-scale, predict, export, doctor, .*; got 'serch' .*",
        ),
        ("watch port=99999", r"port must be in 0 \.\. 65535, got 99999"),
        ("watch study=nowhere", "results/nowhere: there is no such study"),
        ("search trials", "an argument is key=value, got 'trials'"),
        ("search --verbose", "an argument is key=value, got '--verbose'"),
        ("search trails=3", r"scalesearch search has the keys .*; got 'trails' \(did you mean trials\?\)"),
        (
            "search train.augmentation.flipp=true",
            r"scalesearch search, under train\.augmentation, has the keys .*flip.*; got 'train\.augmentation\.flipp'"
            r" \(did you mean train\.augmentation\.flip\?\)",
        ),
        ("search data=foldr", "data must be one of folder, npz, parquet, patches, torchvision, got 'foldr'"),
        ("search train=longest", "train must be one of brief, full, long, got 'longest'"),
        ("search trials=many", "trials: Value 'many' of type 'str' could not be converted to Integer"),
        (f"search train.learning_rate=1{'0' * 400}", "train.learning_rate: int too large to convert to float"),
        ("search train.learning_rate=fast", "train.learning_rate: Value 'fast' of type 'str' could not .* to Float"),
        ("search trials=0", "trials must be at least 1, got 0"),
        ("search train.momentum=1", r"train\.momentum must be in \[0, 1\), got 1\.0"),
        ("search budget.macs=-1", r"budget\.macs must be above 0, got -1\.0"),
        ("search data.stored_size=0", r"data\.stored_size must be at least 1, got 0"),
        ("search train.augmentation.crop_padding=2", r"augmentation\.crop_padding must be in \[0, 0\.5\], got 2\.0"),
        ("search sampler=cma", "sampler must be one of predictor, random, tpe, nsga2, gp, got 'cma'"),
        ("search --cfg all", "--cfg must be job, the configuration of the verb, got 'all'"),
        ("search --cfg", "--cfg must be job, the configuration of the verb, got ''"),
        ("search -m seed=0,1 sampler=cma", "sampler must be one of predictor, random, tpe, nsga2, gp, got 'cma'"),
        ("search config=nowhere.yaml", r"config: nowhere\.yaml cannot be read \(No such file or directory\)"),
        ("report formats=jpg", "formats must be one of png, svg, pdf, got 'jpg'"),
        ("plan score=proxy", "score must be brief, .*; got 'proxy'"),
        ("completion tcsh", "shell must be one of bash, zsh, fish, got 'tcsh'"),
        ("data chek", "the verbs are .*; got 'data' .*"),
        ("search device=gpu", "device must be cpu, cuda or cuda:N, got 'gpu'"),
        ("search study=a/b", "study must be letters, digits, dots, dashes and underscores, got 'a/b'"),
        ("search data=folder", r"data\.root must say where the folder data are, got an empty one"),
        ("search data=folder data.root=nowhere", "nowhere: root must be a folder of pictures or .*, got nothing .*"),
        ("search space=nowhere", "search spaces are .*mnasnet.*, or the path of a .yaml file; got 'nowhere'"),
        ("search space=wrong.yaml", r"wrong\.yaml: stage 0: kernel_size must be odd, got 4"),
        ("search storage=nonsense", "storage must be a database URL, as sqlite:///FILE, got 'nonsense'"),
        ("scale", "results/study/base.yaml: the study has no base network; .*"),
        ("study scaling-curves", "results/study/base.yaml: the study has no base network; .*"),
        ("scale base=resnet50", "an architecture is efficientnet-b0 .. b7, .*; got 'resnet50'"),
        ("scale target=1", "target must be .*, got 1.0"),
        ("family base=efficientnet-b0 factors=1,2", "factors are a file that scale wrote, or numbers .*; got '1,2'"),
        ("family phi=[]", r"phi must be exponents in .*; got \[\]"),
        ("report study=nowhere", "results/nowhere: there is no such study"),
        ("report trials=3", "scalesearch report has the keys compare, formats, results, storage, study; got 'trials'"),
        ("profile arch=ds_r1_k4_s1_c16", "block string 'ds_r1_k4_s1_c16': kernel_size must be odd, got 4"),
        ("profile image_size=0", "image_size must be at least 1, got 0"),
        ("train", "results/study/base.yaml: the study has no base network; give arch=.*"),
        ("train arch=resnet50", "an architecture is efficientnet-b0 .. b7, .*; got 'resnet50'"),
        ("train arch=efficientnet-b0 member=phi=1", "arch names the network, and so do from_study and member: .*"),
        ("train arch=efficientnet-b0 init=nowhere.pth", "init must be a file of weights, got 'nowhere.pth' (.*)"),
        ("train init_keeps=some", "init_keeps must be one of all, features, got 'some'"),
        ("train label=a/b", "label must be up to 40 letters, digits, .*, got 'a/b'"),
        ("train evaluate_every=0", "evaluate_every must be at least 1, got 0"),
        ("train train=longer", "train must be one of brief, full, long, got 'longer'"),
        ("search tracker=neptune", "tracker must be one of off, tensorboard, mlflow, wandb, got 'neptune'"),
        ("detect neck=foo", "neck must be one of fpn, panet, bifpn, got 'foo'"),
        ("detect fusion=x", "fusion must be one of sum, softmax, fast, got 'x'"),
        ("detect phi=0..2", "factors must be given with phi=0..2: .*"),
        ("detect image_size=0 data.made_train_images=2", "image_size must be a whole number of at least 1, got 0"),
        ("detect data=coco", r"data\.root must say where the coco data are, got an empty one"),
        ("detect data=patches", "data must be one of coco, made, voc, got 'patches'"),
        (
            "detect detector=yolo data.made_train_images=2",
            r"a detector is small, efficientdet-d0 \.\. d7x, .*; got 'yolo'",
        ),
        ("detect train.box_loss=l1", r"train\.box_loss must be one of huber, ciou, got 'l1'"),
        ("detect-scale neck_channels=abc", "neck_channels must be whole numbers as 32,48,64, got 'abc'"),
        ("detect-scale trials=0", "trials must be at least 1, got 0"),
        (
            "detect-scale budget.macs=1000 data.made_train_images=2",
            r"budget\.macs must be at least [\d,]+, the cheapest detector of the choices; got 1,000",
        ),
        ("predict", "weights must name the file of a trained detector, got an empty text"),
        (
            "predict weights=w images=i",
            "w: weights must be a file that a detector's training wrote, got no file by that name",
        ),
        ("export out=a.onnx", "a network is named by study=, arch= or weights=, got none of them"),
        ("export study=a to=tflite", "to must be one of safetensors, onnx, program, timm, got 'tflite'"),
        ("export study=a out=a.onnx", "results/a: there is no such study, or it has no trials"),
        ("run trials=3", r"scalesearch run has the keys .*; got 'trials' \(did you mean search\.trials\?\)"),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_sentence(
    command: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.yaml").write_text(SPACE.replace("[3, 5]", "4"), encoding="utf-8")
    assert re.fullmatch(sentence, refuse(command.split(), capsys))
    assert not list(Path().glob("results/*/study.db"))  # nothing was begun


def test_a_budget_no_network_meets_is_refused_with_the_cheapest_cost(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = refuse(["search", "space=space.yaml", "budget.macs=1000", *TINY], capsys)
    assert re.fullmatch(r"budget\.macs must be at least [\d,]+, the cheapest network .* space; got 1,000", sentence)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["-h"], ["help"], []):
        assert main(arguments) == 0
        assert set(VERBS) <= set(capsys.readouterr().out.split())


def test_the_command_alone_helps() -> None:
    done = subprocess.run([sys.executable, "-m", "scalesearch.cli"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("scalesearch VERB [KEY=VALUE ...]")


@pytest.mark.parametrize("verb", SCHEMAS)
def test_the_help_of_a_verb_names_every_key(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    words = set(capsys.readouterr().out.split())
    assert {key for key, _, _ in describe_keys(SCHEMAS[verb])} <= words


def test_the_help_of_run_names_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"{part}.*" in out for part in PARTS)


def test_block_strings_with_commas_need_no_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = "ds_r1_k3_s1_c16,ir_r1_k3_s2_e3_c24"
    assert main(["profile", f"arch={blocks}", "image_size=32", "num_classes=10"]) == 0
    out = capsys.readouterr().out
    assert f"{blocks} at 32 px, 10 classes" in out
    assert "ds_r1_k3_s1_e1_c16" in out
    assert "ir_r1_k3_s2_e3_c24" in out


RUN = [
    "run",
    "study=mine",
    *TINY,
    "search.space=space.yaml",
    "search.trials=2",
    "scale.step=0.5",
    "scale.tolerance=0.4",
    "scale.seeds=1",
    "family.phi=[0]",
    "family.seeds=1",
]
FILES = {
    "base.yaml",
    "config.yaml",
    "factors.yaml",
    "family.csv",
    "frontier.png",
    "frontier.svg",
    "map.png",
    "map.svg",
    "scaling.csv",
    "scaling.png",
    "scaling.svg",
    "study.db",
    "README.md",
    "report.html",
    "trials.csv",
}


@pytest.mark.slow
def test_run_leaves_a_whole_study_and_run_again_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(RUN) == 0
    assert "Base network" in capsys.readouterr().out
    folder = Path("results/mine")
    sqlite = {"study.db-wal", "study.db-shm"}  # gone with the process
    assert {path.name for path in folder.iterdir() if path.is_file()} - {".lock", *sqlite} == FILES
    checkpoints = {path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/*")}
    assert {path.name for path in checkpoints} == {"base.safetensors", "family-phi0.safetensors"}

    trials = pd.read_csv(folder / "trials.csv")
    assert set(trials.part) == {"search", "scale", "family"}
    assert trials[trials.part != "family"].test_top1.isna().all()
    assert trials[trials.part == "family"].test_top1.notna().all()
    assert set(yaml.safe_load((folder / "config.yaml").read_text())) == {"search", "scale", "family"}

    assert main(RUN) == 0
    pd.testing.assert_frame_equal(pd.read_csv(folder / "trials.csv"), trials)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/*")} == checkpoints

    base = ArchSpec.load(folder / "base.yaml")
    data = load_data(DataConfig(patches_per_class=2, eval_patches_per_class=2, stored_size=16))
    network = build_network(base, data.num_classes)
    assert load_model(network, folder / "checkpoints" / "base.safetensors") == (set(), [])
    told = trials[(trials.part == "search") & (trials.arch_id == base.arch_id)].val_top1.iloc[0]
    assert evaluate(network, data.val, image_size=16).top1 == told

    capsys.readouterr()
    assert main(["report", "study=mine", "compare=nowhere"]) == 2
    assert main(["scale", "study=mine", "seeds=2"]) == 0  # the rest is as the study was begun
    grown = pd.read_csv(folder / "trials.csv")
    assert sorted(grown[grown.part == "scale"].seed) == sorted([*trials[trials.part == "scale"].seed, *(
        [1] * (trials.part == "scale").sum())])  # fmt: skip


def test_cfg_job_shows_a_configuration_that_a_file_of_keys_gives_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--cfg", "job", "study=mine", "trials=3", "storage=postgresql://me:secret@host/db"]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["trials"] == 3
    assert "secret" not in shown
    Path("mine.yaml").write_text(shown.replace("postgresql://me:***@host/db", "sqlite:///x.db"), encoding="utf-8")
    assert main(["search", "-c", "job", "config=mine.yaml", "seed=5"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["seed"] == 5
    assert main(["search", "--cfg=job", "-m", "seed=0,1"]) == 0
    assert [each["seed"] for each in yaml.safe_load_all(capsys.readouterr().out)] == [0, 1]
    assert not Path("results").exists()


@pytest.mark.slow
def test_a_sweep_leaves_a_study_for_each_run(capsys: pytest.CaptureFixture[str]) -> None:
    search = ["search", "-m", "study=mine", "space=space.yaml", "trials=1", "sampler=tpe,random", *TINY]
    assert main(search) == 0
    assert capsys.readouterr().out.count("Base network") == 2
    assert {path.parent.name for path in Path("results").glob("*/base.yaml")} == {"mine-tpe", "mine-random"}


def test_new_makes_files_that_every_verb_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "mine", "data.patches_per_class=2"]) == 0
    assert "Next: scalesearch data check config=mine/config.yaml" in capsys.readouterr().out
    for verb in SCHEMAS.keys() - {"new", "completion", "detect", "detect-scale", "predict"}:
        assert main([verb, "--cfg", "job", "config=mine/config.yaml"]) == 0
    capsys.readouterr()
    assert refuse(["new", "mine"], capsys).startswith("mine/config.yaml: is there already")


def test_data_check_is_exit_code_1_where_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["data.patches_per_class=20", "data.eval_patches_per_class=10", "data.stored_size=32"]
    assert main(["data", "check", *tiny]) == 0
    assert "11 classes" in capsys.readouterr().out
    for number in range(24):
        for folder in (Path("pictures/cat"), Path("pictures/dog")):
            folder.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((32, 32), 90 + number).convert("RGB").save(folder / f"{number}.png")
    Path("pictures/cat/cut.png").write_bytes(b"cut")
    assert main(["data-check", "data=folder", "data.root=pictures"]) == 1
    assert "pictures cannot be read: cat/cut.png" in capsys.readouterr().out


SEARCH = ["search", "study=mine", "space=space.yaml", "trials=9", *TINY]


def start_search() -> subprocess.Popen[str]:
    """Start a search that Ctrl-C can stop: a shell that runs the tests in the background hands SIGINT down ignored."""
    return subprocess.Popen(
        [sys.executable, "-m", "scalesearch.cli", *SEARCH],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_trained(number: int, search: subprocess.Popen[str]) -> None:
    """Wait until the record has so many complete trials."""
    while search.poll() is None:
        try:
            with sqlite3.connect("file:results/mine/study.db?mode=ro", uri=True) as database:
                ((trained,),) = database.execute("select count(*) from trials where state = 'COMPLETE'")
        except sqlite3.OperationalError:  # not begun yet, or being written
            trained = 0
        if trained >= number:
            return
        time.sleep(0.05)
    raise AssertionError(f"the search ended first: {search.communicate()}")


@pytest.mark.slow
def test_a_killed_search_and_an_interrupted_one_go_on_without_repeating_a_trial(
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = "sqlite:///results/mine/study.db"
    with start_search() as killed:
        wait_for_trained(2, killed)
        killed.send_signal(signal.SIGKILL)
    first = load_records(url, "mine")[0].frame()

    with start_search() as interrupted:
        wait_for_trained(len(first[first.state == "COMPLETE"]) + 2, interrupted)
        interrupted.send_signal(signal.SIGSTOP)  # so that it cannot end meanwhile
        refusal = refuse(SEARCH, capsys)
        interrupted.send_signal(signal.SIGCONT)
        interrupted.send_signal(signal.SIGINT)
        _, errors = interrupted.communicate()
    assert refusal.startswith("study mine is being run by another process, and SQLite takes one writer; wait for it")
    assert interrupted.returncode == 130
    assert errors.endswith("scalesearch: stopped; the same command goes on from here\n")
    assert "Traceback" not in errors
    second = load_records(url, "mine")[0].frame()

    assert main(SEARCH) == 0
    assert "9 networks scored" in capsys.readouterr().out
    last = load_records(url, "mine")[0].frame()
    for earlier in (first, second):
        ended = earlier[earlier.state == "COMPLETE"]
        assert 2 <= len(ended) < 9
        pd.testing.assert_frame_equal(last.loc[ended.index, ended.columns], ended, check_dtype=False)
        for name in ["arch_id", *(column for column in earlier if column.startswith("param."))]:
            told = earlier[name].dropna()  # a trial may have been cut off before its network was written down
            assert last.loc[told.index, name].tolist() == told.tolist()
    trained = last[last.state == "COMPLETE"]
    assert len(trained) == trained.arch_id.nunique() == 9
    assert set(last.state) <= {"COMPLETE", "DUPLICATE"}
