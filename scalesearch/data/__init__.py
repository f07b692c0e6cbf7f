"""Images for a search: one file a format, three splits, batches that a seed decides."""

from scalesearch.data.augmentation import Augmentation
from scalesearch.data.config import DataConfig
from scalesearch.data.loading import ImageData, load_data
from scalesearch.data.share import Share
from scalesearch.data.split import Split

__all__ = ["Augmentation", "DataConfig", "ImageData", "Share", "Split", "load_data"]
