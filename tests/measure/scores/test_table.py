"""Tables of known results: the published ones where they are, small ones by hand, a study's own trials."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from scalesearch.arch import ArchSpec, SearchSpace, network_cost
from scalesearch.errors import ConfigError, SpaceError
from scalesearch.measure.scores.table import Table, fit_regressor
from scalesearch.measure.scores.table.regressor import _Coding, _design
from scalesearch.study.store import frame_of

optuna.logging.set_verbosity(optuna.logging.WARNING)

MACRO, ACCEL, SMALL = (SearchSpace.load(name) for name in ("nas_bench_macro", "accel_nasbench", "mbconv_small"))
ACCEL_COLUMNS = [f"block{index}_{code}" for index in range(7) for code in ("e", "k", "l", "se")]


def macro_arch(key: str) -> ArchSpec:
    """Return the network of a key by the space's own parameters."""
    layers = zip(SearchSpace.load("nas_bench_macro").parameters.items(), key, strict=True)
    return MACRO.decode({name: choices[int(digit)] for (name, choices), digit in layers})


def write_macro(path: Path, accuracies: dict[str, list[float]]) -> Path:
    path.write_text(json.dumps({key: {"test_acc": runs} for key, runs in accuracies.items()}), encoding="utf-8")
    return path


def write_accel(path: Path, rows: list[tuple[list[object], float]]) -> Path:
    frame = pd.DataFrame([[*values, top1] for values, top1 in rows], columns=[*ACCEL_COLUMNS, "val_top1"])
    frame.to_csv(path, index=False)
    return path


def write_trials(path: Path, space: SearchSpace, *, num_trials: int = 12, num_classes: int = 7) -> pd.DataFrame:
    """Write what the study's store writes of a search with random accuracies, and of a trial over budget."""
    study, rng = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), random.Random(0)
    for index in range(num_trials + 1):
        trial = study.ask()
        arch = space.suggest(trial)
        cost = network_cost(arch, num_classes=num_classes)
        described = {"arch_id": arch.arch_id, "image_size": arch.image_size, "seed": 0, **cost._asdict()}
        score = {"val_top1": rng.random()} if index < num_trials else {}
        for name, value in {**described, "score": score, "state": "COMPLETE" if score else "INFEASIBLE"}.items():
            trial.set_user_attr(name, value)
        study.tell(trial, score.get("val_top1", 0.0))
    frame = frame_of("search", study.trials)
    frame.to_csv(path, index=False)
    return frame


def test_every_network_of_nas_bench_macro_is_in_its_table(shared: Path) -> None:
    path = shared / "benchmarks/nas-bench-macro_cifar10.json"
    table, rows = Table.load(path, MACRO), json.loads(path.read_text(encoding="utf-8"))
    assert (len(table), table.num_classes) == (3_969, 10)
    assert table.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    for key in ("00000000", "22222222", "01012012"):  # of these no key before is the same network
        runs = rows[key]["test_acc"]
        assert [table.lookup(macro_arch(key), seed) for seed in (0, 1, 2, 5)] == [runs[i] / 100 for i in (0, 1, 2, 2)]


def test_accel_nasbench_is_read_whole_and_its_regressor_explains_it(shared: Path) -> None:
    path = shared / "benchmarks/accel_nasbench.csv.gz"
    table, frame = Table.load(path, ACCEL, "fill"), pd.read_csv(path)
    assert (len(table), table.num_classes) == (len(frame[ACCEL_COLUMNS].drop_duplicates()), 1000)
    point: dict[str, object] = {}
    for index in range(7):
        e, k, l, se = frame.loc[70, ACCEL_COLUMNS[4 * index : 4 * index + 4]]  # noqa: E741
        values = {"expand_ratio": e, "kernel_size": k, "num_blocks": l, "se_ratio": 0.25 * se}
        point |= {f"stage{index}.{field}": int(v) if v == int(v) else v for field, v in values.items()}
    assert table.lookup(ACCEL.decode(point), 8) == frame["val_top1"][70] / 100
    assert table.regressor is not None
    assert table.regressor.num_networks == len(table)
    assert table.regressor.r2 > 0.97
    assert table.regressor.mae < 0.004  # the noise of a seed is 0.003
    unknown = next(arch for arch in map(ACCEL.sample, itertools.repeat(random.Random(0))) if arch not in table.runs)
    assert 0.4 < (table.lookup(unknown, 0) or 0) < 0.75


