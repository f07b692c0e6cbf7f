"""Which pictures with boxes, how they are split and kept; a structured config for Hydra and a checked value in one."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.data.config import NO_LIMIT
from scalesearch.errors import ConfigError

FORMATS = ("made", "coco", "voc")
_AT_LEAST_ONE = (
    "made_train_images",
    "made_val_images",
    "made_test_images",
    "max_train_images",
    "max_val_images",
    "max_test_images",
    "memory_mib",
)
_AT_LEAST_32 = ("made_image_size", "stored_size")


@dataclass(kw_only=True, slots=True)
class BoxDataConfig:
    """A data set with boxes and its splits. The defaults are the embedded made task.

    Args:
        format: One of ``FORMATS``; each is told in the file of its name.
        root: Folder of the data; of no use to ``made``.
        train_annotations: COCO's json of a split, below ``root``. That of val or test need not be there: val then
            comes off train, and there is no test.
        val_annotations: See ``train_annotations``.
        test_annotations: See ``train_annotations``.
        train_images: COCO's folder of a split's pictures, below ``root``.
        val_images: See ``train_images``.
        test_images: See ``train_images``.
        made_train_images: Images of ``made`` in a split; likewise for the others.
        made_val_images: See ``made_train_images``.
        made_test_images: See ``made_train_images``.
        made_image_size: Side of ``made``'s images in pixels.
        seed: Of ``made``, of the split and of the choice of pictures.
        val_fraction: Share of train's pictures that become val where the data bring none.
        max_train_images: A random choice of at most so many pictures; likewise for the others.
        max_val_images: See ``max_train_images``.
        max_test_images: See ``max_train_images``.
        stored_size: Pictures are kept with at most this longer side, in pixels: the largest image size of the study,
            or twice that where they are scaled up in training; larger ones are interpolated.
        memory_mib: Decoded pictures are kept in memory up to this much, over all splits; the rest is decoded anew
            each time.

    Raises:
        ConfigError: A value outside its range, or a format without its root.
    """

    format: str = "made"
    root: str = ""
    train_annotations: str = "instances_train.json"
    val_annotations: str = "instances_val.json"
    test_annotations: str = "instances_test.json"
    train_images: str = "images"
    val_images: str = "images"
    test_images: str = "images"
    made_train_images: int = 400
    made_val_images: int = 100
    made_test_images: int = 100
    made_image_size: int = 128
    seed: int = 0
    val_fraction: float = 0.1
    max_train_images: int = NO_LIMIT
    max_val_images: int = NO_LIMIT
    max_test_images: int = NO_LIMIT
    stored_size: int = 640
    memory_mib: int = 2048

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(f"data.format must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.format != "made" and not self.root:
            raise ConfigError(f"data.root must say where the {self.format} data are, got an empty one")
        for key in _AT_LEAST_ONE:
            self._check(key, "at least 1", getattr(self, key) >= 1)
        for key in _AT_LEAST_32:
            self._check(key, "at least 32", getattr(self, key) >= 32)
        self._check("seed", "at least 0", self.seed >= 0)
        self._check("val_fraction", "in (0, 1)", 0.0 < self.val_fraction < 1.0)

    def _check(self, key: str, allowed: str, holds: bool) -> None:
        if not holds:
            raise ConfigError(f"data.{key} must be {allowed}, got {getattr(self, key)}")
