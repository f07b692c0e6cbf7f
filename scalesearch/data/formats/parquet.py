"""Parquet files in the Hugging Face layout: a column of encoded images, a column of integer labels.

An image is a struct of ``bytes`` and ``path``, or the bytes alone. Class names come from the schema's metadata (key
``huggingface``); without them a class is called by its number. A file belongs to the split its name or its folder
names, as one of the words between dots, dashes and underscores: ``cifar10-train.parquet``, ``test/0000.parquet``.

Reading goes through whole row groups, of which a process keeps a few: quick in order, slow for shuffled streaming
when row groups are large. For more images than memory holds, a tar or a folder streams better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.data.decoding import decode_image
from scalesearch.data.source import Indices, Labels, Pixels, SourceSplits, identify_files, number_classes
from scalesearch.errors import DataError, is_text, shown

if TYPE_CHECKING:
    import pyarrow as pa

AUTO = "auto"
_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels", "fine_label")
_SPLIT_WORDS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
_CACHED_ROW_GROUPS = 4
_NO_LABELS: Labels = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ParquetSource:
    """The images of some parquet files, in the order of the files.

    ``groups`` names the file and the row group of each group of rows, and ``ends`` the row after its last.
    """

    groups: tuple[tuple[Path, int], ...]
    ends: Indices
    image_column: str
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> Pixels:
        """Decode the image of one row, shape (H, W, 3)."""
        return decode_image(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """Return the bytes of one row's image.

        Raises:
            ValueError: The row has none.
        """
        group = int(np.searchsorted(self.ends, index, side="right"))
        start = int(self.ends[group - 1]) if group else 0
        path, number = self.groups[group]
        cell = read_image_cells(path, number, self.image_column)[index - start].as_py()
        data: bytes | None = cell["bytes"] if isinstance(cell, Mapping) else cell
        if data is None:
            raise ValueError("the row holds no image bytes")
        return data

    def describe(self, index: int) -> str:
        """Return the file and the row group of one row, and the row's number in its split."""
        path, number = self.groups[int(np.searchsorted(self.ends, index, side="right"))]
        return f"{path.name} row group {number} (row {index} of the split)"


def open_parquet(root: str, *, image_column: str = AUTO, label_column: str = AUTO) -> SourceSplits:
    """Read the labels of parquet files.

    Args:
        root: A folder, searched with all below it, or a glob such as ``data/cifar10-*.parquet``.
        image_column: Name of the column; ``auto`` looks for ``image`` or ``img``.
        label_column: Name of the column; ``auto`` looks for ``label``, ``labels`` or ``fine_label``.

    Raises:
        DataError: No file of the train split, an unreadable file, or a column that is missing, ambiguous or of
            another type.
    """
    files = _find_files(root)
    schema = _read_schema(files["train"][0])
    columns = _Columns(
        _choose_column(root, "image", image_column, _IMAGE_NAMES, schema.names),
        _choose_column(root, "label", label_column, _LABEL_NAMES, schema.names),
    )
    sources = {split: _open_split(paths, columns) for split, paths in files.items()}
    return SourceSplits(
        train=sources["train"],
        val=sources.get("val"),
        test=sources.get("test"),
        class_names=_class_names(schema, columns.label, sources["train"].labels),
        identity=identify_files([path for paths in files.values() for path in paths]),
    )


@dataclass(frozen=True)
class _Columns:
    image: str
    label: str


