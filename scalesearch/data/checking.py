"""A look at a data set before money is spent on it: every picture is decoded once, and none is kept.

What is found out is a value; what it means, and what to do about it, is said by ``findings``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from scalesearch.data.config import DataConfig
from scalesearch.data.decoding import PictureHead, decode_image, read_kind
from scalesearch.data.duplicates import Looks, Twins, find_near, find_same, hash_looks, hash_pixels
from scalesearch.data.loading import choose_images, open_source
from scalesearch.data.source import ImageSource, Pixels, SourceSplits, Subset
from scalesearch.errors import DataError, is_text, printable

OnPicture = Callable[[str, int, int], None]
"""Told of a split, the pictures of it that were looked at, and how many it has."""

_PIXELS = PictureHead("RGB", is_rotated=False)  # of a source that keeps pixels, not pictures
_CHUNK = 512
_SHOWN = 5


@runtime_checkable
class EncodedSource(Protocol):
    """A source whose pictures are stored encoded."""

    def encoded(self, index: int) -> bytes:
        """Return the bytes of one picture."""
        ...


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the median and the greatest of something; NaN where no picture could be read."""

    least: float
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """One split of the data as a search would see it.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        is_held_out: Whether it is a part of what is stored as train.
        counts: Pictures of each class, broken ones among them.
        widths: Of the readable pictures, in pixels.
        heights: Likewise.
        shorter_sides: Likewise.
        aspects: Width over height.
        kinds: How many pictures there are of each of Pillow's modes: ``RGB``, ``L`` (grey), ``RGBA``, ``CMYK``.
        num_rotated: Pictures whose EXIF asks for a rotation, which is not applied.
        num_enlarged: Pictures whose shorter side is below ``data.stored_size``.
        num_flat: Pictures of nearly one colour.
        broken: Names of the pictures that cannot be read, each with the reason.
        unreadable_names: Those that hold bytes which are no text, or characters that steer a terminal.
    """

    name: str
    is_held_out: bool
    counts: tuple[int, ...]
    widths: Spread
    heights: Spread
    shorter_sides: Spread
    aspects: Spread
    kinds: Mapping[str, int]
    num_rotated: int
    num_enlarged: int
    num_flat: int
    broken: tuple[str, ...]
    unreadable_names: tuple[str, ...]

    @property
    def num_images(self) -> int:
        """Pictures in all."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class TwinsInfo:
    """Pictures of ``second`` that ``first`` has too, or nearly: how many, and the names of a few pairs."""

    first: str
    second: str
    number: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DataCheckInfo:
    """A data set as it was found.

    Attributes:
        class_names: Of all splits.
        splits: In the order train, val, test.
        same: Pictures whose pixels two splits share.
        near: Pictures of two splits that look alike by dHash, without the former.
        contradictions: Pairs of pictures of train with the same pixels and different classes.
        memory_mib: What all splits take as squares of ``data.stored_size``.
    """

    class_names: tuple[str, ...]
    splits: tuple[SplitInfo, ...]
    same: tuple[TwinsInfo, ...]
    near: tuple[TwinsInfo, ...]
    contradictions: TwinsInfo
    memory_mib: float

    @property
    def num_broken(self) -> int:
        """Pictures that cannot be read."""
        return sum(len(split.broken) for split in self.splits)


def check_data(config: DataConfig, on_picture: OnPicture | None = None) -> DataCheckInfo:
    """Decode every picture of a data set once and return what came to light.

    What is held at a time are the pictures that are being decoded, and of each other one some 150 bytes: its size, its
    kind and its two hashes.

    Args:
        config: Which data; its splits are those of a search, with ``data.max_train_images`` and the like applied.
        on_picture: Told of the progress.

    Raises:
        DataError: There are no such data, or they cannot be split.
    """
    opened = open_source(config, takes_strangers=True)
    sources = choose_images(opened, config)
    looks = {name: _look(name, source, config, on_picture) for name, source in sources.items()}
    pairs = [("train", "val"), ("train", "test"), ("val", "test")]
    same = {pair: find_same(*(looks[name].contents for name in pair)) for pair in pairs}
    near = {pair: _find_near_only(looks, pair, same[pair]) for pair in pairs}
    return DataCheckInfo(
        class_names=opened.class_names,
        splits=tuple(_split_info(look, opened, config) for look in looks.values()),
        same=tuple(_twins_info(looks, pair, twins) for pair, twins in same.items() if twins),
        near=tuple(_twins_info(looks, pair, twins) for pair, twins in near.items() if twins),
        contradictions=_contradictions(looks["train"]),
        memory_mib=sum(map(len, sources.values())) * 3 * config.stored_size**2 / 2**20,
    )


@dataclass(frozen=True, slots=True)
class _Picture:
    """One picture, looked at; one that is broken has a reason and nothing else."""

    height: int = 0
    width: int = 0
    head: PictureHead = _PIXELS
    content: bytes = b""
    looks: npt.NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    """One split, looked at; ``indices`` are those of the readable pictures, whose facts follow."""

    name: str
    source: ImageSource
    indices: list[int]
    sizes: npt.NDArray[np.int64]
    heads: Counter[PictureHead]
    contents: list[bytes]
    looks: Looks
    broken: tuple[str, ...]

    def name_of(self, place: int) -> str:
        """Name a readable picture."""
        return printable(self.source.describe(self.indices[place]))

    def label_of(self, place: int) -> int:
        """Return the class of a readable picture."""
        return int(self.source.labels[self.indices[place]])


def _look(name: str, source: ImageSource, config: DataConfig, on_picture: OnPicture | None) -> _Look:
    indices, heads, contents, sizes, looks, broken = [], Counter[PictureHead](), [], [], [], []
    for index, picture in enumerate(_pictures(source, max(1, config.loader_workers))):
        if picture.problem:
            broken.append(printable(f"{source.describe(index)} ({picture.problem})"))
        else:
            indices.append(index)
            heads[picture.head] += 1
            contents.append(picture.content)
            sizes.append((picture.height, picture.width))
            looks.append(picture.looks)
        if on_picture is not None:
            on_picture(name, index + 1, len(source))
    return _Look(
        name=name,
        source=source,
        indices=indices,
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        heads=heads,
        contents=contents,
        looks=np.array(looks, dtype=np.float32).reshape(len(looks), -1),
        broken=tuple(broken),
    )


def _pictures(source: ImageSource, num_threads: int) -> Iterator[_Picture]:
    """Yield every picture in order; Pillow and the hashes let go of Python's lock, so threads are enough."""
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(source), _CHUNK):
            yield from pool.map(lambda index: _inspect(source, index), range(start, min(start + _CHUNK, len(source))))


