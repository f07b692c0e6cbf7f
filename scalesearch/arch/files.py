"""Values in YAML and JSON files: every mistake is one sentence that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from scalesearch.arch.plain_yaml import parse_yaml
from scalesearch.errors import ArchError, shown

Value = TypeVar("Value")


def load_value(path: Path | str, build: Callable[[Mapping[str, Any]], Value], expected: str) -> Value:
    """Return what a file's mapping builds.

    Args:
        path: YAML, or JSON, which is YAML.
        build: Makes the value; its ArchError is said to be the file's.
        expected: What the file should hold, for the sentence where it holds no mapping.

    Raises:
        ArchError: The file is missing or unreadable, or holds nothing that builds the value.
    """
    path = Path(path)
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
        if not isinstance(values, Mapping):
            raise ArchError(f"{expected}, got {shown(values)}")
        return build(values)
    except OSError as error:
        raise ArchError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, yaml.YAMLError) as error:  # ArchError among them, bytes that are no text, a name with NUL
        raise ArchError(f"{path}: {' '.join(str(error).split())}") from None


def save_values(values: Mapping[str, Any], path: Path | str) -> None:
    """Write plain values as JSON where the name ends in ``.json``, else as YAML."""
    path = Path(path)
    text = json.dumps(values, indent=2) + "\n" if path.suffix == ".json" else yaml.safe_dump(values, sort_keys=False)
    path.write_text(text, encoding="utf-8")
