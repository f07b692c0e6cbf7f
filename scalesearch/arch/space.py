"""What may vary: a search space read from a YAML file, and the way from a point of it to an architecture.

The form is MnasNet's factorised hierarchical space (Tan et al. 2019, arXiv 1807.11626, section 4): a fixed row of
stages, each with its own choices of block, kernel, expansion, squeeze-and-excitation, skip, width and depth. In the
file every field is a value or a list of choices; a stage may instead be ``one_of`` several block strings.

One static set of parameters: a choice that has no effect (the expansion of a depthwise block, the kernel of a stage
with no blocks) is still drawn, so that every Optuna sampler sees the same dimensions in each trial. Points that
differ only there are the same architecture and have the same ``arch_id``.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import yaml

from scalesearch.arch.plain_yaml import parse_yaml
from scalesearch.arch.spec import FIXED_FIELDS, ArchSpec, StageSpec
from scalesearch.errors import ArchError, SpaceError, listed, shown
from scalesearch.paths import SEARCH_SPACES

Choice = str | int | float | bool
Values = Mapping[str, Choice | None]
StageChoices = Mapping[str, tuple[Choice, ...]]

_NETWORK_FIELDS = ("stem_channels", "head_channels", "image_size", "stem_stride", "activation")
_STAGE_FIELDS = tuple(field.name for field in fields(StageSpec))
_MOST_SETTINGS = 100_000  # of all stages, each by itself; they are built when the file is read
_OMITTED = "none"  # in ``one_of``: the stage is left out


class Trial(Protocol):
    """What ``suggest`` asks of a trial; an ``optuna.Trial`` is one."""

    def suggest_categorical(self, name: str, choices: Sequence[Choice | None]) -> Choice | None:
        """Return one of ``choices``."""
        ...


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A row of stages with choices.

    Attributes:
        name: The file's name without its ending.
        network: Choices of each field of the network outside its stages.
        stages: Choices of each stage: fields of a ``StageSpec``, or ``one_of`` block strings alone.
    """

    name: str
    network: Mapping[str, tuple[Choice, ...]]
    stages: tuple[StageChoices, ...]

    @classmethod
    def load(cls, name_or_path: str | Path) -> SearchSpace:
        """Read a space by its name (one that ships with scalesearch) or by its file.

        Raises:
            SpaceError: There is no such space, or the file has a mistake; the sentence says where.

        Example:
            >>> SearchSpace.load("nas_bench_macro").cardinality
            6561
        """
        path = Path(name_or_path)
        if path.suffix not in (".yaml", ".yml"):
            path = SEARCH_SPACES / f"{name_or_path}.yaml"
            known = sorted(file.stem for file in SEARCH_SPACES.glob("*.yaml"))
            if str(name_or_path) not in known:
                got = shown(str(name_or_path))
                raise SpaceError(f"search spaces are {', '.join(known)}, or the path of a .yaml file; got {got}")
        try:
            return cls.from_dict(path.stem, parse_yaml(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise SpaceError(f"{path}: cannot be read ({error.strerror})") from None
        except (yaml.YAMLError, ValueError) as error:  # our own among them, bytes that are no text, a name with NUL
            raise SpaceError(f"{path}: {' '.join(str(error).split())}") from None

    @classmethod
    def from_dict(cls, name: str, content: object) -> SearchSpace:
        """Build and check a space from the mapping a file holds.

        Raises:
            SpaceError: A key or value is not allowed; the sentence says in which stage.
        """
        content = _mapping(content, "a search space", (*_NETWORK_FIELDS, "stages"))
        stages = content.get("stages")
        if not isinstance(stages, list) or not stages:
            raise SpaceError(f"stages must be a list of at least one stage, got {shown(stages)}")
        network = {key: _choices(key, content[key]) for key in _NETWORK_FIELDS if key in content}
        space = cls(name, network, tuple(_read_stage(index, stage) for index, stage in enumerate(stages)))
        space._check()
        return space

    @property
    def parameters(self) -> dict[str, tuple[Choice, ...]]:
        """Every parameter that has more than one choice, by its name in a trial (``stage2.kernel_size``)."""
        return {name: choices for name, choices in self._all_choices().items() if len(choices) > 1}

    @property
    def cardinality(self) -> int:
        """Distinct settings of the stages and fields.

        Settings that give the same stage are counted once. Networks that coincide only because a stage is left out
        between equal neighbours are counted more than once.
        """
        networks = math.prod(len(choices) for choices in self.network.values())
        return networks * math.prod(map(len, self.stage_options()))

    def stage_options(self) -> list[list[StageSpec | None]]:
        """Return what each stage may be, every different stage once; None where it may be left out."""
        return [list(dict.fromkeys(_expand(stage))) for stage in self.stages]

    def network_settings(self) -> Iterator[dict[str, Any]]:
        """Yield every setting of the fields outside the stages, as keyword arguments of an ``ArchSpec``."""
        yield from _settings(self.network)

    def suggest(self, trial: Trial) -> ArchSpec:
        """Draw one architecture; ``trial`` is anything with ``suggest_categorical``."""
        return self.decode(
            {name: trial.suggest_categorical(name, choices) for name, choices in self.parameters.items()}
        )

    def sample(self, rng: random.Random) -> ArchSpec:
        """Draw one architecture, every choice uniform."""
        return self.decode({name: rng.choice(choices) for name, choices in self.parameters.items()})

    def decode(self, values: Values) -> ArchSpec:
        """Return the architecture at a point.

        Raises:
            SpaceError: A parameter is missing or its value is not among its choices.
        """
        chosen: dict[str, Choice] = {}
        for name, choices in self._all_choices().items():
            value = values.get(name) if len(choices) > 1 else choices[0]
            if value is None or value not in choices:
                raise SpaceError(f"search space {self.name}: {name} must be one of {list(choices)}, got {value!r}")
            chosen[name] = value
        stages = (
            _build_stage({field: chosen[_parameter(index, field)] for field in stage})
            for index, stage in enumerate(self.stages)
        )
        network: dict[str, Any] = {name: chosen[name] for name in self.network}
        return ArchSpec(tuple(stage for stage in stages if stage), **network)

    def encode(self, arch: ArchSpec) -> dict[str, Choice]:
        """Return a point that decodes to ``arch``; choices without effect are set to the first.

        Raises:
            SpaceError: The space does not hold the architecture.
        """
        values: dict[str, Choice] = {}
        for name, choices in self.network.items():
            if getattr(arch, name) not in choices:
                raise SpaceError(
                    f"search space {self.name}: {name} must be one of {list(choices)}, got {getattr(arch, name)!r}"
                )
            values[name] = getattr(arch, name)
        matched = _match(self.stages, arch.stages)
        if matched is None or any(getattr(arch, name) != getattr(_DEFAULTS, name) for name in self._unset()):
            blocks = ", ".join(stage.to_block() for stage in arch.stages)
            raise SpaceError(f"search space {self.name} does not hold the network {blocks}")
        for index, stage in enumerate(matched):
            values.update({_parameter(index, field): value for field, value in stage.items()})
        return {name: values[name] for name in self.parameters}

    def canonical_values(self) -> Callable[[Values], dict[str, Choice]]:
        """Return a function from a point to the one that stands for all points with the same stages.

        Choices without effect are set to the first, as ``encode`` does, without a search: made once, it is cheap.
        """
        tables = [_equal_settings(stage) for stage in self.stages]
        names = [[_parameter(index, field) for field in stage] for index, stage in enumerate(self.stages)]
        fixed = {name: choices[0] for name, choices in self._all_choices().items() if len(choices) == 1}
        parameters = tuple(self.parameters)

        def canonical(values: Values) -> dict[str, Choice]:
            full: dict[str, Any] = {**fixed, **values}
            for fields_of_stage, table in zip(names, tables, strict=True):
                setting = table[tuple(full[name] for name in fields_of_stage)]
                full.update(zip(fields_of_stage, setting, strict=True))
            return {name: full[name] for name in parameters}

        return canonical

    def contains(self, arch: ArchSpec) -> bool:
        """Say whether some point of the space is ``arch``."""
        try:
            self.encode(arch)
        except SpaceError:
            return False
        return True

    def at_image_size(self, image_size: int) -> SearchSpace:
        """Return the same space for images of another size, in pixels a side."""
        return SearchSpace(self.name, {**self.network, "image_size": (image_size,)}, self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists of choices, by which two spaces can be told apart."""
        return {
            **{name: list(choices) for name, choices in self.network.items()},
            "stages": [{field: list(choices) for field, choices in stage.items()} for stage in self.stages],
        }

    def _all_choices(self) -> dict[str, tuple[Choice, ...]]:
        choices = dict(self.network)
        for index, stage in enumerate(self.stages):
            choices |= {_parameter(index, field): values for field, values in stage.items()}
        return choices

    def _unset(self) -> list[str]:
        return [name for name in _NETWORK_FIELDS if name not in self.network]

    def _check(self) -> None:
        """Build every stage and every network field once, so that a mistake is found on loading."""
        _check_size(self.stages)
        built = []
        for index, stage in enumerate(self.stages):
            try:
                options = set(_expand(stage))
            except ArchError as error:
                raise SpaceError(f"stage {index}: {error}") from None
            if None in options and any(option and option.stride != 1 for option in options):
                raise SpaceError(f"stage {index}: only a stage of stride 1 may be left out")
            built += [option for option in options if option][:1]
        if not any(all(_expand(stage)) for stage in self.stages):
            raise SpaceError("at least one stage must always have blocks")
        try:
            for name, choices in self.network.items():
                for choice in choices:
                    ArchSpec(tuple(built), **{name: choice}).check_size()  # type: ignore[arg-type]
        except ArchError as error:
            raise SpaceError(str(error)) from None


def _check_size(stages: Sequence[StageChoices]) -> None:
    settings = sum(math.prod(map(len, stage.values())) for stage in stages)
    if settings > _MOST_SETTINGS:
        raise SpaceError(f"the choices of all stages must make at most {_MOST_SETTINGS:,} settings, got {settings:,}")


_DEFAULTS = ArchSpec((StageSpec("cn", 1, 1, 1.0, 8),))


def _parameter(index: int, field: str) -> str:
    return f"stage{index}.{field}"


def _mapping(content: object, what: str, allowed: Sequence[str]) -> Mapping[str, object]:
    if not isinstance(content, Mapping):
        raise SpaceError(f"{what} is a mapping with the keys {', '.join(allowed)}; got {shown(content)}")
    unknown = [key for key in content if key not in allowed]
    if unknown:
        raise SpaceError(f"{what} has the keys {', '.join(allowed)}; got {listed(unknown)}")
    return content


def _choices(name: str, value: object) -> tuple[Choice, ...]:
    choices = tuple(value) if isinstance(value, list) else (value,)
    scalar = all(isinstance(choice, Choice) for choice in choices)
    if not choices or not scalar or len(set(choices)) != len(choices):
        raise SpaceError(f"{name} must be a value or a list of different choices, got {shown(value)}")
    return choices


def _read_stage(index: int, content: object) -> dict[str, tuple[Choice, ...]]:
    try:
        stage = _mapping(content, "a stage", (*_STAGE_FIELDS, "one_of"))
        if "one_of" in stage and len(stage) > 1:
            raise SpaceError("a stage has one_of alone or fields, not both")
        choices = {name: _choices(name, value) for name, value in stage.items()}
        missing = [name for name in ("block", "kernel_size", "out_channels") if name not in choices]
        if missing and "one_of" not in choices:
            raise SpaceError(f"it must say {', '.join(missing)}, or one_of")
        return choices
    except SpaceError as error:
        raise SpaceError(f"stage {index}: {error}") from None


def _build_stage(values: Mapping[str, Choice]) -> StageSpec | None:
    """Return the stage that a setting of its fields gives, None where it is left out."""
    return _build_stage_once(tuple(values), *values.values())


@lru_cache(maxsize=4096, typed=True)  # typed: an equal bool, int and float are different choices
def _build_stage_once(names: tuple[str, ...], *chosen: Choice) -> StageSpec | None:
    """Build each setting once: a space has hundreds, and a sampler asks for thousands of networks made of them.

    An MBConv block that does not expand has no expansion convolution, as MobileNetV2 and EfficientNet build it:
    that is timm's ``ds``, whatever the file calls it.
    """
    values = dict(zip(names, chosen, strict=True))
    if "one_of" in values:
        return None if values["one_of"] == _OMITTED else StageSpec.from_block(str(values["one_of"]))
    if values.get("num_blocks") == 0:
        return None
    full: dict[str, Any] = {"stride": 1, "expand_ratio": 1.0, **values}
    if full["block"] == "ir" and full["expand_ratio"] == 1:
        full["block"] = "ds"
    stage = StageSpec(**{**full, **FIXED_FIELDS.get(full["block"], {})})
    stage.check_size()
    return stage


def _settings(stage: StageChoices) -> Iterator[dict[str, Choice]]:
    """Yield every setting of a stage's fields, its first choices first."""
    for chosen in itertools.product(*stage.values()):
        yield dict(zip(stage, chosen, strict=True))


def _expand(stage: StageChoices) -> list[StageSpec | None]:
    """Return what each setting of a stage's fields builds."""
    return [_build_stage(setting) for setting in _settings(stage)]


def _equal_settings(stage: StageChoices) -> dict[tuple[Choice, ...], tuple[Choice, ...]]:
    """Return for each setting of a stage's fields the first one that builds the same stage."""
    first: dict[StageSpec | None, tuple[Choice, ...]] = {}
    return {
        (values := tuple(setting.values())): first.setdefault(_build_stage(setting), values)
        for setting in _settings(stage)
    }


def _match(slots: Sequence[StageChoices], stages: Sequence[StageSpec]) -> list[dict[str, Choice]] | None:
    """Lay an architecture's stages onto a space's, some of which may be left out."""
    if not slots:
        return None if stages else []
    tries: list[tuple[StageSpec | None, Sequence[StageSpec]]] = [(None, stages)]
    if stages:
        tries.insert(0, (stages[0], stages[1:]))
    for wanted, rest in tries:
        setting = next((setting for setting in _settings(slots[0]) if _build_stage(setting) == wanted), None)
        tail = _match(slots[1:], rest) if setting is not None else None
        if setting is not None and tail is not None:
            return [setting, *tail]
    return None
