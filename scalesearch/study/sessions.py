"""Sessions: when, with what command, on what machine and for how long a part of a study was worked on."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import optuna
import torch

from scalesearch.study.folder import hide_passwords

_PREFIX = "session."
_PACKAGES = ("scalesearch", "torch", "torchvision", "optuna")


@contextmanager
def session(study: optuna.Study) -> Iterator[None]:
    """Keep a session in the record from its first moment; one that was killed has no ``seconds``."""
    key = f"{_PREFIX}{len(load_sessions(study))}"
    started = time.monotonic()
    facts = {"started": datetime.now(UTC).isoformat(), "command": _command(), **describe_machine()}
    study.set_user_attr(key, facts)
    try:
        yield
    finally:
        study.set_user_attr(key, {**facts, "seconds": round(time.monotonic() - started, 1)})


def load_sessions(study: optuna.Study) -> list[dict[str, Any]]:
    """Return the sessions of a part, the first one first."""
    attributes = study.user_attrs
    keys = [key for key in attributes if key.startswith(_PREFIX)]
    return [attributes[key] for key in sorted(keys, key=lambda key: int(key.removeprefix(_PREFIX)))]


def describe_machine() -> dict[str, Any]:
    """Return what a reader of a timing needs to know: processor, cores, accelerator, versions."""
    return {
        "processor": _processor(),
        "cores": num_cores(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }


def num_cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _command() -> str:
    name = Path(sys.argv[0]).name
    return shlex.join(["scalesearch" if name == "__main__.py" else name, *map(hide_passwords, sys.argv[1:])])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