@lru_cache(maxsize=_CACHED_ROW_GROUPS)
def read_image_cells(path: Path, group: int, column: str) -> pa.ChunkedArray:
    """Return the image column of one row group, its images still encoded.

    Raises:
        ValueError: Its bytes are damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # One thread: Arrow's thread pool does not survive the fork that starts a loader's workers.
    try:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=[column], use_threads=False).column(0)
    except (pa.ArrowException, MemoryError) as error:
        raise ValueError(f"row group {group} cannot be read: {error}") from error


def _find_files(root: str) -> dict[str, list[Path]]:
    folder = Path(root)
    if folder.is_dir():
        names = {path: str(path.relative_to(folder)) for path in folder.rglob("*.parquet")}
    else:
        pattern = folder.relative_to(folder.anchor)
        names = {path: path.name for path in Path(folder.anchor).glob(str(pattern))}
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in names if path.is_file()):
        found.setdefault(_split_of(names[path]), []).append(path)
    if "train" not in found:
        got = sorted(names.values()) or "no file"
        raise DataError(f"{root}: needs parquet files with 'train' in their names, got {got}")
    return found


def _split_of(name: str) -> str:
    words = re.split(r"[^a-z0-9]+", name.lower())
    splits = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    if len(splits) != 1:
        raise DataError(f"{name}: a parquet file's name must hold one of {sorted(_SPLIT_WORDS)}, got {sorted(splits)}")
    return splits.pop()


def _read_schema(path: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:  # a column name may be no UTF-8
        raise DataError(f"{path}: cannot be read as parquet: {error}") from error


def _choose_column(root: str, what: str, wanted: str, usual: Sequence[str], columns: Sequence[str]) -> str:
    candidates = [name for name in (usual if wanted == AUTO else (wanted,)) if name in columns]
    if len(candidates) != 1:
        looked_for = " or ".join(usual) if wanted == AUTO else wanted
        raise DataError(
            f"{root}: {what}_column must name one column ({looked_for}), got {candidates or 'none'} among {columns}"
        )
    return candidates[0]


def _open_split(paths: Sequence[Path], columns: _Columns) -> ParquetSource:
    groups: list[tuple[Path, int]] = []
    labels: list[Labels] = []
    for path in paths:
        for number, some in enumerate(_read_labels(path, columns)):
            groups.append((path, number))
            labels.append(some)
    ends = np.cumsum([len(some) for some in labels], dtype=np.int64)
    return ParquetSource(tuple(groups), ends, columns.image, np.concatenate([_NO_LABELS, *labels]))


def _read_labels(path: Path, columns: _Columns) -> list[Labels]:
    """Return the labels of each row group of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_types(path, _read_schema(path), columns)
    try:
        with pq.ParquetFile(path) as file:
            _check_rows(path, file.metadata.num_rows)
            groups = range(file.num_row_groups)
            read = [file.read_row_group(number, columns=[columns.label]).column(0) for number in groups]
    except (OSError, pa.ArrowException, MemoryError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from error
    if any(column.null_count for column in read):
        raise DataError(f"{path}: {columns.label}: every row needs a label, got nulls")
    try:
        return [column.cast(pa.int64()).to_numpy() for column in read]
    except pa.ArrowInvalid as error:  # beyond 8 bytes with a sign
        raise DataError(f"{path}: {columns.label}: labels must be class numbers: {error}") from error


def _check_rows(path: Path, num_rows: int) -> None:
    """Refuse a file whose rows cannot hold an image each: their labels alone, packed, would fill the memory."""
    if num_rows > path.stat().st_size:
        raise DataError(
            f"{path}: must have a byte a row at least, got {num_rows:,} rows in {path.stat().st_size:,} bytes"
        )


def _check_types(path: Path, schema: pa.Schema, columns: _Columns) -> None:
    import pyarrow as pa

    missing = {columns.image, columns.label} - set(schema.names)
    if missing:
        raise DataError(f"{path}: needs the columns of the first train file, {sorted(missing)} missing")
    image, label = schema.field(columns.image).type, schema.field(columns.label).type
    has_bytes = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    stored = image.field("bytes").type if has_bytes else image
    if not (pa.types.is_binary(stored) or pa.types.is_large_binary(stored)):
        raise DataError(f"{path}: {columns.image}: must be a struct with bytes, or binary, got {image}")
    if not pa.types.is_integer(label):
        raise DataError(f"{path}: {columns.label}: labels must be integers, got {label}")


def _class_names(schema: pa.Schema, label_column: str, labels: Labels) -> tuple[str, ...]:
    found: Any = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        found = json.loads(found)
        for key in ("info", "features", label_column):
            found = found.get(key, {})
        names = found.get("names") or number_classes(labels)
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the schema's metadata huggingface must be its JSON, got {shown(found)}") from None
    if not (isinstance(names, list | tuple) and all(map(is_text, names))):
        raise DataError(f"{label_column}: the names of classes must be texts, got {shown(names)}")
    return tuple(names)
