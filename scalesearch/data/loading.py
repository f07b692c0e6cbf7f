"""The one way in: a config in, three splits and the facts about them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from scalesearch.data.cache import has_entry, load_entry, name_entry, save_entry
from scalesearch.data.config import DataConfig
from scalesearch.data.formats.folder import open_folder
from scalesearch.data.formats.npz import open_npz
from scalesearch.data.formats.parquet import open_parquet
from scalesearch.data.formats.patches import open_patches
from scalesearch.data.formats.torchvision_sets import open_torchvision
from scalesearch.data.preparing import Prepared, prepare_in_memory, survey_stream
from scalesearch.data.source import ImageSource, SourceSplits, Subset
from scalesearch.data.split import MemorySplit, Split
from scalesearch.data.splitting import hold_out, subsample
from scalesearch.data.stream import StreamSplit
from scalesearch.errors import DataError

# Settings that change neither a pixel nor a label, and so no cache entry.
_NOT_IN_CACHE_KEY = frozenset({"download", "loader_workers"})


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """A data set as a search sees it.

    ``val`` is the search-val split that decisions are made on; ``test`` is read once, by the final report.
    ``native_size`` is the median shorter side of the training pictures as stored, in pixels. ``mean`` and ``std`` are
    the training split's, a channel each, in units where white is 1. ``fingerprint`` covers class names, counts,
    labels and pixels (see ``survey_stream`` for streaming data). ``corrupt`` names the images that were left out; of
    streaming data, only those met in the survey.
    """

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    native_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fingerprint: str
    corrupt: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def streams(self) -> bool:
        """Whether images are decoded while they are read, at their own size."""
        return isinstance(self.train, StreamSplit)


def load_data(config: DataConfig, cache: Path | None = None) -> ImageData:
    """Open a data set, split it, and decode it where it fits into ``memory_mib``.

    Args:
        config: Which data.
        cache: Folder for decoded images. A second load of the same data decodes nothing, and processes on one
            machine share its memory; let one process load first, for those that find no entry all decode. None
            decodes anew each time.

    Raises:
        DataError: Data that are missing, unreadable, too few or of one class; see the format's own file.
    """
    opened = open_source(config)
    sources = choose_images(opened, config)
    prepared = _prepare(sources, opened, config) if cache is None else _prepare_once(sources, opened, config, cache)
    num_classes, facts = len(opened.class_names), prepared.facts

    def build(name: str) -> Split:
        if name in prepared.images:
            labels = torch.from_numpy(prepared.labels[name])
            return MemorySplit(prepared.images[name], labels, facts.normalisation, num_classes)
        workers, max_share = config.loader_workers, config.max_corrupt_share
        return StreamSplit(sources[name], facts.normalisation, num_classes, workers, max_share)

    return ImageData(
        train=build("train"),
        val=build("val"),
        test=build("test"),
        class_names=opened.class_names,
        native_size=facts.native_size,
        mean=facts.normalisation.mean,
        std=facts.normalisation.std,
        fingerprint=facts.fingerprint,
        corrupt=facts.corrupt,
    )


def open_source(config: DataConfig, *, takes_strangers: bool = False) -> SourceSplits:
    """Open the data set that the config names, decoding nothing.

    Args:
        config: Which data.
        takes_strangers: Whether folders of val and test may name classes that train lacks, for a mere look.

    Raises:
        DataError: See the format's own file.
    """
    match config.format:
        case "patches":
            return open_patches(train_per_class=config.patches_per_class, eval_per_class=config.eval_patches_per_class)
        case "folder":
            return open_folder(Path(config.root), takes_strangers=takes_strangers)
        case "npz":
            return open_npz(Path(config.root))
        case "parquet":
            return open_parquet(config.root, image_column=config.image_column, label_column=config.label_column)
        case "torchvision":
            return open_torchvision(config.name, config.root, download=config.download)
        case _:
            # Config values are checked once, when made; but they may be set afterwards.
            raise DataError(f"data.format must be a known one, got {config.format!r}")


def choose_images(opened: SourceSplits, config: DataConfig) -> dict[str, ImageSource]:
    """Hold out what the format does not bring (test first, then val, both from train) and apply the limits.

    Raises:
        DataError: A split without an image, or too few training images for the classes.
    """
    train, test = _hold_out_unless(opened.test, opened.train, config)
    train, val = _hold_out_unless(opened.val, train, config)
    chosen: dict[str, ImageSource] = {
        "train": _limit(train, config.max_train_images, config.seed),
        "val": _limit(val, config.max_val_images, config.seed),
        "test": _limit(test, config.max_test_images, config.seed),
    }
    for name, source in chosen.items():
        if len(source) == 0:
            raise DataError(f"{name}: needs at least one image, but no class has two to hold one out")
    num_present = len(np.unique(opened.train.labels))
    if len(np.unique(chosen["train"].labels)) < num_present:
        raise DataError(
            f"data.max_train_images must be at least the {num_present} classes, got {config.max_train_images}"
        )
    return chosen


def _hold_out_unless(
    given: ImageSource | None, train: ImageSource, config: DataConfig
) -> tuple[ImageSource, ImageSource]:
    """Return train and the other split, which is the given one or, without it, a part of train."""
    if given is not None:
        return train, given
    kept, held_out = hold_out(train.labels, config.val_fraction, config.seed)
    return Subset(train, kept), Subset(train, held_out)


def _limit(source: ImageSource, limit: int, seed: int) -> ImageSource:
    return source if len(source) <= limit else Subset(source, subsample(source.labels, limit, seed))


def _prepare(sources: Mapping[str, ImageSource], opened: SourceSplits, config: DataConfig) -> Prepared:
    num_bytes = sum(len(source) for source in sources.values()) * 3 * config.stored_size**2
    fits = num_bytes <= config.memory_mib * 2**20
    prepare = prepare_in_memory if fits else survey_stream
    return prepare(sources, opened.class_names, size=config.stored_size, max_corrupt_share=config.max_corrupt_share)


def _prepare_once(
    sources: Mapping[str, ImageSource], opened: SourceSplits, config: DataConfig, cache: Path
) -> Prepared:
    settings = {key: value for key, value in asdict(config).items() if key not in _NOT_IN_CACHE_KEY}
    entry = cache / name_entry({**settings, "identity": opened.identity})
    if not has_entry(entry):
        save_entry(entry, _prepare(sources, opened, config))
    return load_entry(entry)
