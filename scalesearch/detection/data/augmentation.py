"""What may be done to a training picture with boxes; a structured config for Hydra and a checked value in one."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class BoxAugmentation:
    """Random changes of training pictures. The defaults suit small data sets and short training.

    Args:
        flip: Mirror left and right, every other picture on average; to be off for signs, as the made task's digits.
        min_scale: A picture is resized so that its longer side is a share of the image size between this and
            ``max_scale``, uniformly, then cut or padded at a random place. EfficientDet draws from 0.1 to 2.0
            (arXiv 1911.09070, section 5); 1.0 and 1.0 keep the evaluation's scale.
        max_scale: See ``min_scale``.
        mosaic_share: Share of the images that are put together from four pictures, each scaled as above (YOLOv4's
            mosaic, arXiv 2004.10934); 0.0 for none.
        colour_jitter: Brightness, contrast and saturation are each multiplied by up to 1 plus or minus this.
        min_visible_share: A box of which less than this share of the area is left is dropped.

    Raises:
        ConfigError: A value outside its range.
    """

    flip: bool = True
    min_scale: float = 0.5
    max_scale: float = 1.5
    mosaic_share: float = 0.0
    colour_jitter: float = 0.0
    min_visible_share: float = 0.25

    def __post_init__(self) -> None:
        self._check("min_scale", "in [0.05, 4]", 0.05 <= self.min_scale <= 4.0)
        self._check("max_scale", f"in [min_scale, 4], min_scale being {self.min_scale}", self._orders_scales())
        self._check("mosaic_share", "in [0, 1]", 0.0 <= self.mosaic_share <= 1.0)
        self._check("colour_jitter", "in [0, 1]", 0.0 <= self.colour_jitter <= 1.0)
        self._check("min_visible_share", "in (0, 1]", 0.0 < self.min_visible_share <= 1.0)

    def _orders_scales(self) -> bool:
        return self.min_scale <= self.max_scale <= 4.0

    def _check(self, key: str, allowed: str, holds: bool) -> None:
        if not holds:
            raise ConfigError(f"augmentation.{key} must be {allowed}, got {getattr(self, key)}")
