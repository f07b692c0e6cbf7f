"""The first files of a study of somebody's own: a configuration, a search space and what to do next."""

from __future__ import annotations

import json
import random
import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from scalesearch.arch import SearchSpace, network_cost
from scalesearch.arch.plain_yaml import parse_yaml
from scalesearch.atomic import write_atomically
from scalesearch.data import DataConfig
from scalesearch.data.loading import open_source
from scalesearch.data.source import ImageSource
from scalesearch.errors import ConfigError
from scalesearch.schemas import NewConfig

_SURVEYED = 64  # pictures whose size is looked at
_DRAWN = 200  # networks of the space, from whose costs the budget is taken
_LEAST_SIZE, _MOST_SIZE = 16, 128
_LARGE = 64  # px, from which on a stem of stride 2 is affordable

_CONFIG = """\
# A study of your own. One file for all verbs: `scalesearch VERB config={config}`.
# Keys that stand free are for every verb that has them; those under a verb's name are for it alone. The command line
# lies over all of it: `scalesearch search config={config} trials=80`. All keys: `scalesearch VERB --help`.
# Paths are relative to the folder in which the command is given.

study: {study}                 # its name; all it writes lies in results/{study}/
seed: 0                        # every random choice follows from it
workers: 2                     # networks trained at once, one process each

data:
  format: {data.format}             # folder, npz, parquet, torchvision, or patches: embedded pictures to try it out
  root: {root}                   # where the pictures are; of no use to patches
  name: {name}                   # class of torchvision.datasets; of no use to the other formats
  stored_size: {stored_size}             # px a side kept in memory: the largest image size, scaled ones too
  val_fraction: {data.val_fraction}  # share of train on which a search decides, without a val folder
{others}
search:                        # finds a base network
  space: {space}  # what may vary
  trials: 40                   # networks to train in all
  budget:
    macs: {macs}            # the most multiply-adds of an image: {macs_why}
  train:
    steps: 300                 # of each; few rank roughly, and a search takes trials * steps

scale:                         # tries ways to make the base larger
  step: 0.1                    # of the grid of alpha (depth), beta (width) and gamma (resolution)
  seeds: 3                     # trainings of each, without which luck decides

family:                        # trains the base and its larger siblings to the end, and scores them on test
  phi: 0..2                    # how many siblings: base * factors ^ phi
  seeds: 3                     # trainings of each
"""

_SPACE = """\
# What may vary, for pictures of {image_size} px. A field is a value or a list of choices. Stages follow each
# other; each stride of 2 halves the picture.
image_size: {image_size}              # px a side of the networks
stem_channels: [8, 16]       # outputs of the first convolution
stem_stride: {stem_stride}               # 2 from {large} px on: the first halving is the cheapest
head_channels: [128, 256]    # features before the classifier
stages:
  # ds: depthwise separable; cn: plain convolution
  - {{block: [ds, cn], kernel_size: 3, stride: 2, out_channels: [8, 16], num_blocks: 1}}
  # ir: MBConv, of expand_ratio times the channels inside; er: the same with one plain convolution (FusedMBConv)
  # num_blocks: 0 leaves a stage out; se_ratio: squeeze-and-excitation, 0 none
  - {{block: [ir, er], kernel_size: [3, 5], stride: 1, expand_ratio: [1, 3, 6],
     out_channels: [8, 16, 24], num_blocks: [0, 1, 2], se_ratio: [0, 0.25]}}
  - {{block: [ir, er], kernel_size: [3, 5], stride: 2, expand_ratio: [3, 6],
     out_channels: [16, 24, 40], num_blocks: [1, 2, 3], se_ratio: [0, 0.25]}}
  - {{block: ir, kernel_size: [3, 5], stride: 1, expand_ratio: [3, 6],
     out_channels: [32, 48, 64], num_blocks: [0, 1, 2, 3], se_ratio: [0, 0.25]}}
  - {{block: ir, kernel_size: [3, 5], stride: 2, expand_ratio: [3, 6],
     out_channels: [48, 80, 112], num_blocks: [1, 2, 3], se_ratio: [0, 0.25]}}
"""

_README = """\
# Study {study}

`config.yaml` says what is done, `space.yaml` what may vary; both explain each line. {seen}

Look the pictures over, see what the search will cost, and search:

```
scalesearch data check config={config}
scalesearch plan config={config}
scalesearch search config={config}
```

Then `scale`, `family` and `report`, in the same way. Each can be stopped at any moment: the same command goes on.
"""


