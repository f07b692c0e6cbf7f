from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timm.models._efficientnet_builder import decode_arch_def

from scalesearch.arch.published import published_arch
from scalesearch.arch.spec import BLOCK_TYPES, FIXED_FIELDS, ArchSpec, StageSpec
from scalesearch.errors import ArchError

B0_ID = "4b9b9a5a3b18"
MBCONV = "ir_r2_k5_s2_e6_c40_se0.25"
ODD_ARCH = ArchSpec(
    (
        StageSpec("cn", 3, 1, 1.0, 9, skip=True),
        StageSpec("ir", 5, 2, 1 / 3, 17, num_blocks=2, se_ratio=1 / 24, skip=False),
    ),
    stem_channels=7,
    head_channels=33,
    image_size=31,
    stem_stride=1,
    activation="hardswish",
)


@st.composite
def valid_stages(draw: st.DrawFn) -> StageSpec:
    counts = st.integers(1, 10_000)
    ratios = {
        "expand_ratio": draw(st.floats(0, 1e6, exclude_min=True)),
        "se_ratio": draw(st.floats(0, 1)),
    }
    block = draw(st.sampled_from(BLOCK_TYPES))
    return StageSpec(
        block=block,
        kernel_size=draw(st.sampled_from([1, 3, 5, 7, 11])),
        stride=draw(st.sampled_from([1, 2])),
        out_channels=draw(counts),
        num_blocks=draw(st.integers(1, 9)),
        skip=draw(st.booleans()),
        **{**ratios, **FIXED_FIELDS.get(block, {})},
    )


@given(valid_stages())
def test_a_block_string_read_back_is_the_same_stage(stage: StageSpec) -> None:
    assert StageSpec.from_block(stage.to_block()) == stage


@given(valid_stages())
def test_timm_reads_a_written_block_string_as_the_same_stage(stage: StageSpec) -> None:
    assert_timm_agrees(stage, stage.to_block())


@pytest.mark.parametrize("suffix", ["", "_skip", "_noskip"])
@pytest.mark.parametrize("block", BLOCK_TYPES)
def test_skip_means_what_it_means_to_timm(block: str, suffix: str) -> None:
    text = f"{block}_r2_k3_s1_e1_c16{suffix}"
    assert_timm_agrees(StageSpec.from_block(text), text)


def assert_timm_agrees(stage: StageSpec, text: str) -> None:
    ((first, *rest),) = decode_arch_def([[text]])
    kernel = {"cn": "kernel_size", "er": "exp_kernel_size"}.get(stage.block, "dw_kernel_size")
    assert stage.num_blocks == 1 + len(rest)
    assert (stage.block, stage.out_channels, stage.stride) == (first["block_type"], first["out_chs"], first["stride"])
    assert stage.kernel_size == first[kernel]
    assert stage.skip == (first["skip"] if stage.block == "cn" else not first["noskip"])
    assert stage.expand_ratio == first.get("exp_ratio", 1.0)
    assert stage.se_ratio == first.get("se_ratio", 0.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ir_r1_k3_s1_e6_c16_foo1", r"'ir_r1_k3_s1_e6_c16_foo1': the codes are r, k, s, e, c, se, .*; got 'foo1'"),
        ("ir_r1_k3_s1_e6_c16_nsw", "the codes are .*; got 'nsw'"),
        ("ir_r1_k3_s1_e6_c16_g8", "the codes are .*; got 'g8'"),
        ("ir_r1_k3_s1_e6_c16_", "the codes are .*; got ''"),
        ("ir_r1_k3_s1_e6_c-16", "the codes are .*; got 'c-16'"),
        ("ir_r1_k3_k5_s1_e6_c16", "kernel_size is given twice"),
        ("ir_r1_k3_s1_e6_c16_se0.25_se0.5", "se_ratio is given twice"),
        ("ir_r1_k3_s1_e6_c16_skip_noskip", "skip is given twice"),
        ("ir_r1", r"must also say k \(kernel_size\), s \(stride\), e \(expand_ratio\), c \(out_channels\)$"),
        ("ir_r1_k3_s1_c16", r"must also say e \(expand_ratio\)$"),
        ("ir_r1.5_k3_s1_e6_c16", "num_blocks must be a whole number, got 1.5"),
        ("ir_r1_k4_s1_e6_c16", "'ir_r1_k4_s1_e6_c16': kernel_size must be odd, got 4"),
        ("ir_r1_k3_s3_e6_c16", "stride must be 1 or 2, got 3"),
        ("ir_r0_k3_s1_e6_c16", "num_blocks must be a whole number of at least 1, got 0"),
        ("ir_r1_k3_s1_e0_c16", "expand_ratio must be a number above 0, got 0.0"),
        ("ir_r1_k3_s1_e6_c16_se1.5", r"se_ratio must be in \[0, 1\], got 1.5"),
        ("ds_r1_k3_s1_e6_c16", "expand_ratio must be 1 for a ds block, got 6.0"),
        ("cn_r1_k3_s1_c16_se0.25", "se_ratio must be 0 for a cn block, got 0.25"),
        ("uir_r1_k3_s1_e6_c16", "must begin with one of ds, ir, er, cn, got 'uir'"),
        ("", "must begin with one of"),
    ],
)
def test_a_block_string_it_does_not_know_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ArchError, match=sentence):
        StageSpec.from_block(text)


