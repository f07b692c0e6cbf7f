"""Picture files in a folder, with the boxes that an annotation gives them: the source that COCO and VOC share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from scalesearch.data.decoding import decode_image, read_head
from scalesearch.detection.data.sample import BoxSample, BoxTruth
from scalesearch.errors import DataError, is_text, shown


@dataclass(frozen=True, eq=False)
class PictureSource:
    """Picture files below ``folder``, by their names there, each with its boxes; ``annotation`` names their file."""

    folder: Path
    names: tuple[str, ...]
    truths: tuple[BoxTruth, ...]
    annotation: str

    def __post_init__(self) -> None:
        assert len(self.names) == len(self.truths)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> BoxSample:
        """Decode one picture.

        Raises:
            DataError: The file is gone, is no whole picture, or is of another size than its annotation says.
        """
        path, truth = self.folder / self.names[index], self.truths[index]
        try:
            pixels = decode_image(path.read_bytes())
        except DataError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: must be a whole picture that Pillow reads, got {error}") from error
        height, width = truth.original_size
        if pixels.shape[:2] != (height, width):
            raise DataError(
                f"{path}: must have the {width} x {height} pixels that {self.annotation} states, "
                f"got {pixels.shape[1]} x {pixels.shape[0]}"
            )
        image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        return BoxSample.of(image, truth)

    def read_truth(self, index: int) -> BoxTruth:
        """Return the boxes of one picture."""
        return self.truths[index]

    def describe(self, index: int) -> str:
        """Return the file's name below its folder."""
        return self.names[index]


def check_present(folder: Path, names: Iterable[str], annotation: str) -> None:
    """Refuse an annotation whose pictures are not all there, or that names one elsewhere.

    Raises:
        DataError: A file is missing, or its name leaves the folder; the first one is named.
    """
    names = tuple(names)
    outside = next((name for name in names if not is_below(name)), None)
    if outside is not None:
        raise DataError(f"{annotation}: every picture's name must stay below {folder}, got {shown(outside)}")
    missing = [name for name in names if not _is_file(folder / name)]
    if missing:
        raise DataError(
            f"{annotation}: every picture must lie in {folder}, got {len(missing)} missing, first {missing[0][:200]}"
        )


def is_below(name: str) -> bool:
    """Say whether a name from an annotation can only be a file's below the folder it is looked for in."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and is_text(name) and "\0" not in name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is longer than any file's
        return False


def read_size(path: Path) -> tuple[int, int]:
    """Return height and width of a picture from its file's head.

    Raises:
        DataError: The file is missing or no picture.
    """
    try:
        return read_head(path)
    except ValueError as error:
        raise DataError(f"{path}: must be a picture that Pillow reads, got {error}") from error


def identify(annotations: Iterable[bytes], sources: Sequence[PictureSource]) -> str:
    """Hash annotations, whole, and the names and lengths of the pictures: cheap, and the same in another place."""
    digest = hashlib.sha256()
    for text in annotations:
        digest.update(hashlib.sha256(text).digest())
    for source in sources:
        for name in source.names:
            digest.update(f"{name}\0{(source.folder / name).stat().st_size}\n".encode())
        digest.update(b"\0")
    return digest.hexdigest()