def test_an_identitys_place_does_not_matter_and_the_first_key_counts(tmp_path: Path) -> None:
    rows = {"01120000": [30.0], "01102000": [50.0, 60.0], "01120002": [70.0], "01120020": [80.0]}
    table = Table.load(write_macro(tmp_path / "t.json", rows), MACRO)
    assert len(table) == 2
    for key in ("01102000", "01120000"):
        assert [table.lookup(macro_arch(key), seed) for seed in range(3)] == [0.5, 0.6, 0.5]
    assert table.lookup(macro_arch("01120020"), 0) == 0.7


def test_a_network_that_the_table_lacks_is_no_score_unless_it_is_filled(tmp_path: Path) -> None:
    rng = random.Random(0)
    keys = rng.sample(["".join(digits) for digits in itertools.product("012", repeat=8)], 60)
    # every 2 is worth 3 points and every 1 two, so that a fit has something to find
    path = write_macro(
        tmp_path / "t.json", {key: [60.0 + 3 * key.count("2") + 2 * key.count("1")] for key in keys[:40]}
    )
    known = Table.load(path, MACRO)
    unknown = [key for key in keys[40:] if macro_arch(key) not in known.runs]
    assert known.regressor is None
    assert known.lookup(macro_arch(unknown[0]), 0) is None
    assert known.score(macro_arch(unknown[0]), 0) is None
    score = known.score(macro_arch(keys[0]), 0)
    assert score is not None
    assert (score.worth, score.to_dict().keys()) == (
        known.lookup(macro_arch(keys[0]), 0),
        {"val_top1", "train_seconds", "steps"},
    )
    filled = Table.load(path, MACRO, "fill")
    assert filled.lookup(macro_arch(keys[0]), 0) == score.val_top1
    errors = [
        filled.lookup(macro_arch(key), 0) - 0.6 - 0.03 * key.count("2") - 0.02 * key.count("1") for key in unknown
    ]
    assert max(map(abs, errors)) < 0.02
    with pytest.raises(SpaceError, match="nas_bench_macro does not hold the network cn_r1"):
        filled.lookup(replace(macro_arch(keys[0]), stages=SMALL.sample(rng).stages), 0)
    with pytest.raises(SpaceError, match="nas_bench_macro does not hold"):
        filled.lookup(replace(macro_arch(unknown[0]), image_size=64), 0)


def test_accel_rows_with_words_for_squeezing_and_compressed_files_are_read(tmp_path: Path) -> None:
    one = [1, 3, 1, False] * 7
    path = write_accel(tmp_path / "t.csv", [(one, 50.0), ([6, 5, 3, True, *one[4:]], 60.0), (one, 52.0)])
    table = Table.load(path, ACCEL)
    stage = {"block": "ds", "kernel_size": 3, "expand_ratio": 1.0, "num_blocks": 1, "se_ratio": 0.0}
    [plain, squeezing] = table.runs
    assert all(getattr(plain.stages[0], name) == value for name, value in stage.items())
    assert squeezing.stages[0].to_block() == "ir_r3_k5_s1_e6_c16_se0.25"
    assert [table.lookup(plain, seed) for seed in range(3)] == [0.5, 0.52, 0.5]
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert Table.load(packed, ACCEL).runs == table.runs
    assert Table.load(packed, ACCEL).fingerprint != table.fingerprint


