"""The keys that studies of detectors share: which detector they begin with, and what makes two scores comparable."""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from scalesearch.arch import published_arch
from scalesearch.arch.reading import read_arch
from scalesearch.detection.arch.reading import DETECTORS, load_detector, read_detector, save_detector
from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.detection.data import load_box_data
from scalesearch.detection.nn.detector import build_detector
from scalesearch.detection.studies import DetectorConfig, PretrainedConfig, score_detector
from scalesearch.errors import ConfigError, ScalesearchError
from scalesearch.study.executors import LocalExecutor
from tests.detection.detectors import tiny_spec
from tests.detection.studies.stand_ins import BLOCKS, NUM_CLASSES, TINY_BOXES, TINY_TRAINING, keys, write_coco


def new_config(folder: Path, **changes: Any) -> DetectorConfig:
    return DetectorConfig(**keys(folder, **changes))


@pytest.mark.parametrize("path", sorted(DETECTORS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_detector_is_read_by_its_name(path: Path) -> None:
    assert read_detector(path.stem) == load_detector(path)


def test_a_detector_is_begun_with_as_it_is_but_for_the_classes_of_the_data() -> None:
    assert DetectorConfig().read_base(7) == replace(read_detector("small"), num_classes=7)


def test_keys_beside_a_detector_change_it(tmp_path: Path) -> None:
    save_detector(tiny_spec(), tmp_path / "mine.yaml")
    changes = {"backbone": BLOCKS, "min_level": 2, "max_level": 5, "anchor_scale": 2.0}
    base = DetectorConfig(detector=str(tmp_path / "mine.yaml"), **changes).read_base(4)
    assert base == replace(tiny_spec(), **{**changes, "backbone": read_arch(BLOCKS)}, num_classes=4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"detector": "yolo"}, r"^a detector is small, efficientdet-d0 \.\. d7x, or .*; got 'yolo'$"),
        ({"backbone": "resnet50"}, r"^an architecture is .*; got 'resnet50'$"),
        ({"min_level": 9}, r"^min_level must be in \d \.\. \d, the levels of the backbone's stages, got 9$"),
        ({"max_level": 2}, r"^max_level must be a whole number above min_level 2, got 2$"),
        ({"anchor_scale": -1.0}, r"^anchor_scale must be a finite number above 0, got -1\.0$"),
    ],
)
def test_what_makes_no_detector_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScalesearchError, match=sentence):
        DetectorConfig(**changes).read_base(4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"padding": "valid"}, "pretrained.padding must be one of symmetric, same, got 'valid'"),
        ({"bn_eps": 0.0}, "pretrained.bn_eps must be above 0, got 0.0"),
    ],
)
def test_weights_are_of_a_known_kind(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        PretrainedConfig(**changes)


def test_a_job_has_what_the_keys_say(tmp_path: Path) -> None:
    config = new_config(tmp_path, decoding=DecodingConfig(max_detections=7), pretrained=PretrainedConfig(bn_eps=1e-3))
    job = config.job(tiny_spec(), 5, reads_test=True, rungs=(1,))
    assert (job.arch, job.seed, job.device, job.reads_test, job.rungs) == (tiny_spec(), 5, "cpu", True, (1,))
    assert (job.data, job.train) == (TINY_BOXES, TINY_TRAINING)
    assert (job.decoding.max_detections, job.pretrained.bn_eps, job.checkpoint) == (7, 1e-3, None)


def test_detectors_are_scored_in_processes_of_their_own(tmp_path: Path) -> None:
    executor = new_config(tmp_path, workers=3).open_executor(None)
    assert isinstance(executor, LocalExecutor)
    assert (executor.num_workers, executor._run) == (3, score_detector)


def test_what_changes_a_score_changes_the_identity_and_what_does_not_does_not(tmp_path: Path) -> None:
    data = load_box_data(TINY_BOXES)
    identity = new_config(tmp_path).identity(data)
    assert identity["data"] | {"fingerprint": ""} == {
        "classes": NUM_CLASSES,
        "train_images": 8,
        "val_images": 4,
        "fingerprint": "",
    }
    for changes in ({"workers": 2}, {"threads": 2}, {"backbone": "efficientnet-b0"}, {"study": "yours"}):
        assert new_config(tmp_path, **changes).identity(data) == identity, changes
    different: list[dict[str, Any]] = [
        {"seed": 1},
        {"train": replace(TINY_TRAINING, learning_rate=0.1)},
        {"decoding": DecodingConfig(nms_iou=0.6)},
        {"pretrained": PretrainedConfig(bn_eps=1e-3)},
    ]
    for changes in different:
        assert new_config(tmp_path, **changes).identity(data) != identity, changes
    other = load_box_data(replace(TINY_BOXES, seed=1))
    assert new_config(tmp_path).identity(other) != identity


def test_the_identity_of_weights_is_their_content_and_not_their_place(tmp_path: Path) -> None:
    data = load_box_data(TINY_BOXES)
    one, moved, other = (tmp_path / name for name in ("one.pth", "moved.pth", "other.pth"))
    one.write_bytes(b"weights")
    shutil.copy(one, moved)
    other.write_bytes(b"others")
    identities = [
        new_config(tmp_path, pretrained=PretrainedConfig(path=str(path))).identity(data)
        for path in (one, moved, other, "")
    ]
    assert identities[0] == identities[1]
    assert all(identities[0] != identity for identity in identities[2:])
    assert str(tmp_path) not in str(identities)


def test_weights_that_cannot_be_read_are_refused_by_their_key(tmp_path: Path) -> None:
    config = new_config(tmp_path, pretrained=PretrainedConfig(path="nowhere.pth"))
    sentence = r"^pretrained\.path: nowhere\.pth: cannot be read \(No such file or directory\)$"
    with pytest.raises(ConfigError, match=sentence):
        config.identity(load_box_data(TINY_BOXES))


def test_pixels_that_are_not_kept_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = new_config(tmp_path, data=write_coco(tmp_path / "pictures", ["cat"]))
    config.warn_of_upsampling(64)
    new_config(tmp_path).warn_of_upsampling(10_000)  # made pictures are drawn at any size
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        config.warn_of_upsampling(96)
    (warning,) = caplog.records
    assert "96" in warning.getMessage()
    assert "64" in warning.getMessage()


def test_weights_to_begin_with_are_told_of_before_anything_is_trained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec, path = tiny_spec(), tmp_path / "whole.safetensors"
    save_file(build_detector(replace(spec, num_classes=9)).state_dict(), path)
    DetectorConfig(pretrained=PretrainedConfig(path=str(path))).check_pretrained(spec)
    assert "left fresh 2 (class_net.predict.conv_pw.weight, class_net.predict.conv_pw.bias)" in caplog.text
    other = tiny_spec(backbone=published_arch("efficientnet-b0"))
    with pytest.raises(ConfigError, match=r"whole\.safetensors"):
        DetectorConfig(pretrained=PretrainedConfig(path=str(path))).check_pretrained(other)
