"""Arrays in one ``.npz``, as Keras (``x_train``) and MedMNIST (``train_images``) publish them.

Images may be (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, as uint8 or as floats in [0, 1]. Nothing
is ever unpickled: an array of Python objects is refused from its header. Opening reads labels and headers; a split's
pixels are loaded at the first read, whole, for a zipped array has no random access. What an array's header claims must
be what its zip member holds, and a large one that unpacks to hundreds of times its size is a bomb.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scalesearch.data.source import Labels, Pixels, SourceSplits, identify_files, number_classes
from scalesearch.errors import DataError

# The names of images and labels of one split; the first pair found in the file is taken.
_NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "val": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


# What zipfile and numpy raise on broken bytes; RuntimeError where a member is encrypted.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    RuntimeError,
    MemoryError,
    LookupError,
)
_LARGE_BYTES = 2**26
_MOST_TIMES = 200  # photographs are packed to a half at best, masks to a hundredth


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False)
class NpzSource:
    """The images of one array in an ``.npz``."""

    path: Path
    images_name: str
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> Pixels:
        """Return one image as RGB, shape (H, W, 3); a grey one has three equal channels."""
        image = load_images(self.path, self.images_name)[index]
        return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))

    def describe(self, index: int) -> str:
        """Return the array and the row."""
        return f"{self.images_name}[{index}]"


def open_npz(path: Path) -> SourceSplits:
    """Read the labels and the arrays' headers of an ``.npz``.

    Raises:
        DataError: The file is missing or no ``.npz``, has no train arrays, or holds arrays of another type or shape
            than the module's text allows.
    """
    if not path.is_file():
        raise DataError(f"{path}: root must be an .npz file, got nothing by that name")
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {Path(name).stem: _read_header(archive, name) for name in archive.namelist()}
    except _BROKEN as error:
        raise DataError(f"{path}: cannot be read as an .npz: {_reason(error)}") from error
    train, val, test = (_open_split(path, headers, split) for split in ("train", "val", "test"))
    if train is None:
        raise DataError(f"{path}: needs x_train and y_train or train_images and train_labels, got {sorted(headers)}")
    class_names = number_classes(train.labels)
    return SourceSplits(train=train, val=val, test=test, class_names=class_names, identity=identify_files([path]))


@lru_cache(maxsize=3)
def load_images(path: Path, name: str) -> Pixels:
    """Return one array of images as uint8 (N, H, W, C), loaded once a process.

    Raises:
        DataError: Floats outside [0, 1], or an array that is damaged.
    """
    images = _load(path, name)
    if images.dtype != np.uint8:
        # `not >= and <=` instead of `< or >`: NaN must not pass.
        if not (images.min() >= 0 and images.max() <= 1):
            raise DataError(f"{path}: {name}: floats must lie in [0, 1], got {images.min()}..{images.max()}")
        images = np.rint(images * 255).astype(np.uint8)
    return np.moveaxis(images, 1, -1) if _is_channels_first(images.shape) else images.reshape(*images.shape[:3], -1)


def _read_header(archive: zipfile.ZipFile, name: str) -> _Header:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        _check_size(name, archive.getinfo(name), member.tell(), shape, dtype)
    return _Header(shape, dtype)


def _check_size(name: str, info: zipfile.ZipInfo, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    claimed, held = math.prod(shape) * dtype.itemsize, info.file_size - start
    if not dtype.hasobject and claimed != held:
        raise ValueError(f"{name}: claims {claimed:,} bytes of array, holds {held:,}")
    if info.file_size > max(_LARGE_BYTES, _MOST_TIMES * info.compress_size):
        raise ValueError(f"{name}: unpacks to more than {_MOST_TIMES} times its size")


def _load(path: Path, name: str) -> npt.NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            array: npt.NDArray[Any] = archive[name]
            return array
    except _BROKEN as error:
        raise DataError(f"{path}: {name}: cannot be read: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _open_split(path: Path, headers: dict[str, _Header], split: str) -> NpzSource | None:
    for images_name, labels_name in _NAMES[split]:
        if images_name in headers and labels_name in headers:
            _check_images(f"{path}: {images_name}", headers[images_name])
            labels = _load_labels(path, labels_name, headers[labels_name])
            if len(labels) != headers[images_name].shape[0]:
                count = headers[images_name].shape[0]
                raise DataError(f"{path}: {labels_name} must hold a label an image ({count}), got {len(labels)}")
            return NpzSource(path, images_name, labels)
    return None


def _check_images(where: str, header: _Header) -> None:
    if header.dtype.hasobject:
        raise DataError(f"{where}: an array of Python objects would have to be unpickled, which is refused")
    if header.dtype != np.uint8 and header.dtype.kind != "f":
        raise DataError(f"{where}: images must be uint8 or floats in [0, 1], got {header.dtype}")
    shape = header.shape
    if len(shape) != 3 and not (len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3))):
        raise DataError(f"{where}: images must be (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3, got {shape}")


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] not in (1, 3)


def _load_labels(path: Path, name: str, header: _Header) -> Labels:
    if header.dtype.kind not in "iu":
        raise DataError(f"{path}: {name}: labels must be integers, got {header.dtype}")
    if len(header.shape) not in (1, 2) or header.shape[1:] not in ((), (1,)):
        raise DataError(f"{path}: {name}: labels must be (N,) or (N, 1), one class an image, got {header.shape}")
    return np.asarray(_load(path, name).reshape(-1), dtype=np.int64)
