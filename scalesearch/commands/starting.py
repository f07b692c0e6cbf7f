"""Verbs for the first minutes."""

from __future__ import annotations

from scalesearch.completion import completion_script
from scalesearch.console import say, say_written
from scalesearch.schemas import CompletionConfig, NewConfig
from scalesearch.starting import write_start


def new(config: NewConfig) -> None:
    """Write a commented configuration and search space for pictures of your own, and what to do next."""
    info = write_start(config)
    say_written(*info.files)
    say(f"Networks see {info.image_size} px. Next: scalesearch data check config={info.files[0]}")


def completion(config: CompletionConfig) -> None:
    """Print what makes a shell complete verbs, keys and values."""
    print(completion_script(config.shell), end="")
