"""Any classification data set of ``torchvision.datasets``, by the name of its class.

The classes differ in how they name a split: ``train=True``, ``split="train"``, ``split="trainval"``, or no split at
all. Where there is only ``split="val"`` besides train, as with ImageNet, it is the one labelled hold-out and serves
as the test split; search-val then comes off train.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torchvision
from PIL import Image
from torchvision.datasets import VisionDataset

from scalesearch.data.decoding import to_rgb
from scalesearch.data.source import Labels, Pixels, SourceSplits, number_classes
from scalesearch.errors import DataError

_TRAIN_NAMES = ("train", "trainval")
_TEST_NAMES = ("test", "val")
# What torchvision raises for files that are missing, a host that does not answer, or an argument it also wants.
_OPENING_ERRORS = (OSError, RuntimeError, ImportError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class TorchvisionSource:
    """One split of a torchvision data set."""

    name: str
    dataset: VisionDataset
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> Pixels:
        """Return one image as RGB, shape (H, W, 3)."""
        picture = self.dataset[index][0]
        if not isinstance(picture, Image.Image):
            raise DataError(f"{self.name}: a data set of pictures is needed, got a {type(picture).__name__}")
        return to_rgb(picture)

    def describe(self, index: int) -> str:
        """Return the class and the position."""
        return f"{self.name}[{index}]"


def open_torchvision(name: str, root: str, *, download: bool = False) -> SourceSplits:
    """Open a data set of torchvision, train and test.

    Args:
        name: A class of ``torchvision.datasets``: ``CIFAR10``, ``OxfordIIITPet``, ``FakeData``.
        root: Folder where torchvision keeps the files; of no use to ``FakeData``.
        download: Fetch the files when they are not there.

    Raises:
        DataError: No such class, files that are missing or cannot be fetched, or labels that are no classes.
    """
    train, test = _open_splits(name, _find_class(name), {"root": root, "download": download})
    train_labels = _read_labels(name, train)
    return SourceSplits(
        train=TorchvisionSource(f"{name} train", train, train_labels),
        test=None if test is None else TorchvisionSource(f"{name} test", test, _read_labels(name, test)),
        class_names=_class_names(train, train_labels),
        identity=f"torchvision {torchvision.__version__} {name} {root} {len(train)}",
    )


def _find_class(name: str) -> Callable[..., VisionDataset]:
    factory = getattr(torchvision.datasets, name, None)
    if not (inspect.isclass(factory) and issubclass(factory, VisionDataset)):
        raise DataError(f"name must be a data set class of torchvision.datasets, such as CIFAR10, got {name!r}")
    return factory


def _open_splits(
    name: str, factory: Callable[..., VisionDataset], settings: Mapping[str, Any]
) -> tuple[VisionDataset, VisionDataset | None]:
    """Return the train and the test data set; the latter None where the class knows no splits."""
    keys = inspect.signature(factory).parameters
    if "root" in keys and not settings["root"]:
        raise DataError(f"root must name the folder where torchvision keeps {name}, got an empty one")
    known = {key: value for key, value in settings.items() if key in keys}
    build = partial(_build, name, factory, known)
    if "train" in keys:
        return build({"train": True}), build({"train": False})
    if "split" in keys:
        return _build_split(name, build, _TRAIN_NAMES), _build_split(name, build, _TEST_NAMES)
    return build({}), None


def _build(
    name: str, factory: Callable[..., VisionDataset], known: Mapping[str, Any], split: Mapping[str, Any]
) -> VisionDataset:
    try:
        return factory(**known, **split)
    except _OPENING_ERRORS as error:
        if _is_unknown_split(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"torchvision could not open {name} with {dict(known)}: {reason}") from error


def _build_split(
    name: str, build: Callable[[Mapping[str, Any]], VisionDataset], candidates: Sequence[str]
) -> VisionDataset:
    refused = ""
    for candidate in candidates:
        try:
            return build({"split": candidate})
        except ValueError as error:
            if not _is_unknown_split(error):
                raise
            refused = str(error)
    raise DataError(f"torchvision's {name} has no split called {' or '.join(candidates)}: {refused}")


def _is_unknown_split(error: Exception) -> bool:
    # The sentence of torchvision.datasets.utils.verify_str_arg; the class offers no list of its splits to ask for.
    return isinstance(error, ValueError) and str(error).startswith("Unknown value")


def _read_labels(name: str, dataset: VisionDataset) -> Labels:
    """Find the labels without decoding where the class keeps them, else by reading every image once."""
    for attribute in ("targets", "labels", "_labels"):
        if hasattr(dataset, attribute):
            return _as_labels(name, getattr(dataset, attribute))
    if hasattr(dataset, "_samples"):
        return _as_labels(name, [sample[-1] for sample in dataset._samples])
    return _as_labels(name, [dataset[index][1] for index in range(len(dataset))])


def _as_labels(name: str, values: Sequence[object]) -> Labels:
    labels = np.asarray(values)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"torchvision's {name} gives no class number an image, got labels like {values[0]!r}")
    return labels.astype(np.int64)


def _class_names(dataset: VisionDataset, labels: Labels) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None) or number_classes(labels)
    # ImageNet gives its synonyms as a tuple; the first is the usual name.
    return tuple(str(name[0] if isinstance(name, tuple) else name) for name in names)
