"""Decoded pictures kept in memory, down-sized, so that training decodes each once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torchvision.transforms.v2 import functional as tvf

from scalesearch.detection.data.sample import BoxSample, BoxSource, BoxTruth


@dataclass(slots=True, eq=False)
class StoredSource:
    """Another source, its pictures with at most ``stored_size`` on the longer side.

    The first ``memory_limit`` bytes of them that are read are kept; any further one is decoded each time. The boxes of
    ``read`` are in the stored picture's pixels, those of ``read_truth`` in the original's.
    """

    source: BoxSource
    stored_size: int
    memory_limit: int
    kept: dict[int, BoxSample] = field(default_factory=dict, init=False)
    kept_bytes: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> BoxSample:
        """Return one picture, from memory where it is kept.

        Raises:
            DataError: The picture cannot be read.
        """
        if index in self.kept:
            return self.kept[index]
        sample = shrink(self.source.read(index), self.stored_size)
        if self.kept_bytes + sample.image.nbytes <= self.memory_limit:
            self.kept[index] = sample
            self.kept_bytes += sample.image.nbytes
        return sample

    def read_truth(self, index: int) -> BoxTruth:
        """Return the boxes of one picture, in its original pixels."""
        return self.source.read_truth(index)

    def describe(self, index: int) -> str:
        """Name one picture for a message."""
        return self.source.describe(index)


def shrink(sample: BoxSample, longest: int) -> BoxSample:
    """Return the picture with at most this longer side, its boxes scaled; a smaller one as it is."""
    height, width = sample.image.shape[-2:]
    if max(height, width) <= longest:
        return sample
    size = [max(1, round(side * longest / max(height, width))) for side in (height, width)]
    ratios = torch.tensor([size[1] / width, size[0] / height]).repeat(2)
    image = tvf.resize(sample.image, size, antialias=True)
    return replace(sample, image=image, boxes_xyxy=sample.boxes_xyxy * ratios)
