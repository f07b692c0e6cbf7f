"""Arguments of the command line before Hydra composes them: how a value is quoted, and a file that holds some.

A file of arguments (``config=FILE``) is a mapping as one would give it in Python: a key with its value, nested or with
dots. What stands under a verb's name is for that verb alone, the rest for every verb that has the key, so that one file
serves a whole study; ``train`` names a training, not the verb. The command line lies over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path

import yaml

from scalesearch.arch.plain_yaml import parse_yaml
from scalesearch.errors import ConfigError, listed, shown
from scalesearch.paths import CONF
from scalesearch.schemas import SCHEMAS
from scalesearch.study.executors import EXECUTORS
from scalesearch.study.trackers import TRACKERS

CONFIG = "config"
"""The key that names a file of arguments; no verb has one of that name."""

DETECTOR_VERBS = ("detect-scale", "detect", "predict")

CODE_GROUPS = {"executor": list(EXECUTORS), "tracker": list(TRACKERS)}
"""Choices that are no yaml."""

_NO_SECTIONS = ("train",)  # a verb, but in a file the keys of every verb's training, as it is elsewhere
_ALSO_READS = {"plan": "search"}  # verbs that foresee what another one does


def conf_of(verb: str) -> Path:
    """Return the folder of a verb's yaml: detectors have data and trainings of their own, under the same keys."""
    return CONF / "detection" if verb in DETECTOR_VERBS else CONF


def choices_of(verb: str) -> dict[str, list[str]]:
    """Return the choices of each group that a verb's folder has: the key that names it may be anything one types."""
    return {**_groups(conf_of(verb)), **CODE_GROUPS}


@cache
def _groups(conf: Path) -> dict[str, list[str]]:
    folders = (folder for folder in conf.iterdir() if folder.is_dir())
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def quote(argument: str) -> str:
    """Quote a value that is neither a plain word or number nor written as a list, mapping or quotation.

    Hydra has a grammar of its own for values: it would read block strings joined by commas as a sweep, and stumble over
    a path with brackets or a URL with a question mark.
    """
    key, equals, value = argument.partition("=")
    if not equals or re.fullmatch(r"[\w.+-]*|[\['\"{].*", value, flags=re.DOTALL):
        return argument
    return f"{key}={quoted(value)}"


def quoted(text: str) -> str:
    r"""Return a text as Hydra reads it back, whatever it holds.

    Example:
        >>> print(quoted("it's a\\"))
        'it\'s a\\'
    """
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text)
    return f"'{escaped}'"


def with_files(verb: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with those of the files that ``config=FILE`` names before them.

    Raises:
        ConfigError: A file cannot be read, or holds something else.
    """
    files, plain = _apart(arguments)
    held = [held for file in files for held in read_file(verb, Path(file))]
    return [*_beneath(verb, held, plain), *plain]


def read_file(verb: str, path: Path) -> list[str]:
    """Return what a file of arguments says to a verb, in the form of the command line.

    Raises:
        ConfigError: The file cannot be read, is no mapping, or has a key that no verb has.
    """
    content = _read_mapping(path)
    verbs = SCHEMAS.keys() - set(_NO_SECTIONS)
    sections = {name: value for name, value in content.items() if name in verbs and isinstance(value, Mapping)}
    known = {item.name for schema in SCHEMAS.values() for item in fields(schema)}
    unknown = [name for name in content.keys() - sections.keys() if name.partition(".")[0] not in known]
    if unknown:
        raise ConfigError(
            f"{path}: it has keys of scalesearch's verbs, and verbs with keys of theirs; got {listed(unknown)}"
        )
    own = {item.name for item in fields(SCHEMAS[verb])}
    plain = {name: value for name, value in content.items() if name not in sections}
    shared = {name: value for name, value in plain.items() if name.partition(".")[0] in own}
    arguments = list(_flatten(verb, shared))
    for section in (_ALSO_READS.get(verb, ""), verb):
        if section in sections:
            its_own = list(_flatten(verb, sections[section]))
            arguments = [*_beneath(verb, arguments, its_own), *its_own]
    return arguments


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files that are named, and the other arguments."""
    prefix = f"{CONFIG}="
    files = [argument.removeprefix(prefix) for argument in arguments if argument.startswith(prefix)]
    return files, [argument for argument in arguments if not argument.startswith(prefix)]


def _beneath(verb: str, lower: Sequence[str], upper: Sequence[str]) -> list[str]:
    """Return what of the lower arguments stays: a group that is chosen above begins anew."""
    chosen = {argument.partition("=")[0] for argument in upper} & choices_of(verb).keys()
    return [argument for argument in lower if re.split(r"[.=]", argument, maxsplit=1)[0] not in chosen]


def _read_mapping(path: Path) -> Mapping[str, object]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config: {path} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:  # bytes that are no text, a name with NUL
        raise ConfigError(f"config: {path}: {' '.join(str(error).split())}") from None
    content = {} if content is None else content  # nothing but comments
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: it must be a mapping of keys to values, got {shown(content)}")
    return content


def _flatten(verb: str, content: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flatten(verb, value, f"{key}.")
        elif isinstance(value, str) and key in choices_of(verb):
            yield f"{key}={value}"
        else:
            yield f"{key}={written(value)}"


def written(value: object) -> str:
    """Return a plain value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(written(item) for item in value)}]"
    return repr(value) if isinstance(value, int | float) else quoted(str(value))
