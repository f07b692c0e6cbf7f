"""Pictures in folders named after their classes, on disk or inside one ``.tar``.

Two layouts are read: ``ROOT/train/CLASS/x.jpg`` with ``ROOT/test`` and, optionally, ``ROOT/val`` beside it; or
``ROOT/CLASS/x.jpg``, which has no splits. Folders below a class are searched too. Hidden files and files that are no
pictures (by their suffix) are ignored; classes are numbered in the order of their sorted names.

A tar is never unpacked: its members are read by offset, which an uncompressed tar alone allows. One with links, devices
or names that lead out of it is refused whole.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from scalesearch.data.decoding import decode_image
from scalesearch.data.source import ImageSource, Labels, Pixels, SourceSplits, identify_files
from scalesearch.errors import DataError, shown

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
SPLITS = ("train", "val", "test")

# Names of pictures and their class indices in, the source of one split out.
_MakeSource = Callable[[tuple[str, ...], Labels], ImageSource]


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Picture files below ``root``."""

    root: Path
    names: tuple[str, ...]
    labels: Labels

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Pixels:
        """Decode one file, shape (H, W, 3)."""
        return decode_image(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """Return one file's bytes."""
        return (self.root / self.names[index]).read_bytes()

    def describe(self, index: int) -> str:
        """Return the file's path below the root."""
        return self.names[index]


@dataclass(frozen=True, eq=False)
class TarSource:
    """Pictures inside an uncompressed tar; ``extents`` holds the offset and the size of each, (N, 2)."""

    archive: Path
    names: tuple[str, ...]
    labels: Labels
    extents: Labels

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Pixels:
        """Decode one member, shape (H, W, 3)."""
        return decode_image(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """Return one member's bytes."""
        offset, size = (int(number) for number in self.extents[index])
        # Opened anew each time: it costs microseconds, and a handle kept open would share its position with forks.
        with self.archive.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def describe(self, index: int) -> str:
        """Return the member's name."""
        return self.names[index]


def open_folder(root: Path, *, takes_strangers: bool = False) -> SourceSplits:
    """List the pictures of a folder or of an uncompressed tar.

    Args:
        root: The folder or tar.
        takes_strangers: Whether val and test may have classes that train lacks, for a look at the data alone.

    Raises:
        DataError: The root is missing, holds no picture, mixes the two layouts, or has a class in test that train
            does not have.
    """
    if root.is_dir():
        names = _list_folder(root)
        paths = [root / name for name in names]
        identity = identify_files(paths)
        return _build_splits(
            root, names, identity, lambda some, labels: FolderSource(root, some, labels), takes_strangers
        )
    if root.is_file():
        extents = _list_tar(root)

        def make_tar_source(some: tuple[str, ...], labels: Labels) -> TarSource:
            return TarSource(root, some, labels, np.array([extents[name] for name in some], dtype=np.int64))

        return _build_splits(root, sorted(extents), identify_files([root]), make_tar_source, takes_strangers)
    raise DataError(f"{root}: root must be a folder of pictures or a .tar of one, got nothing by that name")


def _list_folder(root: Path) -> list[str]:
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in names if _is_picture(name))


def _list_tar(archive: Path) -> dict[str, tuple[int, int]]:
    """Return the offset and the size of every picture, by name without a leading ``./``."""
    try:
        with tarfile.open(archive, "r:") as tar:
            members = [_check_member(member) for member in tar if not member.isdir()]
    except (tarfile.TarError, ValueError, OverflowError, LookupError, OSError, EOFError) as error:
        raise DataError(f"{archive}: a file given as root must be an uncompressed .tar: {error}") from error
    extents = {str(PurePosixPath(member.name)): (member.offset_data, member.size) for member in members}
    return {name: extent for name, extent in extents.items() if _is_picture(name)}


def _check_member(member: tarfile.TarInfo) -> tarfile.TarInfo:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"names must stay below its root, got {shown(member.name)}")
    if not member.isreg() or member.issparse():
        raise ValueError(f"folders and whole files alone are read, got {shown(member.name)} of another kind")
    return member


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _build_splits(
    root: Path, names: Sequence[str], identity: str, make_source: _MakeSource, takes_strangers: bool
) -> SourceSplits:
    """Sort the pictures into splits and classes by the folders of their names."""
    if not names:
        raise DataError(f"{root}: holds no picture; read are {', '.join(sorted(SUFFIXES))}")
    grouped = _group_by_split(root, names)
    known = grouped if takes_strangers else ("train",)
    class_names = tuple(sorted({class_name for split in known for _, class_name in grouped[split]}))
    sources = {split: _label(root, split, grouped[split], class_names, make_source) for split in grouped}
    return SourceSplits(
        train=sources["train"],
        val=sources.get("val"),
        test=sources.get("test"),
        class_names=class_names,
        identity=identity,
    )


def _group_by_split(root: Path, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return (name, class) pairs by split; without split folders, everything is train."""
    tops = {PurePosixPath(name).parts[0] for name in names}
    depth = 1 if tops & set(SPLITS) else 0
    if depth and not ("train" in tops and tops <= set(SPLITS)):
        raise DataError(f"{root}: a root with split folders must hold train and only {SPLITS}, got {sorted(tops)}")
    grouped: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        folders = PurePosixPath(name).parts[:-1]
        if len(folders) <= depth:
            raise DataError(f"{root}: {name}: a picture must lie in a folder named after its class")
        split = folders[0] if depth else "train"
        grouped.setdefault(split, []).append((name, folders[depth]))
    return grouped


def _label(
    root: Path, split: str, pairs: Sequence[tuple[str, str]], class_names: Sequence[str], make_source: _MakeSource
) -> ImageSource:
    numbers = {class_name: number for number, class_name in enumerate(class_names)}
    unknown = sorted({class_name for _, class_name in pairs} - set(numbers))
    if unknown:
        raise DataError(f"{root}: {split}: every class must be in train ({list(class_names)}), got {unknown} besides")
    labels = np.array([numbers[class_name] for _, class_name in pairs], dtype=np.int64)
    return make_source(tuple(name for name, _ in pairs), labels)
