import re

import pytest
from omegaconf import OmegaConf

from scalesearch.detection.data import BoxAugmentation
from scalesearch.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"min_scale": 0.01}, "augmentation.min_scale must be in [0.05, 4], got 0.01"),
        ({"min_scale": 2.0}, "augmentation.max_scale must be in [min_scale, 4], min_scale being 2.0, got 1.5"),
        ({"max_scale": 4.5}, "augmentation.max_scale must be in [min_scale, 4], min_scale being 0.5, got 4.5"),
        ({"mosaic_share": 1.1}, "augmentation.mosaic_share must be in [0, 1], got 1.1"),
        ({"colour_jitter": -0.1}, "augmentation.colour_jitter must be in [0, 1], got -0.1"),
        ({"min_visible_share": 0.0}, "augmentation.min_visible_share must be in (0, 1], got 0.0"),
        ({"min_visible_share": float("nan")}, "augmentation.min_visible_share must be in (0, 1], got nan"),
    ],
)
def test_a_value_outside_its_range_is_refused(settings, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        BoxAugmentation(**settings)


def test_efficientdets_range_is_allowed():
    BoxAugmentation(min_scale=0.1, max_scale=2.0)


def test_it_is_a_schema_for_hydra():
    schema = OmegaConf.merge(OmegaConf.structured(BoxAugmentation), {"mosaic_share": 0.5})
    assert OmegaConf.to_object(schema) == BoxAugmentation(mosaic_share=0.5)
