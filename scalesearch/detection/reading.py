"""How a person names a detector, and how it is kept in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from scalesearch.detection.published import EFFICIENTDETS, published_detector
from scalesearch.detection.spec import DetectorSpec
from scalesearch.errors import ArchError

_FILE_ENDINGS = (".yaml", ".yml", ".json")


def read_detector(text: str) -> DetectorSpec:
    """Return the detector that a published name or a file describes.

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
    raise ArchError(f"a detector is {next(iter(EFFICIENTDETS))} .. d7x, or a .yaml or .json file; got {text!r}")


def load_detector(path: Path | str) -> DetectorSpec:
    """Read a YAML or JSON file that ``save_detector`` wrote.

    Raises:
        ArchError: The file is missing or holds no detector; the sentence names it.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
        if not isinstance(values, Mapping):
            raise ArchError(f"a detector is a mapping with the key backbone, got {values!r}")
        return DetectorSpec.from_dict(values)
    except OSError as error:
        raise ArchError(f"{path}: cannot be read ({error.strerror})") from None
    except (ArchError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArchError(f"{path}: {' '.join(str(error).split())}") from None


def save_detector(spec: DetectorSpec, path: Path | str) -> None:
    """Write the detector as JSON where the name ends in ``.json``, else as YAML."""
    path, values = Path(path), spec.to_dict()
    text = json.dumps(values, indent=2) + "\n" if path.suffix == ".json" else yaml.safe_dump(values, sort_keys=False)
    path.write_text(text, encoding="utf-8")