def _inspect(source: ImageSource, index: int) -> _Picture:
    try:
        pixels, head = _read(source, index)
    except DataError:
        raise  # not the picture's fault
    except (OSError, ValueError) as error:
        return _Picture(problem=" ".join(str(error).split()))
    looks = hash_looks(pixels)
    content = hash_pixels(pixels) if looks.any() else b""  # two black pictures are no copies of each other
    return _Picture(pixels.shape[0], pixels.shape[1], head, content, looks)


def _read(source: ImageSource, index: int) -> tuple[Pixels, PictureHead]:
    if isinstance(source, Subset):
        return _read(source.source, int(source.indices[index]))
    if not isinstance(source, EncodedSource):
        return source.read(index), _PIXELS
    data = source.encoded(index)
    return decode_image(data), read_kind(data)


def _split_info(look: _Look, opened: SourceSplits, config: DataConfig) -> SplitInfo:
    heights, widths = look.sizes[:, 0], look.sizes[:, 1]
    shorter = look.sizes.min(axis=1) if len(look.sizes) else heights
    kinds: Counter[str] = Counter()
    for head, number in look.heads.items():
        kinds[head.mode] += number
    names = (look.source.describe(index) for index in range(len(look.source)))
    return SplitInfo(
        name=look.name,
        is_held_out=look.name != "train" and getattr(opened, look.name) is None,
        counts=tuple(np.bincount(look.source.labels, minlength=len(opened.class_names)).tolist()),
        widths=_spread(widths),
        heights=_spread(heights),
        shorter_sides=_spread(shorter),
        aspects=_spread(widths / heights),
        kinds=dict(kinds.most_common()),
        num_rotated=sum(number for head, number in look.heads.items() if head.is_rotated),
        num_enlarged=int((shorter < config.stored_size).sum()),
        num_flat=int((~look.looks.any(axis=1)).sum()),
        broken=look.broken,
        unreadable_names=tuple(printable(name) for name in names if not (is_text(name) and name.isprintable())),
    )


def _spread(values: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> Spread:
    if not len(values):
        return Spread(np.nan, np.nan, np.nan)
    return Spread(float(values.min()), float(np.median(values)), float(values.max()))


def _find_near_only(looks: Mapping[str, _Look], pair: tuple[str, str], same: Sequence[Twins]) -> list[Twins]:
    first, second = (looks[name] for name in pair)
    known = {twins.second for twins in same}
    return [twins for twins in find_near(first.looks, second.looks) if twins.second not in known]


def _twins_info(looks: Mapping[str, _Look], pair: tuple[str, str], twins: Sequence[Twins]) -> TwinsInfo:
    first, second = (looks[name] for name in pair)
    some = sorted(twins, key=lambda each: (each.bits, each.second))[:_SHOWN]
    examples = tuple((first.name_of(each.first), second.name_of(each.second)) for each in some)
    return TwinsInfo(first.name, second.name, len(twins), examples)


def _contradictions(train: _Look) -> TwinsInfo:
    """Find pictures of train with the same pixels as an earlier one of another class."""
    all_twins = find_same(train.contents, train.contents)
    wrong = [each for each in all_twins if train.label_of(each.first) != train.label_of(each.second)]
    return _twins_info({"train": train}, ("train", "train"), wrong)
