"""From the command line to checked values: Hydra composes, dataclasses check, one sentence says what is wrong.

No configuration object travels further in: each verb's function gets its own dataclass of plain values.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast, get_type_hints

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scalesearch.arguments import CONFIG, choices_of, conf_of, quote, read_file, with_files
from scalesearch.detection.studies import DetectorConfig
from scalesearch.errors import ConfigError, shown
from scalesearch.paths import CONF
from scalesearch.scaling import FamilyConfig, ScaleConfig
from scalesearch.schemas import SCHEMAS
from scalesearch.search import SearchConfig
from scalesearch.study.executors import EXECUTORS, ExecutorConfig
from scalesearch.study.folder import StudyFolder, hide_passwords
from scalesearch.study.settings import PartConfig, StudyConfig
from scalesearch.study.trackers import TRACKERS


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The parts of ``scalesearch run``, in their order."""

    search: SearchConfig
    scale: ScaleConfig
    family: FamilyConfig


PARTS = ("search", "scale", "family")
"""Of ``run``."""

_NETWORK_PARTS = (*PARTS, "train", "plan", "fidelity", "scaling-curves")
_DETECTOR_PARTS = ("detect-scale", "detect")

_SHARED = tuple(item.name for item in fields(StudyConfig))
_NEVER_SAVED = ("study", "results")
_COMMON = tuple(item.name for item in fields(PartConfig) if item.name not in _NEVER_SAVED)

_REFUSALS = (HydraException, OmegaConfBaseException, OverflowError)
"""How Hydra and OmegaConf refuse a value; the last is a whole number beyond what a float holds."""


def load_config(verb: str, arguments: Sequence[str]) -> Any:  # noqa: ANN401 (the verb's own dataclass)
    """Return the checked configuration of a verb.

    A part of a study that has begun starts from what the study was begun with, so that ``scale study=mine`` needs
    not be told the data again; what the command line says comes first, and then what the file says that
    ``config=FILE`` names.

    Raises:
        ScalesearchError: A key or value is not allowed; the sentence names it.
    """
    arguments = with_files(verb, arguments)
    explicit = [read_key(verb, argument) for argument in arguments]
    composed = _compose(verb, arguments)
    try:
        _refuse_references(OmegaConf.to_container(composed, resolve=False))
        if verb in (*_NETWORK_PARTS, *_DETECTOR_PARTS, "report", "watch"):
            composed = _on_top_of_study(verb, composed, explicit)
        return OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from None


