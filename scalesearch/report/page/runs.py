"""What was run: the parts with their trials, every session with its machine, the configuration, the seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from scalesearch.report.page.payload import Table, number
from scalesearch.study.folder import StudyFolder, hide_passwords
from scalesearch.study.sessions import load_sessions
from scalesearch.study.store import Record, state_of

_STATES = ("COMPLETE", "PRUNED", "INFEASIBLE", "DUPLICATE", "FAILED", "RUNNING")
_DATA_KEYS = ("root", "name", "image_column", "label_column", "stored_size")


def table_parts(records: Sequence[Record]) -> Table:
    """Return a row a part: its trials by state, and the minutes that its sessions took."""
    rows: list[list[str | float | int | None]] = []
    for record in records:
        states = [state_of(trial) for trial in record.trials]
        minutes = sum(session.get("seconds", 0.0) for session in load_sessions(record.study)) / 60
        rows.append([record.part, *(states.count(state) for state in _STATES), round(minutes, 1)])
    columns = ["part", *(state.lower() for state in _STATES), "wall time, min"]
    return Table(title="Trials by part", columns=columns, rows=rows)


def table_sessions(records: Sequence[Record]) -> Table:
    """Return a row a session; one that was killed, or still runs, has no time."""
    rows: list[list[str | float | int | None]] = []
    for record in records:
        for facts in load_sessions(record.study):
            started = str(facts.get("started", ""))[:19].replace("T", " ")
            rows.append([record.part, started, number(facts.get("seconds")), str(facts.get("command", ""))])
    return Table(title="Sessions", columns=["part", "started, UTC", "seconds", "command"], rows=rows)


def describe_machines(records: Sequence[Record]) -> list[str]:
    """Return one line for each different machine or set of versions."""
    lines = []
    for record in records:
        for facts in load_sessions(record.study):
            versions = ", ".join(f"{name} {number}" for name, number in facts.get("versions", {}).items())
            accelerator = facts.get("accelerator", "none")
            beside = "" if accelerator == "none" else f", {accelerator}"
            lines.append(f"{facts.get('cores', '?')} cores of {facts.get('processor', '?')}{beside}; {versions}")
    return list(dict.fromkeys(lines))


def describe_seeds(records: Sequence[Record]) -> str:
    """Say which seeds each part trained with."""
    said = []
    for record in records:
        seeds = sorted({trial.user_attrs["seed"] for trial in record.trials if "seed" in trial.user_attrs})
        listed = ", ".join(map(str, seeds[:10])) + (", ..." if len(seeds) > 10 else "")
        said.append(f"{record.part}: {listed or 'none yet'}")
    return "; ".join(said)


def read_num_classes(records: Sequence[Record]) -> int | None:
    """Return the classes that the first part was begun with."""
    for record in records:
        classes = record.study.user_attrs.get("identity", {}).get("data", {}).get("classes")
        if isinstance(classes, int):
            return classes
    return None


def config_text(config: dict[str, Any]) -> str:
    """Return the configuration as YAML, without a storage's password."""
    return hide_passwords(yaml.safe_dump(config, sort_keys=False)) if config else ""


def data_arguments(config: dict[str, Any]) -> str:
    """Return what tells another command of the study's images, quoted for a shell.

    Example:
        >>> data_arguments({"search": {"data": {"format": "folder", "root": "my pictures", "stored_size": 64}}})
        "data=folder 'data.root=my pictures' data.stored_size=64"
    """
    for section in config.values():
        data = section.get("data")
        if isinstance(data, dict) and "format" in data:
            told = {key: data[key] for key in _DATA_KEYS if data.get(key) not in (None, "", "auto")}
            return shlex.join([f"data={data['format']}", *(f"data.{key}={value}" for key, value in told.items())])
    return ""


def study_arguments(folder: StudyFolder) -> str:
    """Return what tells another command of the study, quoted for a shell."""
    results = [] if str(folder.root.parent) == "results" else [f"results={folder.root.parent}"]
    return shlex.join([f"study={folder.name}", *results])


def budget_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return the limits of the search by the name of the cost; nothing where there was none."""
    search = config.get("search", {})
    limits = dict(search.get("budget") or {})
    if number(search.get("max_latency_ms")):
        limits["latency_ms"] = search["max_latency_ms"]
    return limits


def read_notes(folder: StudyFolder) -> str:
    """Return the words of the study's owner."""
    return folder.notes.read_text(encoding="utf-8").strip() if folder.notes.exists() else ""
