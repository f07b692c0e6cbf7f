"""A model as ONNX, checked in onnxruntime before anything is written.

The graph is traced by ``torch.export`` and translated by torch's current exporter, in the opset that it recommends.
The number of images is free. One file: weights inside, and what describes them among the file's metadata.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from scalesearch.errors import ExportError
from scalesearch.export.checking import largest_difference
from scalesearch.export.graph import INPUT, Graph

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_MOST_BYTES = 2**31 - 1  # of a protobuf


def check_onnx_is_here() -> None:
    """Refuse to go on without the packages that write and run ONNX.

    Raises:
        ExportError: One is not installed.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"to=onnx needs the package {missing[0]}: pip install 'scalesearch[onnx]'")


def onnx_bytes(graph: Graph, facts: Mapping[str, Any]) -> tuple[bytes, float]:
    """Return the content of an ONNX file, and the largest difference of its outputs from the network's.

    Args:
        graph: What is written.
        facts: Kept in the file, each as JSON under its name.

    Raises:
        ExportError: It cannot be written as ONNX, or gives other outputs.
    """
    check_onnx_is_here()
    proto = _translate(graph)
    import onnx

    onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in facts.items()})
    if proto.ByteSize() > _MOST_BYTES:
        raise ExportError(f"an ONNX file holds at most {_MOST_BYTES:,} bytes, got a network of {proto.ByteSize():,}")
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content, _check(graph, content)


def _translate(graph: Graph) -> Any:  # noqa: ANN401 - onnx.ModelProto of an optional package
    with _quietly():
        program = torch.onnx.export(graph.trace(), input_names=[INPUT], output_names=graph.outputs, verbose=False)
    assert program is not None, "it is told no file to write to"
    proto = program.model_proto
    # torch names free sides by numbers of its own
    if graph.takes_any_batch:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    for output in proto.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "batch" if graph.takes_any_batch else "detections"
    return proto


def _check(graph: Graph, content: bytes) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(output) for output in session.run(list(graph.outputs), {INPUT: images.numpy()})]

    return largest_difference(graph, run, "the ONNX graph in onnxruntime")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep what torch's exporter says to itself off the terminal; its errors are raised all the same."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