def test_a_studys_trials_can_be_searched_again(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    frame = write_trials(path, SMALL)
    # another seed of the first network; trainings of another part, and an image that costs nothing
    again = frame.iloc[[0]].assign(seed=1, val_top1=0.25)
    family = frame.iloc[[1]].assign(part="family", seed=0, val_top1=0.99)
    pd.concat([again, frame, family]).to_csv(path, index=False)
    table = Table.load(path, SMALL)
    archs = {arch.arch_id: arch for arch in table.runs}
    assert (len(table), table.num_classes) == (12, 7)
    assert [table.lookup(archs[frame["arch_id"][0]], seed) for seed in range(3)] == [
        frame["val_top1"][0],
        0.25,
        frame["val_top1"][0],
    ]
    assert table.lookup(archs[frame["arch_id"][1]], 0) == frame["val_top1"][1]
    assert frame["arch_id"][12] not in archs
    assert Table.load(path, SMALL, "fill").regressor.num_networks == 12


def test_the_committed_study_is_a_table() -> None:
    path = Path(__file__).parents[3] / "results/cifar10-small-random/trials.csv"
    table = Table.load(path, SMALL)
    frame = pd.read_csv(path)
    assert len(table) == (frame["state"] == "COMPLETE").sum()
    assert table.num_classes == 10


def mistakes(tmp_path: Path) -> dict[str, tuple[Path, SearchSpace, str]]:
    """Return each kind of unusable file, the space it is read for, and its sentence."""
    text, broken = tmp_path / "notes.md", tmp_path / "broken.csv.gz"
    text.write_text("# Notes\n", encoding="utf-8")
    broken.write_bytes(b"\x1f\x8b\x08 and no more")
    half = tmp_path / "half.json"
    half.write_text('{"00000000": {"test_acc": [1', encoding="utf-8")
    ragged = tmp_path / "ragged.csv"
    ragged.write_text(",".join([*ACCEL_COLUMNS, "val_top1"]) + "\n1,2\n" + "1," * 40 + "\n", encoding="utf-8")
    trials = tmp_path / "trials.csv"
    frame = write_trials(trials, SMALL)
    infeasible = tmp_path / "infeasible.csv"
    frame[frame["state"] == "INFEASIBLE"].to_csv(infeasible, index=False)
    miscounted = tmp_path / "miscounted.csv"
    frame.assign(params=frame["params"] + 1).to_csv(miscounted, index=False)
    one = [1, 3, 1, 0] * 7
    macro = write_macro(tmp_path / "macro.json", {"0" * 8: [50.0]})
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({"0" * 8: {"test_acc": [50.0], "params": 387_882, "flops": 1}}), encoding="utf-8")
    return {
        "absent": (tmp_path / "nowhere.csv", MACRO, r"nowhere.csv cannot be read \(No such file or directory\)"),
        "other text": (text, MACRO, "a table must be NAS-Bench-Macro's JSON .*, .* or .*; got .* begins with '# Notes"),
        "broken gzip": (broken, MACRO, "a table must be .*; got a file that begins with"),
        "half a JSON": (half, MACRO, "a table must be .*; got a file that begins with"),
        "ragged rows": (ragged, ACCEL, "a table must have as many cells in each row as columns"),
        "no accuracies": (write_macro(tmp_path / "empty.json", {"0" * 8: []}), MACRO, "a table must be "),
        "above 100 %": (write_macro(tmp_path / "much.json", {"0" * 8: [101.0]}), MACRO, "0 and 100 %, got 101 %"),
        "short key": (write_macro(tmp_path / "s.json", {"01": [1.0]}), MACRO, "nas_bench_macro: .*got key '01'"),
        "macro in accel": (macro, ACCEL, "does not fit search space accel_nasbench: .* 36, 36, .* got key '00000000'"),
        "macro at 64 px": (costs, MACRO.at_image_size(64), "387,882 params and 1 macs, .* 387,882 and 30,814,720"),
        "accel in macro": (write_accel(tmp_path / "a.csv", [(one, 50.0)]), MACRO, "not fit .* nas_bench_macro"),
        "accel in small": (tmp_path / "a.csv", SMALL, "mbconv_small: stage 0 has choices besides e, k, l and se"),
        "strange kernel": (
            write_accel(tmp_path / "k.csv", [(one, 1.0), ([1, 7, *one[2:]], 50.0)]),
            ACCEL,
            "stage 0 has no choice e=1, k=7, l=1, se=0, as in row 1",
        ),
        "trials of another space": (trials, ACCEL, "accel_nasbench: it lacks the columns param.stage0.kernel_size"),
        "trials at 64 px": (trials, SMALL.at_image_size(64), r"trial 0 is the network \w{12}, the space's at 64 px is"),
        "nothing complete": (infeasible, SMALL, "one COMPLETE trial of its search with val_top1, got 1 trials"),
        "miscounted": (miscounted, SMALL, r"trial 0: params must be those of the network \w{12}, got \d+"),
    }  # fmt: skip