@pytest.mark.parametrize("field", ["expand_ratio", "se_ratio"])
def test_a_ratio_beyond_what_a_float_holds_is_refused(field: str) -> None:
    with pytest.raises(ArchError, match=f"{field} must be .*, got 1000"):
        replace(StageSpec.from_block(MBCONV), **{field: 10**400})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stride", 1.0),
        ("stride", True),
        ("kernel_size", 3.0),
        ("num_blocks", True),
        ("out_channels", 16.0),
        ("skip", 1),
        ("expand_ratio", float("nan")),
        ("expand_ratio", float("inf")),
        ("se_ratio", float("nan")),
        ("block", "mbconv"),
    ],
)
def test_a_stage_field_of_the_wrong_kind_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ArchError, match=f"{field} must be .*, got {value!r}"):
        replace(StageSpec.from_block(MBCONV), **{field: value})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"blocks": []}, "stages must be at least one stage"),
        ({"blocks": MBCONV}, "blocks must be a list of block strings, got 'ir_"),
        ({"blocks": [6]}, r"blocks must be a list of block strings, got \[6\]"),
        ({}, "blocks must be a list of block strings, got None"),
        ({"blocks": [MBCONV], "width": 2}, "keys blocks, activation, .*; got width"),
        ({"blocks": [MBCONV], "stem_stride": 4}, "stem_stride must be 1 or 2, got 4"),
        ({"blocks": [MBCONV], "stem_stride": True}, "stem_stride must be 1 or 2, got True"),
        ({"blocks": [MBCONV], "image_size": 224.0}, "image_size must be a whole number of at least 1, got 224.0"),
        ({"blocks": [MBCONV], "activation": "swish"}, "activation must be one of silu, relu, hardswish, got 'swish'"),
    ],
)
def test_a_network_with_a_mistake_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchError, match=sentence):
        ArchSpec.from_dict(values)


def test_from_blocks_reads_what_to_dict_writes() -> None:
    arch = ArchSpec.from_blocks(["ds_r1_k3_s1_e1_c16", MBCONV], stem_channels=24, stem_stride=1, activation="relu")
    assert arch.stages == (
        StageSpec("ds", 3, 1, 1.0, 16),
        StageSpec("ir", 5, 2, 6.0, 40, num_blocks=2, se_ratio=0.25),
    )
    assert (arch.stem_channels, arch.stem_stride, arch.activation, arch.head_channels) == (24, 1, "relu", 1280)
    assert (arch.num_blocks, arch.reduction) == (3, 2)
    assert ArchSpec.from_dict(arch.to_dict()) == arch


@pytest.mark.parametrize("name", ["arch.yaml", "arch.json", "arch"])
def test_a_saved_network_is_loaded_as_it_was(tmp_path: Path, name: str) -> None:
    for arch in (ODD_ARCH, published_arch("efficientnet-b3")):
        arch.save(tmp_path / name)
        assert ArchSpec.load(str(tmp_path / name)) == arch


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"cannot be read \(No such file or directory\)"),
        (b"blocks: [", "while parsing a flow node"),
        (b"\xff\xfe\xfa", "can.t decode|codec"),
        (b"", "a mapping with the key blocks, got None"),
        (b"[1, 2]", r"a mapping with the key blocks, got \[1, 2\]"),
        (b"blocks: [ir_r1_k4_s1_e6_c16]", "'ir_r1_k4_s1_e6_c16': kernel_size must be odd, got 4"),
    ],
)
def test_a_file_without_a_network_is_named_in_one_sentence(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "broken.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArchError, match=sentence) as caught:
        ArchSpec.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_arch_id_is_the_same_in_every_process() -> None:
    code = "from scalesearch.arch import published_arch; print(published_arch('efficientnet-b0').arch_id)"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == published_arch("efficientnet-b0").arch_id == B0_ID


def test_whole_and_floating_ratios_give_the_same_arch_id() -> None:
    whole, floating = (ArchSpec((StageSpec("ir", 3, 1, ratio, 16, se_ratio=se),)) for ratio, se in [(6, 1), (6.0, 1.0)])
    assert whole == floating
    assert whole.arch_id == floating.arch_id


STAGE_CHANGES = {
    "block": "er",
    "kernel_size": 3,
    "stride": 1,
    "expand_ratio": 5.5,
    "out_channels": 41,
    "num_blocks": 3,
    "se_ratio": 0.2500001,
    "skip": False,
}
NETWORK_CHANGES = {
    "stem_channels": 33,
    "head_channels": 1281,
    "image_size": 225,
    "stem_stride": 1,
    "activation": "relu",
}


def test_every_single_change_gives_another_arch_id() -> None:
    arch = ArchSpec.from_blocks([MBCONV, MBCONV])
    first, second = arch.stages
    changed = [replace(arch, stages=(first, replace(second, **{name: to}))) for name, to in STAGE_CHANGES.items()]
    changed += [replace(arch, **{name: to}) for name, to in NETWORK_CHANGES.items()]
    changed += [replace(arch, stages=(first,))]
    assert set(STAGE_CHANGES) == {field.name for field in fields(StageSpec)}
    assert set(NETWORK_CHANGES) | {"stages"} == {field.name for field in fields(ArchSpec)}
    assert len({each.arch_id for each in [arch, *changed]}) == 1 + len(changed)


@pytest.mark.parametrize("value", [ODD_ARCH, ODD_ARCH.stages[0]])
def test_a_specification_cannot_be_changed(value: ArchSpec | StageSpec) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, getattr(value, field.name))
    assert hash(value) == hash(replace(value))
