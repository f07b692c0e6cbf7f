"""Many runs from one command line, by Hydra's convention: ``-m seed=0,1,2 sampler=tpe,random`` runs all pairs.

Values are read by Hydra's own grammar: ``a,b``, ``choice(a,b)``, ``range(1,5)`` and, for a group, ``glob(*)``. The runs
come one after the other, in Hydra's order: the last key changes first. Each has a study of its own, named after what is
swept, so that a run that was stopped goes on, and those that ended are not repeated.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, Transformer
from hydra.errors import HydraException

from scalesearch.arguments import choices_of, quoted, written
from scalesearch.config import PARTS, load_config, load_run_config
from scalesearch.errors import ConfigError, shown
from scalesearch.schemas import SCHEMAS

_MOST_RUNS = 1000
# Keys whose own values are joined by commas, beside those that may be a text or a list: only choice(...) sweeps them.
_JOINED_BY_COMMAS = frozenset({"arch", "backbone", "base", "factors", "formats", "fusion", "neck"})


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of several: what was swept, as a person may read it, and its configuration."""

    description: str
    config: Any


def load_runs(verb: str, arguments: Sequence[str]) -> list[PlannedRun]:
    """Return every run of a command line with sweeps, checked before the first one begins.

    Raises:
        ScalesearchError: A key or value is not allowed, there are too many runs, or two would have one study.
    """
    choices = [_choices(verb, argument) for argument in arguments]
    swept = [place for place, values in enumerate(choices) if len(values) > 1]
    number = 1
    for values in choices:
        number *= len(values)
    if number > _MOST_RUNS:
        raise ConfigError(f"a command makes at most {_MOST_RUNS:,} runs, got {number:,}")
    runs = []
    for chosen in itertools.product(*choices):
        run = [chosen[place] for place in swept]
        config = _load(verb, chosen)
        if not any(argument.startswith("study=") for argument in run) and run:
            config = _load(verb, [*chosen, *_own_study(verb, config, run)])
        runs.append(PlannedRun(" ".join(run), config))
    _refuse_shared_studies(verb, runs)
    return runs


def _load(verb: str, arguments: Sequence[str]) -> Any:  # noqa: ANN401 (the verb's own dataclass)
    return load_run_config(arguments) if verb == "run" else load_config(verb, arguments)


def _choices(verb: str, argument: str) -> list[str]:
    """Return the arguments that one stands for: itself, unless Hydra reads a sweep in it."""
    try:
        override = OverridesParser.create().parse_override(argument)
    except (HydraException, RecursionError, ValueError):
        return [argument]  # a path with brackets, say; what is no argument at all is refused later
    if not override.is_sweep_override() or _is_joined(verb, override):
        return [argument]
    key = override.key_or_group
    value: object = override.value()
    if isinstance(value, IntervalSweep):
        raise ConfigError(f"{key} must be swept by a,b or choice(...), range(...) or glob(...), got {shown(argument)}")
    if isinstance(value, Glob):
        group = choices_of(verb).get(key, [])
        found = value.filter(group)
        if not found:
            raise ConfigError(f"{key} has the choices {', '.join(group) or 'of no group'}, got {shown(argument)}")
        return [f"{key}={name}" for name in found]
    values = itertools.islice(override.sweep_iterator(Transformer.identity), _MOST_RUNS + 1)
    return [f"{key}={_text(each)}" for each in values]


def _text(value: object) -> str:
    """Return a value of a sweep as an argument has it."""
    if isinstance(value, QuotedString):
        return quoted(value.text)
    return value if isinstance(value, str) else written(value)


def _is_joined(verb: str, override: Override) -> bool:
    """Say whether the commas are the value's own."""
    value: object = override.value()
    key = override.key_or_group
    if not (isinstance(value, ChoiceSweep) and value.simple_form):
        return False
    part, _, rest = key.partition(".")
    if verb == "run":
        verb, key = (part, rest) if part in PARTS else (PARTS[0], key)
    return key in _JOINED_BY_COMMAS or get_type_hints(SCHEMAS[verb]).get(key) is Any


def _own_study(verb: str, config: Any, run: Sequence[str]) -> list[str]:  # noqa: ANN401
    """Return the argument that gives a run a study of its own; none for a verb that has no study."""
    study = _study_of(verb, config)
    return [] if study is None else [f"study={'-'.join([study, *map(_word, run)])}"]


def _word(argument: str) -> str:
    """Return what stands for a swept value in a study's name.

    Example:
        >>> _word("seed=3"), _word("sampler=tpe"), _word("budget.macs=5000000.0"), _word("train.augmentation.flip=true")
        ('seed3', 'tpe', 'macs5000000', 'fliptrue')
    """
    key, _, value = argument.partition("=")
    value = re.sub(r"(?<=\d)\.0$", "", value.strip("'\""))
    word = re.sub(r"[^A-Za-z0-9.]+", "_", value).strip("_")
    is_word = re.match(r"[A-Za-z_]", word) and word.lower() not in ("true", "false", "null", "inf", "nan")
    return word if is_word else f"{key.rpartition('.')[2]}{word}"


def _study_of(verb: str, config: Any) -> str | None:  # noqa: ANN401
    return getattr(getattr(config, PARTS[0]) if verb == "run" else config, "study", None)


def _refuse_shared_studies(verb: str, runs: Sequence[PlannedRun]) -> None:
    seen: dict[str, str] = {}
    for run in runs:
        study = _study_of(verb, run.config)
        if study is None:
            continue
        if study in seen:
            raise ConfigError(
                f"each run must have a study of its own, and {seen[study]!r} and {run.description!r} both have {study};"
                " give study= a value for each"
            )
        seen[study] = run.description
