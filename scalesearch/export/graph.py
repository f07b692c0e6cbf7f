"""A model as a graph of operations, which ONNX and ``torch.export`` programs both are written from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.export.models import BestBoxes, ClassifierModel, Model

INPUT = "images"
_BATCH = "batch"


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """What is traced.

    Attributes:
        module: Of one input, ``images``, float32 RGB in [0, 1].
        outputs: Names of what it gives.
        image_size: Pixels a side.
        batch_sizes: On which what was written is checked; of one alone, the graph takes no other.
    """

    module: nn.Module
    outputs: tuple[str, ...]
    image_size: int
    batch_sizes: tuple[int, ...] = (1, 3)

    @property
    def takes_any_batch(self) -> bool:
        """Whether the number of images is free."""
        return len(self.batch_sizes) > 1

    def probe(self, batch_size: int) -> Tensor:
        """Return random images; the same ones each time, and no global generator is drawn from."""
        generator = torch.Generator().manual_seed(batch_size)
        return torch.rand(batch_size, 3, self.image_size, self.image_size, generator=generator)

    def run(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return what the module itself gives."""
        with torch.no_grad():
            given = self.module(images)
        return (given,) if isinstance(given, Tensor) else given

    def trace(self) -> ExportedProgram:
        """Return the module as a program; the number of images stays free where it may."""
        shapes = ({0: Dim(_BATCH)},) if self.takes_any_batch else None
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", FutureWarning)  # of torchvision's, about torch's own names
            return torch.export.export(self.module, (self.probe(max(self.batch_sizes)),), dynamic_shapes=shapes)


def build_graph(model: Model, decoding: DecodingConfig | None = None) -> Graph:
    """Return the graph of a model.

    Args:
        model: In eval mode.
        decoding: What counts as one of a detector's best boxes; without it, it gives all boxes.
    """
    size = model.image_size
    if isinstance(model, ClassifierModel):
        return Graph(model, ("logits",), size)
    if decoding is None:
        return Graph(model, ("boxes_xyxy", "scores"), size)
    # one image a pass: how many boxes are left differs between images
    return Graph(BestBoxes(model, decoding).eval(), ("boxes_xyxy", "scores", "labels"), size, batch_sizes=(1,))
