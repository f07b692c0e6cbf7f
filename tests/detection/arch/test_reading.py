from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.detection.arch.published import published_detector
from scalesearch.detection.arch.reading import load_detector, read_detector, save_detector
from scalesearch.errors import ArchError

SPEC = replace(published_detector("efficientdet-d0"), num_classes=20, image_size=320, neck="fpn", fusion="sum")


@pytest.mark.parametrize("name", ["efficientdet-d3", "efficientdet_d3", " efficientdet-d3 "])
def test_a_published_name_is_that_detector(name: str) -> None:
    assert read_detector(name) == published_detector("efficientdet-d3")


@pytest.mark.parametrize("ending", ["yaml", "yml", "json"])
def test_a_file_is_the_detector_it_holds(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"detector.{ending}"
    save_detector(SPEC, path)
    assert read_detector(str(path)) == load_detector(path) == SPEC


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"^a detector is small, efficientdet-d0 \.\. d7x, or a \.yaml or \.json file; got ''$"),
        ("yolo", r"; got 'yolo'$"),
        ("efficientdet-d8", r"^published detectors are .*; got 'efficientdet-d8' \(did you mean efficientdet-d"),
        ("nowhere/detector.yaml", r"^nowhere/detector\.yaml: cannot be read \(No such file or directory\)$"),
    ],
)
def test_a_text_that_is_no_detector_is_refused_by_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ArchError, match=sentence):
        read_detector(text)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("- efficientnet-b0\n", "a detector is a mapping with the key backbone, got ['efficientnet-b0']"),
        ("backbone: efficientnet-b0\nneck_cells: 0\n", "neck_cells must be a whole number of at least 1, got 0"),
        ("backbone: [", "while parsing a flow node"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_the_file(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "detector.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ArchError, match=f"^{re.escape(f'{path}: {sentence}')}"):
        load_detector(path)
