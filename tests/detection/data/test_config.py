import re

import pytest
from omegaconf import OmegaConf

from scalesearch.detection.data import BoxDataConfig
from scalesearch.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"format": "yolo"}, "data.format must be one of made, coco, voc, got 'yolo'"),
        ({"format": "coco"}, "data.root must say where the coco data are, got an empty one"),
        ({"format": "voc"}, "data.root must say where the voc data are, got an empty one"),
        ({"made_val_images": 0}, "data.made_val_images must be at least 1, got 0"),
        ({"max_train_images": 0}, "data.max_train_images must be at least 1, got 0"),
        ({"memory_mib": 0}, "data.memory_mib must be at least 1, got 0"),
        ({"made_image_size": 31}, "data.made_image_size must be at least 32, got 31"),
        ({"stored_size": 16}, "data.stored_size must be at least 32, got 16"),
        ({"seed": -1}, "data.seed must be at least 0, got -1"),
        ({"val_fraction": 0.0}, "data.val_fraction must be in (0, 1), got 0.0"),
        ({"val_fraction": 1.0}, "data.val_fraction must be in (0, 1), got 1.0"),
    ],
)
def test_a_value_outside_its_range_is_refused(settings, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        BoxDataConfig(**settings)


def test_the_default_is_the_made_task():
    config = BoxDataConfig()
    assert config.format == "made"
    assert (config.made_train_images, config.made_val_images, config.made_test_images) == (400, 100, 100)
    assert config.made_image_size == 128


def test_it_is_a_schema_for_hydra():
    schema = OmegaConf.merge(OmegaConf.structured(BoxDataConfig), {"format": "voc", "root": "here"})
    assert OmegaConf.to_object(schema) == BoxDataConfig(format="voc", root="here")
