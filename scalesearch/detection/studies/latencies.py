"""Latency of every detector of a space, from a few that are measured: it grows by the same with each cell and layer.

For each neck width and image size three detectors are measured: with one cell and one head layer, with one cell more,
with one layer more. A detector's latency is the first's, and the differences times its further cells and layers. The
detectors that a search chooses are measured whole at the end, so the error of this can be seen in the record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from scalesearch.atomic import write_atomically
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.nn.detector import build_detector
from scalesearch.detection.studies.space import DetectorSpace
from scalesearch.errors import StudyError
from scalesearch.measure.profiling import profile_latency
from scalesearch.study.sessions import describe_machine

_REPEATS = 15

OnMeasured = Callable[[int, int], None]
"""Called with the detectors measured and those to measure in all."""


@dataclass(frozen=True, slots=True)
class PartLatencies:
    """Milliseconds of the parts, by neck width and image size; a ``LatencyModel``.

    Attributes:
        device: On which they were measured.
        processor: Of the machine.
        parts: Of one cell and one layer, of a further cell, of a further layer.
    """

    device: str
    processor: str
    parts: Mapping[str, tuple[float, float, float]]

    def predict_ms(self, arch: DetectorSpec) -> float:
        """Return the median milliseconds of a pass of one image on one thread."""
        first, cell, layer = self.parts[_key(arch)]
        return first + (arch.neck_cells - 1) * cell + (arch.head_depth - 1) * layer

    def identity(self) -> dict[str, Any]:
        """Return under what it was measured."""
        return {"device": self.device, "processor": self.processor}


def load_latencies(
    path: Path, space: DetectorSpace, *, device: str, on_measured: OnMeasured | None = None
) -> PartLatencies:
    """Return the latencies of a space's parts; those that the file has not are measured and written to it.

    Raises:
        StudyError: The file holds something else, or was measured on another device.
    """
    machine = describe_machine()
    model = PartLatencies(device, machine["processor"] if device == "cpu" else machine["accelerator"], {})
    parts = _read(path, model)
    wanted = {_key(spec): spec for spec in space.detectors()}
    missing = {key: spec for key, spec in wanted.items() if key not in parts}
    for done, (key, spec) in enumerate(missing.items(), start=1):
        parts[key] = _measure(spec, device)
        write_atomically(path, json.dumps({**model.identity(), "parts": parts}, indent=1))
        if on_measured is not None:
            on_measured(done, len(missing))
    return replace(model, parts={key: parts[key] for key in wanted})


def _key(spec: DetectorSpec) -> str:
    graph = f"{spec.neck} {spec.fusion} P{spec.min_level}-P{spec.max_level}"
    return f"{spec.backbone.arch_id} {graph} c{spec.neck_channels} {spec.image_size} px"


def _measure(spec: DetectorSpec, device: str) -> tuple[float, float, float]:
    first, deeper_neck, deeper_heads = (
        _time(replace(spec, neck_cells=cells, head_depth=layers), device) for cells, layers in ((1, 1), (2, 1), (1, 2))
    )
    # a part takes no less than nothing, whatever the noise of two readings says
    return first, max(0.0, deeper_neck - first), max(0.0, deeper_heads - first)


def _time(spec: DetectorSpec, device: str) -> float:
    with torch.random.fork_rng(devices=[]):
        detector = build_detector(spec)
    return profile_latency(detector, spec.image_size, repeats=_REPEATS, device=device, num_threads=1).p50_ms


def _read(path: Path, model: PartLatencies) -> dict[str, tuple[float, float, float]]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {str(key): _as_parts(values) for key, values in content["parts"].items()}
        measured = {name: content[name] for name in model.identity()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{path}: it must hold latencies that detect-scale wrote; remove it to measure anew") from None
    if measured != model.identity():
        raise StudyError(
            f"{path}: it must be measured on {model.device} of {model.processor}, got {measured['device']} of"
            f" {measured['processor']}; remove it to measure anew"
        )
    return parts


def _as_parts(values: list[float]) -> tuple[float, float, float]:
    first, cell, layer = map(float, values)
    if not all(map(math.isfinite, (first, cell, layer))):
        raise ValueError("not finite")
    return first, cell, layer
