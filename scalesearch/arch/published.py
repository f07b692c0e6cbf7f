"""Published networks, as data.

The released EfficientNet-B1 .. B7 are a table, not powers of (1.2, 1.1, 1.15): no exponent reproduces them. The
multipliers are those of the released models (arXiv 1905.11946 and its code); ``EFFICIENTNETS`` also holds the
dropout rates they were trained with.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from scalesearch.arch.scaling import resize_arch
from scalesearch.arch.spec import ArchSpec
from scalesearch.errors import ArchError

Row = TypeVar("Row")

# Table 1 of arXiv 1905.11946.
_B0 = ArchSpec.from_blocks(
    [
        "ds_r1_k3_s1_e1_c16_se0.25",
        "ir_r2_k3_s2_e6_c24_se0.25",
        "ir_r2_k5_s2_e6_c40_se0.25",
        "ir_r3_k3_s2_e6_c80_se0.25",
        "ir_r3_k5_s1_e6_c112_se0.25",
        "ir_r4_k5_s2_e6_c192_se0.25",
        "ir_r1_k3_s1_e6_c320_se0.25",
    ],
    stem_channels=32,
    head_channels=1280,
    image_size=224,
)


class PublishedEfficientNet(NamedTuple):
    """One row of the released family; ``drop_path`` is called drop connect in the paper."""

    width_mult: float
    depth_mult: float
    image_size: int
    dropout: float
    drop_path: float = 0.2


EFFICIENTNETS = {
    "efficientnet-b0": PublishedEfficientNet(1.0, 1.0, 224, 0.2),
    "efficientnet-b1": PublishedEfficientNet(1.0, 1.1, 240, 0.2),
    "efficientnet-b2": PublishedEfficientNet(1.1, 1.2, 260, 0.3),
    "efficientnet-b3": PublishedEfficientNet(1.2, 1.4, 300, 0.3),
    "efficientnet-b4": PublishedEfficientNet(1.4, 1.8, 380, 0.4),
    "efficientnet-b5": PublishedEfficientNet(1.6, 2.2, 456, 0.4),
    "efficientnet-b6": PublishedEfficientNet(1.8, 2.6, 528, 0.5),
    "efficientnet-b7": PublishedEfficientNet(2.0, 3.1, 600, 0.5),
}


def look_up(table: Mapping[str, Row], name: str, what: str) -> Row:
    """Return the row of a published model, whose name may also be written with underscores or capitals.

    Raises:
        ArchError: There is none; the sentence has the names, and the nearest.
    """
    row = table.get(name.lower().replace("_", "-"))
    if row is None:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ArchError(f"published {what} are {', '.join(table)}; got {name!r}{hint}")
    return row


def published_arch(name: str) -> ArchSpec:
    """Return a published architecture by name, ``efficientnet-b0`` .. ``efficientnet-b7``.

    Raises:
        ArchError: There is no such network.

    Example:
        >>> published_arch("efficientnet-b4").image_size
        380
    """
    row = look_up(EFFICIENTNETS, name, "networks")
    resolution_mult = row.image_size / _B0.image_size
    return resize_arch(_B0, row.depth_mult, row.width_mult, resolution_mult)
