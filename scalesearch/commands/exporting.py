"""The verb that takes a network away."""

from __future__ import annotations

from scalesearch.console import say, say_written
from scalesearch.export.checking import TOLERANCE
from scalesearch.export.config import ExportConfig
from scalesearch.export.exporting import export_network


def export(config: ExportConfig) -> None:
    """Write a trained network as ONNX, a torch program, safetensors or for timm, with a card that says what it is."""
    result = export_network(config)
    choice = result.choice
    state = "untrained" if choice.is_untrained else f"weights of {choice.checkpoint}"
    say(f"Network {choice.arch_id}, {choice.name}: {state}")
    if result.difference is not None:
        say(f"Its outputs are those of the network within {result.difference:.1e} ({TOLERANCE:g} is allowed)")
    say_written(*result.files)
