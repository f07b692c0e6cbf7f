"""The table of a family: a row a member, what it is and costs, and what its trainings reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.scaling.members import COMPOUND, Member
from scalesearch.scaling.rivals import nearest_published


def summarise_members(
    base: ArchSpec, members: Sequence[Member], trials: pd.DataFrame, num_classes: int
) -> pd.DataFrame:
    """Return a row a member: its size, costs, and mean accuracies with standard errors.

    A rival's ``minus_compound`` is its accuracy less that of the member it was brought near to, paired over seeds, on
    the test split where that was read.
    """
    base_macs = network_cost(base, num_classes=num_classes).macs
    complete = trials[trials.state == "COMPLETE"]
    of_arch = {member.arch.arch_id: complete[complete.arch_id == member.arch.arch_id] for member in members}
    compound = {member.phi: of_arch[member.arch.arch_id] for member in members if member.strategy == COMPOUND}
    return pd.DataFrame(
        [
            {
                **_describe(member, base_macs),
                **_score(of_arch[member.arch.arch_id]),
                **(
                    {}
                    if member.strategy == COMPOUND
                    else _difference(of_arch[member.arch.arch_id], compound[member.phi])
                ),
                "arch_id": member.arch.arch_id,
            }
            for member in members
        ]
    )


def _describe(member: Member, base_macs: int) -> dict[str, Any]:
    nearest, ratio = nearest_published(member.cost)
    return {
        "member": member.label,
        "strategy": member.strategy,
        "phi": member.phi,
        "depth_mult": member.depth_mult,
        "width_mult": member.width_mult,
        "resolution_mult": member.resolution_mult,
        "blocks": member.arch.num_blocks,
        "stem_channels": member.arch.stem_channels,
        "image_size": member.arch.image_size,
        **member.cost._asdict(),
        "product": member.product,
        "realised_ratio": member.cost.macs / base_macs,
        "nearest_released": nearest,
        "macs_over_released": ratio,
    }


def _score(mine: pd.DataFrame) -> dict[str, Any]:
    return {
        "val_top1": mine.val_top1.mean(),
        "val_top1_se": mine.val_top1.sem(),
        "test_top1": mine.test_top1.mean(),
        "test_top1_se": mine.test_top1.sem(),
        "num_seeds": len(mine),
    }


def _difference(mine: pd.DataFrame, others: pd.DataFrame) -> dict[str, Any]:
    score = "val_top1" if mine.test_top1.isna().all() else "test_top1"
    paired = mine.set_index("seed")[score] - others.set_index("seed")[score]
    return {"minus_compound": paired.mean(), "minus_compound_se": paired.sem()}