@dataclass(frozen=True, slots=True)
class StartInfo:
    """What was written, and for which pictures; ``native_size`` is their median shorter side."""

    files: tuple[Path, ...]
    image_size: int
    native_size: int


def write_start(config: NewConfig) -> StartInfo:
    """Write ``config.yaml``, ``space.yaml`` and ``README.md``, of a size that suits the data.

    Raises:
        ConfigError: One of the files is there already, or the folder's name cannot be a study's.
        DataError: There are no such data.
    """
    folder = Path(config.folder)
    files = tuple(folder / name for name in ("config.yaml", "space.yaml", "README.md"))
    for file in files:
        if file.exists():
            raise ConfigError(f"{file}: is there already, and new overwrites nothing; give another folder")
    native, num_classes = _look(config.data)
    image_size = min(max(native // 8 * 8, _LEAST_SIZE), _MOST_SIZE)
    space_text = _SPACE.format(image_size=image_size, stem_stride=2 if image_size > _LARGE else 1, large=_LARGE + 8)
    macs = _median_macs(space_text, num_classes)
    config_text = _CONFIG.format(
        config=files[0],
        study=_study_name(folder),
        data=config.data,
        root=_yaml_text(config.data.root),
        name=_yaml_text(config.data.name),
        others=_others(config.data),
        stored_size=max(image_size, min(native, 2 * image_size)),
        space=_yaml_text(str(files[1])),
        macs=macs,
        macs_why=f"half of the space's networks have fewer than {macs:,}",
    )
    seen = f"The networks see {image_size} px; the pictures' shorter side is {native} px in the middle."
    readme = _README.format(study=_study_name(folder), config=files[0], seen=seen)
    for file, text in zip(files, (_aligned(config_text), _aligned(space_text), readme), strict=True):
        write_atomically(file, text)
    return StartInfo(files, image_size, native)


def _look(config: DataConfig) -> tuple[int, int]:
    """Return the median shorter side of some pictures, evenly spaced, and the number of classes."""
    opened = open_source(config)
    places = np.linspace(0, len(opened.train) - 1, min(_SURVEYED, len(opened.train))).astype(int)
    sides = [side for place in places if (side := _shorter_side(opened.train, int(place)))]
    if not sides:
        raise ConfigError(f"none of {len(places)} pictures of train can be read; scalesearch data check says why")
    return int(statistics.median(sides)), len(opened.class_names)


def _shorter_side(source: ImageSource, place: int) -> int:
    try:
        height, width, _ = source.read(place).shape
    except (OSError, ValueError):  # data check names it
        return 0
    return int(min(height, width))


def _median_macs(space_text: str, num_classes: int) -> int:
    """Return the macs that half of the space's networks stay below, in two digits."""
    space, rng = SearchSpace.from_dict("space", parse_yaml(space_text)), random.Random(0)
    macs = statistics.median(network_cost(space.sample(rng), num_classes=num_classes).macs for _ in range(_DRAWN))
    return int(float(f"{macs:.1e}"))


def _study_name(folder: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")
    if not name:
        raise ConfigError(f"the folder's name must have a letter or digit, for it names the study; got {str(folder)!r}")
    return name[:100]


def _others(config: DataConfig) -> str:
    """Return a line for each other key of the data that was given."""
    told = {"format", "root", "name", "stored_size", "val_fraction"}
    plain = asdict(DataConfig())
    given = {key: value for key, value in asdict(config).items() if key not in told and value != plain[key]}
    return "".join(
        f"  {key}: {json.dumps(value, ensure_ascii=False)}  # as it was given\n" for key, value in given.items()
    )


def _aligned(text: str) -> str:
    """Return YAML with the comments that follow values in one column."""
    lines = []
    for line in text.splitlines():
        value, mark, comment = line.rpartition("  # ")
        lines.append(f"{value.rstrip():<30} # {comment.lstrip()}" if mark and value.strip() else line)
    return "\n".join(lines) + "\n"


def _yaml_text(text: str) -> str:
    """Return a text as a YAML scalar in one line."""
    return yaml.safe_dump(text, width=10_000, allow_unicode=True, default_style='"').strip()
