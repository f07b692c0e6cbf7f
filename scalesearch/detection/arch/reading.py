"""How a person names a detector, and how it is kept in a file."""

from __future__ import annotations

from pathlib import Path

from scalesearch.arch.files import load_value, save_values
from scalesearch.detection.arch.published import EFFICIENTDETS, published_detector
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.errors import ArchError
from scalesearch.paths import CONF

DETECTORS = CONF / "detectors"
"""Detectors that ship with scalesearch, one file each."""

_FILE_ENDINGS = (".yaml", ".yml", ".json")


def read_detector(text: str) -> DetectorSpec:
    """Return the detector that a published name, the name of one that ships here, or a file describes.

    Raises:
        ArchError: The text is neither.

    Example:
        >>> read_detector("efficientdet-d0").neck_channels
        64
    """
    text = text.strip()
    if text.endswith(_FILE_ENDINGS):
        return load_detector(text)
    if text.startswith("efficientdet"):
        return published_detector(text)
    shipped = sorted(path.stem for path in DETECTORS.glob("*.yaml"))
    if text in shipped:
        return load_detector(DETECTORS / f"{text}.yaml")
    names = ", ".join([*shipped, next(iter(EFFICIENTDETS))])
    raise ArchError(f"a detector is {names} .. d7x, or a .yaml or .json file; got {text!r}")


def load_detector(path: Path | str) -> DetectorSpec:
    """Read a YAML or JSON file that ``save_detector`` wrote.

    Raises:
        ArchError: The file is missing or holds no detector; the sentence names it.
    """
    return load_value(path, DetectorSpec.from_dict, "a detector is a mapping with the key backbone")


def save_detector(spec: DetectorSpec, path: Path | str) -> None:
    """Write the detector as JSON where the name ends in ``.json``, else as YAML."""
    save_values(spec.to_dict(), path)
