"""A model as a program of ``torch.export``: runs where torch does, without a line of scalesearch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from scalesearch.export.checking import largest_difference
from scalesearch.export.graph import Graph


def program_bytes(graph: Graph, facts: Mapping[str, str]) -> tuple[bytes, float]:
    """Return the content of a ``.pt2`` file, and the largest difference of its outputs from the network's.

    Args:
        graph: What is written.
        facts: Texts kept beside the program in the file; ``torch.export.load`` gives them back.

    Raises:
        ExportError: Read back, it gives other outputs.
    """
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(graph.trace(), written, extra_files=dict(facts))
        written.seek(0)
        read: Any = torch.export.load(written).module()

    def run(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            given = read(images)
        return (given,) if isinstance(given, torch.Tensor) else given

    return written.getvalue(), largest_difference(graph, run, "the program")
