"""The entries of a module's public names, for autodoc to fill from their docstrings."""

from __future__ import annotations

import inspect
from importlib import import_module


def describe_names(module: str) -> str:
    """Return one autodoc directive for each name of ``module.__all__``, values after functions after classes."""
    owner = import_module(module)
    entries = sorted(owner.__all__, key=lambda name: (_rank(getattr(owner, name)), name))
    lines = [_entry(module, name, getattr(owner, name)) for name in entries]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def _rank(value: object) -> int:
    return 1 if inspect.isroutine(value) else 0 if inspect.isclass(value) else 2


def _entry(module: str, name: str, value: object) -> str:
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:\n"
    return f".. {'autofunction' if inspect.isroutine(value) else 'autodata'}:: {module}.{name}\n"
