"""One export: choose the network, write it in its form, check what was written, and say in a card what it is."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalesearch.atomic import write_atomically
from scalesearch.detection.nn.trained import save_trained
from scalesearch.errors import ConfigError, ExportError
from scalesearch.export.card import Exported, begin_card, write_card
from scalesearch.export.choosing import Choice, choose_network
from scalesearch.export.config import ExportConfig
from scalesearch.export.evidence import collect_evidence
from scalesearch.export.graph import build_graph
from scalesearch.export.models import Model, build_model
from scalesearch.export.onnx_graph import check_onnx_is_here, onnx_bytes
from scalesearch.export.program import program_bytes
from scalesearch.export.timm_definition import is_timm_file, write_timm_file
from scalesearch.measure.trained import TrainedNetwork, save_network

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written.

    Attributes:
        choice: The network.
        files: The file, those that belong to it, and the card.
        difference: Largest difference of its outputs from the network's; None of a form that only holds the weights.
    """

    choice: Choice
    files: tuple[Path, ...]
    difference: float | None


def export_network(config: ExportConfig) -> ExportResult:
    """Write a network in a form that other programs run, with a card beside it.

    A graph is run before it is written: where its outputs are not the network's, no file is left.

    Raises:
        ScalesearchError: There is no such network, it cannot be had in this form, or the folder has another README.
    """
    config.check_complete()
    if config.to == "onnx":
        check_onnx_is_here()
    choice = choose_network(config)
    if choice.is_untrained:
        _logger.warning("%s: untrained: its weights are fresh, drawn from seed %d", choice.name, config.seed)
    model = build_model(choice.trained)
    info = begin_card(config.card, choice.arch_id, _fingerprint(model))
    files, difference = _write(config, choice, model)
    info = info.with_file(config.file.name, Exported(config.to, config.nms))
    write_atomically(config.card, write_card(choice, model, collect_evidence(choice, model), info))
    return ExportResult(choice, (*files, config.card), difference)


def _write(config: ExportConfig, choice: Choice, model: Model) -> tuple[list[Path], float | None]:
    """Write the form's files, and return them and how far its outputs are from the network's."""
    path, trained = config.file, choice.trained
    is_classifier = isinstance(trained, TrainedNetwork)
    if config.nms and is_classifier:
        raise ConfigError("nms must be false: the network is no detector, got true")
    if config.to == "safetensors":
        save_network(trained, path) if isinstance(trained, TrainedNetwork) else save_trained(trained, path)
        return [path], None
    if config.to == "timm":
        if not isinstance(trained, TrainedNetwork):
            raise ExportError("timm has no detectors: to=timm is for networks that classify")
        built = path.with_suffix(".py")
        if built.exists() and not is_timm_file(built):
            raise ExportError(
                f"{built}: a Python file of another kind, which an export leaves alone; choose another out="
            )
        text = write_timm_file(trained, built.stem, path.name)
        save_network(trained, path)
        write_atomically(built, text)
        return [path, built], None
    graph = build_graph(model, config.decoding if config.nms else None)
    facts = _facts(model)
    if config.to == "onnx":
        content, difference = onnx_bytes(graph, facts)
    else:
        content, difference = program_bytes(graph, {"scalesearch.json": json.dumps(facts)})
    write_atomically(path, content)
    return [path], difference


def _facts(model: Model) -> Mapping[str, Any]:
    """Return what is kept in a graph's file."""
    normalisation = model.normalisation
    return {
        "arch": model.arch.to_dict(),
        "class_names": list(model.class_names),
        "image_size": model.image_size,
        "input": "float32 RGB in [0, 1]; normalised inside" if normalisation else "float32 RGB, as its weights take it",
    }


def _fingerprint(model: Model) -> str:
    """Return twelve hexadecimal digits of the weights."""
    digest = hashlib.sha256()
    for name, value in model.network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
