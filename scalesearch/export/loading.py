"""A file of a trained network or detector, back as a model in one line."""

from __future__ import annotations

from pathlib import Path

from scalesearch.detection.nn.trained import DETECTOR, TrainedDetector, load_trained
from scalesearch.export.models import Model, build_model
from scalesearch.measure.trained import NETWORK, TrainedNetwork, load_network
from scalesearch.nn.checkpoint import read_kind

_WANTED = "a file that a training or an export of scalesearch wrote is wanted"


def load(path: str | Path) -> Model:
    """Return the model in a safetensors file that a training or ``scalesearch export`` wrote.

    It is on the CPU, in eval mode, and a ``torch.nn.Module`` with ``arch``, ``class_names``, ``normalisation`` and
    ``image_size``. It takes float32 RGB in [0, 1], ``(N, 3, image_size, image_size)``; a classifier gives logits
    ``(N, num_classes)``, a detector boxes in pixels ``(N, A, 4)`` and their scores ``(N, A, num_classes)``. The bare
    network, which takes normalised images, is its ``network``.

    Raises:
        ConfigError: There is no such file, it was written by something else, or was changed since.
    """
    return build_model(load_any(path))


def load_any(path: str | Path) -> TrainedNetwork | TrainedDetector:
    """Return the trained network or detector in a file; see ``load``."""
    kind = read_kind(path, (NETWORK, DETECTOR), _WANTED)
    return load_network(path) if kind == NETWORK else load_trained(path)
