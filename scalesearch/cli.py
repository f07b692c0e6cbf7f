"""The command line: ``scalesearch VERB [KEY=VALUE ...]``.

A mistake of the user's is one sentence on standard error and exit code 2; Ctrl-C is exit code 130.
"""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from rich.box import SIMPLE_HEAD
from rich.table import Table

from scalesearch.atomic import tells_of_no_room
from scalesearch.commands import data, detectors, exporting, looking, networks, starting, training
from scalesearch.config import PARTS, describe_config, describe_keys, load_config, load_run_config
from scalesearch.console import wide_console
from scalesearch.errors import ConfigError, ScalesearchError, printable, shown
from scalesearch.multirun import PlannedRun, load_runs
from scalesearch.schemas import SCHEMAS

Command = Callable[[Any], int | None]
"""Its exit code, where that is not 0."""

_TWO_WORDS = {("study", "scaling-curves"): "scaling-curves", ("data", "check"): "data-check"}
"""Verbs that may be said at more length."""

VERBS: dict[str, Command] = {
    "run": networks.run,
    "search": networks.search,
    "scale": networks.scale,
    "family": networks.family,
    "train": training.train,
    "report": looking.report,
    "watch": looking.watch,
    "profile": looking.profile,
    "latency-table": looking.latency_table,
    "fidelity": networks.fidelity,
    "scaling-curves": networks.scaling_curves,
    "detect": detectors.detect,
    "detect-scale": detectors.detect_scale,
    "predict": detectors.predict,
    "export": exporting.export,
    "doctor": looking.doctor,
    "data-check": data.data_check,
    "plan": looking.plan,
    "new": starting.new,
    "completion": starting.completion,
}

_EXAMPLES = {
    "run": "scalesearch run study=mine data=folder data.root=DIR search.trials=40 search.budget.macs=5e6",
    "search": "scalesearch search study=mine data=folder data.root=DIR space=mbconv_small budget.macs=5e6 trials=40",
    "scale": "scalesearch scale study=mine step=0.1 seeds=3 plan=true",
    "family": "scalesearch family study=mine phi=0..2",
    "train": "scalesearch train study=mine data=folder data.root=DIR member=phi=1 init=weights.safetensors seeds=3",
    "report": "scalesearch report study=mine",
    "watch": "scalesearch watch study=mine compare=other port=8765",
    "profile": "scalesearch profile arch=efficientnet-b4",
    "latency-table": "scalesearch latency-table space=mbconv_small num_classes=10",
    "fidelity": "scalesearch fidelity study=mine space=mbconv_small budget.macs=5e6 networks=30",
    "scaling-curves": "scalesearch scaling-curves study=mine factors=1.2,1.1,1.15 phi=0..3 seeds=3",
    "detect": "scalesearch detect study=mine data=coco data.root=DIR neck=fpn,bifpn fusion=sum,fast seeds=3",
    "detect-scale": "scalesearch detect-scale study=mine data=coco data.root=DIR budget.macs=2e8 trials=24",
    "export": "scalesearch export study=mine to=onnx out=exported/mine.onnx",
    "doctor": "scalesearch doctor study=mine mend=true",
    "data-check": "scalesearch data check data=folder data.root=DIR",
    "plan": "scalesearch plan study=mine data=folder data.root=DIR space=mbconv_small budget.macs=5e6 trials=40",
    "new": "scalesearch new mine data=folder data.root=DIR",
    "completion": "scalesearch completion bash > ~/.local/share/bash-completion/completions/scalesearch",
    "predict": "scalesearch predict weights=results/mine/checkpoints/detector.safetensors images=DIR",
}

_FIRST_KEYS = {"new": "folder", "completion": "shell"}
"""Verbs whose first argument needs no key, and the key."""

_OPTIONS = """\
config=FILE    keys from a file; those on the command line lie over them
-m             one run for each value of seed=0,1,2, of range(0,5) and of a group's glob(*), in a study of its own
--cfg job      prints the configuration, runs nothing
"""