def _refuse_references(value: object, key: str = "") -> None:
    """Refuse ``${...}``, which OmegaConf would replace by another key's value or by one of the environment's.

    A study's ``config.yaml`` may come from anybody, and what it is resolved to would be written and shown.

    Raises:
        ConfigError: A text has one, or a character that no path may have.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_references(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            _refuse_references(inner, key)
    elif isinstance(value, str) and ("${" in value or "\0" in value):
        raise ConfigError(f"{key} must be a plain text without ${{...}}, got {shown(hide_passwords(value))}")


def describe_keys(schema: type, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key, default and meaning of every key of a schema, nested ones with dots, from its docstrings."""
    hints, meanings = get_type_hints(schema), _meanings(schema)
    defaults = schema()
    for item in fields(schema):
        hint, default = hints[item.name], getattr(defaults, item.name)
        if isinstance(hint, type) and is_dataclass(hint):
            yield from describe_keys(hint, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", _show(default), meanings.get(item.name, "")


def describe_config(config: object) -> str:
    """Return a verb's configuration as YAML, which ``config=FILE`` reads again; passwords are masked."""
    assert is_dataclass(config)
    assert not isinstance(config, type)
    return yaml.safe_dump(_without_passwords(asdict(config)), sort_keys=False, allow_unicode=True)


def _without_passwords(value: Any) -> Any:  # noqa: ANN401 (plain values, nested)
    if isinstance(value, dict):
        return {key: _without_passwords(inner) for key, inner in value.items()}
    return hide_passwords(value) if isinstance(value, str) and "://" in value else value


def load_run_config(arguments: Sequence[str]) -> RunConfig:
    """Return the checked configuration of ``run``: ``search.trials=9`` is for one part, ``data=folder`` for all.

    Raises:
        ScalesearchError: A key or value is not allowed; the sentence names it.
    """
    defaults = yaml.safe_load((CONF / "run.yaml").read_text(encoding="utf-8"))
    files = [Path(argument.partition("=")[2]) for argument in arguments if argument.startswith(f"{CONFIG}=")]
    arguments = [argument for argument in arguments if not argument.startswith(f"{CONFIG}=")]
    shared = [argument for argument in arguments if _part_of(argument) is None]
    parts = {
        part: [
            *defaults["all"],
            *defaults[part],
            *(held for file in files for held in read_file(part, file)),
            *shared,
            *(argument.removeprefix(f"{part}.") for argument in arguments if _part_of(argument) == part),
        ]
        for part in PARTS
    }
    return RunConfig(**{part: load_config(part, parts[part]) for part in PARTS})


def _part_of(argument: str) -> str | None:
    """Return the part an argument of ``run`` is for, None for all.

    Raises:
        ConfigError: It is neither a part's nor shared.
    """
    key = argument.partition("=")[0]
    first = key.partition(".")[0]
    if first in PARTS:
        return first
    if first not in _SHARED:
        owner = next((part for part in PARTS if _has_key(OmegaConf.structured(SCHEMAS[part]), key)), None)
        raise ConfigError(
            f"scalesearch run has the keys {', '.join(_SHARED)}, and search.*, scale.*, family.*; got {key!r}"
            + (f" (did you mean {owner}.{key}?)" if owner else "")
        )
    return None


@cache
def _register_schema(verb: str) -> None:
    """Tell Hydra a verb's schema; not those of all, for it copies whatever it was told at every composing."""
    store = ConfigStore.instance()
    store.store(name=f"{verb}_schema", node=SCHEMAS[verb])
    # the same for networks and for detectors, whose yaml lie apart
    for kind in EXECUTORS:
        store.store(group="executor", name=kind, node=ExecutorConfig(kind=kind))
    for method in TRACKERS:  # no value of the schema: whether its package is there is asked when it is chosen
        store.store(group="tracker", name=method, node={"method": method})


def read_key(verb: str, argument: str) -> str:
    """Return the key of ``key=value``; Hydra's other forms (``+key=``, ``~key``, ``key@package=``) are not for us.

    Raises:
        ConfigError: The argument is not of that form, or not a choice of its group.
    """
    try:
        override = OverridesParser.create().parse_override(quote(argument))
    except (HydraException, RecursionError, ValueError):  # ValueError: more digits than Python reads
        raise ConfigError(f"an argument is key=value, got {shown(hide_passwords(argument))}") from None
    if override.type != OverrideType.CHANGE or override.package is not None or not override.key_or_group:
        raise ConfigError(f"an argument is key=value, got {shown(hide_passwords(argument))}")
    key, value = override.key_or_group, override.value()
    allowed = choices_of(verb).get(key, [])
    if allowed and value not in allowed:
        raise ConfigError(f"{key} must be one of {', '.join(allowed)}, got {shown(value)}")
    return key


def _compose(verb: str, arguments: Sequence[str]) -> DictConfig:
    defaults = _defaults(verb)
    keys = [read_key(verb, argument) for argument in arguments]
    for key in keys:
        if not _has_key(defaults, key):
            raise ConfigError(_unknown_key(verb, key, defaults))
    with initialize_config_dir(str(conf_of(verb)), version_base="1.3"):
        quoted = [quote(argument) for argument in arguments]
        try:
            return compose(verb, quoted)
        except _REFUSALS as error:
            raise ConfigError(_blame(verb, keys, quoted, error)) from None


@cache
def _defaults(verb: str) -> DictConfig:
    """Return what a verb is told where the command line says nothing; not to be changed."""
    _register_schema(verb)
    with initialize_config_dir(str(conf_of(verb)), version_base="1.3"):
        return compose(verb)


def _blame(verb: str, keys: Sequence[str], arguments: Sequence[str], error: Exception) -> str:
    """Name the argument whose value cannot be: the error may know its key, else each is composed alone."""
    cause = _innermost(error)
    if isinstance(cause, OmegaConfBaseException) and cause.full_key in keys:
        return f"{cause.full_key}: {_first_line(cause)}"
    for key, argument in zip(keys, arguments, strict=True):
        try:
            compose(verb, [argument])
        except _REFUSALS as own:
            return f"{key}: {_first_line(_innermost(own))}"
    return _first_line(cause)


def _unknown_key(verb: str, key: str, defaults: DictConfig) -> str:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(defaults, parent) if parent and _has_key(defaults, parent) else defaults
    if not isinstance(node, DictConfig):
        node, parent = defaults, ""
    allowed = sorted(str(item) for item in node)
    near = difflib.get_close_matches(name, allowed, n=1)
    where = f"{verb}, under {parent}," if parent else f"{verb}"
    return f"scalesearch {where} has the keys {', '.join(allowed)}; got {key!r}" + (
        f" (did you mean {parent + '.' if parent else ''}{near[0]}?)" if near else ""
    )


def _has_key(config: DictConfig, key: str) -> bool:
    node: Any = OmegaConf.to_container(config, resolve=False)
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True


def _on_top_of_study(verb: str, composed: DictConfig, explicit: Sequence[str]) -> DictConfig:
    """Return the study's own configuration with what the command line says laid over it."""
    folder = StudyFolder.of(composed.results, composed.study)
    saved = _saved_section(verb, folder)
    begun = {name: value for name, value in saved.items() if name not in explicit and name in composed}
    try:
        _refuse_references(begun)
        merged = cast(DictConfig, OmegaConf.merge(composed, begun))
    except (*_REFUSALS, ConfigError) as error:
        key = f"{error.full_key}: " if isinstance(error, OmegaConfBaseException) and error.full_key else ""
        raise ConfigError(f"{folder.config}: {key}{_first_line(error)}") from None
    for key in explicit:
        OmegaConf.update(merged, key, OmegaConf.select(composed, key))
    if "tracker" in merged and "***" in merged.tracker.uri:
        raise ConfigError(f"tracker.uri must be given again, for its password is not kept: {merged.tracker.uri}")
    if "***" in (merged.storage or ""):
        raise ConfigError(f"storage must be given again, for its password is not kept: {merged.storage}")
    return merged


def _saved_section(verb: str, folder: StudyFolder) -> dict[str, Any]:
    sections = folder.read_config()
    verb = "search" if verb == "plan" else verb  # which is what it foresees
    if verb == "train":
        return _begun_images(sections)
    if verb in sections:
        return {key: value for key, value in sections[verb].items() if key not in _NEVER_SAVED}
    # where and on what a study runs; networks and detectors have data and trainings of their own kind
    first: dict[str, Any] = next(iter(sections.values()), {})
    common = {name: first[name] for name in _COMMON if name in first}
    if verb in _DETECTOR_PARTS:
        return common | _begun_detector(verb, sections)
    begun: dict[str, Any] = next((sections[part] for part in sections if part not in _DETECTOR_PARTS), {})
    # a family and the measure of fidelity train longer than the study's candidates were: their training is their own
    is_longer = verb in ("family", "fidelity", "scaling-curves")
    shared = [name for name in _SHARED if name not in _NEVER_SAVED and not (is_longer and name == "train")]
    taken = common | {key: begun[key] for key in shared if key in begun}
    if verb == "fidelity":
        searched = sections.get("search", {})
        renamed = {"space": "space", "image_size": "image_size", "budget": "budget", "train": "brief"}
        taken |= {new: searched[key] for key, new in renamed.items() if key in searched}
    return taken


def _begun_images(sections: dict[str, Any]) -> dict[str, Any]:
    """Return on what and where the study's networks were trained: how, each command of ``train`` says for itself."""
    begun = [section for part, section in sections.items() if part not in _DETECTOR_PARTS]
    section: dict[str, Any] = sections.get("train") or next(iter(begun), {})
    return {name: section[name] for name in (*_COMMON, "data") if name in section}


def _begun_detector(verb: str, sections: dict[str, Any]) -> dict[str, Any]:
    """Return what the other study of detectors was told; a comparison trains longer than a search: its own training."""
    begun: dict[str, Any] = next((sections[part] for part in sections if part in _DETECTOR_PARTS), {})
    left_out = {*_NEVER_SAVED, *(["train"] if verb == "detect" else [])}
    return {item.name: begun[item.name] for item in fields(DetectorConfig) if item.name in begun.keys() - left_out}


def _meanings(schema: type) -> dict[str, str]:
    """Return each attribute's sentence from the docstrings of a schema and its base."""
    meanings: dict[str, str] = {}
    for owner in reversed(schema.__mro__):
        text = inspect.getdoc(owner) or ""
        section = re.search(r"^(?:Attributes|Args):\n((?:[ ]{4}.*\n?|\n)+)", text, flags=re.MULTILINE)
        for match in re.finditer(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", flags=re.MULTILINE):
            meanings[match[1]] = " ".join(match[2].replace("``", "").split())
    return meanings


def _show(value: object) -> str:
    return "" if value is None else str(value)


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    """Return a sentence of Hydra's or OmegaConf's, which may quote the value that cannot be."""
    return hide_passwords(str(error).splitlines()[0]) if str(error) else type(error).__name__