def test_each_mistake_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    for name, (path, space, sentence) in mistakes(tmp_path).items():
        with pytest.raises(ConfigError, match=sentence) as caught:
            pytest.fail(f"{name}: {Table.load(path, space)} was read")
        assert str(caught.value).startswith(f"score.path: {path}"), name
        assert "\n" not in str(caught.value), name


def test_a_table_too_small_to_fill_and_an_unknown_rule_are_refused(tmp_path: Path) -> None:
    path = write_macro(tmp_path / "t.json", {"0" * 8: [50.0]})
    with pytest.raises(ConfigError, match=r"score\.missing=fill needs at least 10 known networks, got 1$"):
        Table.load(path, MACRO, "fill")
    with pytest.raises(ConfigError, match=r"score\.missing must be one of infeasible, fill, got 'guess'"):
        Table.load(path, MACRO, "guess")


def test_the_error_told_is_that_of_fitting_anew_without_each_network() -> None:
    rng = random.Random(1)
    archs = list({MACRO.sample(rng): None for _ in range(40)})
    accuracies = {arch: 0.5 + network_cost(arch).macs / 1e9 + 0.01 * rng.random() for arch in archs}
    told = fit_regressor(MACRO, accuracies)
    coding = _Coding.of(MACRO)
    features = _design(np.array([coding.codes(arch) for arch in archs]), coding.levels)
    targets = np.array(list(accuracies.values()))
    errors = []
    for left_out in range(len(archs)):
        kept = np.arange(len(archs)) != left_out
        offset, mean = features[kept].mean(0), targets[kept].mean()
        centred = features[kept] - offset
        penalty = told.penalty * np.eye(features.shape[1])
        weights = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (targets[kept] - mean))
        errors.append(targets[left_out] - mean - (features[left_out] - offset) @ weights)
    assert told.mae == pytest.approx(np.abs(errors).mean(), rel=1e-6)
    assert told.r2 == pytest.approx(1 - np.square(errors).sum() / np.square(targets - targets.mean()).sum(), rel=1e-6)


@pytest.mark.parametrize(
    "space", [MACRO, ACCEL, SMALL, SearchSpace.load("mnasnet"), SearchSpace.load("efficientnet_v2")]
)
def test_two_networks_have_the_same_codes_only_if_they_are_the_same(space: SearchSpace) -> None:
    rng, coding = random.Random(0), _Coding.of(space)
    archs = {space.sample(rng) for _ in range(200)}
    codes = {coding.codes(arch) for arch in archs}
    assert len(codes) == len(archs)
    assert all(0 <= code < count for each in codes for code, count in zip(each, coding.levels, strict=True))


def test_a_regressor_of_constant_accuracies_predicts_them_and_explains_nothing() -> None:
    rng = random.Random(0)
    regressor = fit_regressor(SMALL, {SMALL.sample(rng): 0.5 for _ in range(20)})
    assert (regressor.r2, regressor.mae) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert regressor.predict(SMALL.sample(rng)) == pytest.approx(0.5)