_RUN_KEYS = f"""\
Keys that all parts share, as study, seed, workers, data.* and train.*, are given plainly; those of one part begin with
its name: {", ".join(f"{part}.*" for part in PARTS)}. `scalesearch {PARTS[0]} --help` lists a part's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in ("--help", "-h", "help"):
        _print_help()
        return 0
    if rest and (verb, rest[0]) in _TWO_WORDS:
        verb, rest = _TWO_WORDS[verb, rest[0]], rest[1:]
    if verb not in VERBS:
        return _refuse(f"the verbs are {', '.join(VERBS)}; got {verb!r} (scalesearch --help explains them)")
    if "--help" in rest or "-h" in rest:
        _print_verb_help(verb)
        return 0
    _quieten_libraries()
    try:
        rest, is_multirun, is_shown = _take_options(_name_first(verb, rest))
        runs = load_runs(verb, rest) if is_multirun else [PlannedRun("", _load(verb, rest))]
        if is_shown:
            print("---\n".join(describe_config(run.config) for run in runs), end="")
            return 0
        return max(_do(verb, run, f"run {place} of {len(runs)}") for place, run in enumerate(runs, start=1))
    except ScalesearchError as error:
        return _refuse(str(error))
    except OSError as error:
        if not tells_of_no_room(error):
            raise
        return _refuse(f"{error}; make room there, and the same command goes on")
    except KeyboardInterrupt:
        print("\nscalesearch: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _load(verb: str, arguments: Sequence[str]) -> Any:  # noqa: ANN401 (the verb's own dataclass)
    return load_run_config(arguments) if verb == "run" else load_config(verb, arguments)


def _do(verb: str, run: PlannedRun, title: str) -> int:
    if run.description:
        print(f"scalesearch: {title}: {printable(run.description)}", file=sys.stderr)
    return VERBS[verb](run.config) or 0


def _name_first(verb: str, arguments: Sequence[str]) -> list[str]:
    """Give the first argument its key, for a verb that takes one without."""
    if verb not in _FIRST_KEYS or not arguments or "=" in arguments[0] or arguments[0].startswith("-"):
        return [*arguments]
    return [f"{_FIRST_KEYS[verb]}={arguments[0]}", *arguments[1:]]


def _take_options(arguments: Sequence[str]) -> tuple[list[str], bool, bool]:
    """Return the arguments without Hydra's options, whether there are several runs, and whether they are only shown.

    Raises:
        ConfigError: ``--cfg`` asks for something that there is not.
    """
    rest, is_multirun, is_shown = [], False, False
    left = iter(arguments)
    for argument in left:
        option, _, value = argument.partition("=")
        if argument in ("-m", "--multirun"):
            is_multirun = True
        elif option in ("-c", "--cfg"):
            value = value or next(left, "")
            if value != "job":
                raise ConfigError(f"--cfg must be job, the configuration of the verb, got {shown(value)}")
            is_shown = True
        else:
            rest.append(argument)
    return rest, is_multirun, is_shown


def _refuse(sentence: str) -> int:
    print(f"scalesearch: {printable(sentence)}", file=sys.stderr)
    return 2


def _print_help() -> None:
    print(
        "scalesearch VERB [KEY=VALUE ...]: a family of networks for your images, and what each unit of compute buys.\n"
    )
    for verb, command in VERBS.items():
        print(f"  {verb:<14} {inspect.getdoc(command)}")
    print(f"\nWith every verb:\n\n{_OPTIONS}\nscalesearch VERB --help lists a verb's keys. To begin: scalesearch run")


def _print_verb_help(verb: str) -> None:
    print(f"scalesearch {verb} [KEY=VALUE ...]: {inspect.getdoc(VERBS[verb])}\n\n  {_EXAMPLES[verb]}\n")
    print(_OPTIONS)
    if verb == "run":
        print(_RUN_KEYS)
        return
    table = Table(box=SIMPLE_HEAD)
    for column in ("key", "default", "meaning"):
        table.add_column(column, no_wrap=column == "key", overflow="fold")
    for row in describe_keys(SCHEMAS[verb]):
        table.add_row(*row)
    wide_console().print(table, markup=False)


def _quieten_libraries() -> None:
    """Keep other packages' chatter off the progress display; warnings of ours still show."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("scalesearch: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _OneLine(logging.Formatter):
    """Warnings name files and classes of anybody's making; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        record.message = printable(record.message)
        return super().formatMessage(record)


if __name__ == "__main__":
    sys.exit(main())
