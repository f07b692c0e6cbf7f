"""What the trainings of a grid say: every candidate's mean, the surface through all of them, and a choice.

At equal cost candidates differ by less than a seed's noise, and the best mean is the luckiest one. So the choice is the
response surface's where it can be fitted; the best measured candidate stands beside it, with those that cannot be
told from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from scalesearch.arch import ArchSpec
from scalesearch.arch.scaling import DepthRounding
from scalesearch.errors import StudyError
from scalesearch.scaling.candidates import ScalingCandidate
from scalesearch.scaling.doublings import Floats, at_equal_cost, cost_doublings
from scalesearch.scaling.racing import indistinguishable, one_step_apart, seeds_to_tell
from scalesearch.scaling.surface import ResponseSurface, fit_surface

CHOICES = ("surface", "mean")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the candidates after some trainings.

    Attributes:
        table: A row a candidate, the best means first; see ``weigh``.
        surface: Through all trainings; None where there are too few.
        chosen: What the grid would take.
        chosen_by: ``surface`` or ``mean``.
        best_measured: The candidate with the best mean among those with the most seeds; where failures left these
            with different seeds, by what is common.
        seeds_to_tell: With so many seeds each it would be told from the next one; see ``racing.seeds_to_tell``.
    """

    table: pd.DataFrame
    surface: ResponseSurface | None
    chosen: ScalingCandidate
    chosen_by: str
    best_measured: ScalingCandidate
    seeds_to_tell: float

    def row(self, candidate: ScalingCandidate) -> pd.Series:
        """Return a candidate's row of the table."""
        return self.table[self.table.arch_id == candidate.arch.arch_id].iloc[0]

    @property
    def num_untold(self) -> int:
        """Candidates that the measured means do not tell from the best, itself among them."""
        return int(self.table.untold.sum())

    @property
    def num_in_region(self) -> int:
        """Candidates that the surface does not tell from its maximum; 0 without a surface."""
        return int(self.table.in_region.sum())


def weigh(
    base: ArchSpec,
    candidates: Sequence[ScalingCandidate],
    trials: pd.DataFrame,
    *,
    target: float,
    step: float,
    rounding: DepthRounding,
    num_classes: int,
    choose: str = "surface",
) -> Evidence:
    """Return what the trials say about the candidates.

    The table has a candidate's factors, costs, ``val_top1`` with its standard error and number of seeds; ``untold``,
    whether the means cannot tell it from the best measured one; and of the surface at the target's cost
    ``surface_top1`` with its standard error and ``in_region``, whether it cannot be told from the maximum.

    Raises:
        StudyError: Every training failed.
    """
    table = summarise_candidates(candidates, trials)
    if table.val_top1.isna().all():
        raise StudyError("every training of the scaling grid failed; the record has each one's reason")
    by_id = {candidate.arch.arch_id: candidate for candidate in candidates}
    scores = score_table(trials, list(by_id)).dropna(how="all")
    untold = [str(name) for name in indistinguishable(scores)]
    best = by_id[untold[0]]
    table["untold"] = table.arch_id.isin(untold)
    num_seeds = dict(zip(table.arch_id, table.num_seeds, strict=True))
    features = cost_doublings(base, [candidate.factors for candidate in candidates], rounding, num_classes)
    surface = fit_trainings(features, list(by_id), trials)
    chosen, by = best, "mean"
    if surface is None:
        table[["surface_top1", "surface_se", "in_region"]] = np.nan, np.nan, False
    else:
        level = at_equal_cost(features, target)
        means, errors = surface.predict(level)
        said = pd.DataFrame(
            {"surface_top1": means, "surface_se": errors, "in_region": surface.confidence_region(level)}, list(by_id)
        )
        table = table.merge(said, left_on="arch_id", right_index=True, how="left")
        if choose == "surface":
            near = one_step_apart([candidate.points for candidate in candidates], step)
            # what the race dropped has lost to others by its own trainings, whatever is one step away from it
            dropped = [num_seeds[candidate.arch.arch_id] < max(num_seeds.values()) for candidate in candidates]
            chosen, by = candidates[surface.maximum(level, near, dropped)], "surface"
    return Evidence(table.reset_index(drop=True), surface, chosen, by, best, seeds_to_tell(scores))


def score_table(trials: pd.DataFrame, arch_ids: Sequence[str]) -> pd.DataFrame:
    """Return top-1 with a row a candidate and a column a seed, NaN where a training is missing or failed."""
    complete = trials[(trials.state == "COMPLETE") & trials.arch_id.isin(arch_ids)]
    table = complete.pivot_table(index="arch_id", columns="seed", values="val_top1")
    return table.reindex(list(arch_ids)).sort_index(axis=1)


def summarise_candidates(candidates: Sequence[ScalingCandidate], trials: pd.DataFrame) -> pd.DataFrame:
    """Return a row a candidate: those with all their seeds first, then by mean; a single seed's error is NaN."""
    complete = trials[trials.state == "COMPLETE"]
    rows = []
    for candidate in candidates:
        scores = complete.loc[complete.arch_id == candidate.arch.arch_id, "val_top1"]
        rows.append(
            {
                **_describe(candidate),
                "val_top1": scores.mean(),
                "val_top1_se": scores.sem(),
                "num_seeds": len(scores),
                "arch_id": candidate.arch.arch_id,
            }
        )
    table = pd.DataFrame(rows)
    # one that lost a seed to a failure is not chosen on the luck of the rest; of equals the cheaper one
    return table.sort_values(["num_seeds", "val_top1", "macs"], ascending=[False, False, True], ignore_index=True)


def _describe(candidate: ScalingCandidate) -> dict[str, Any]:
    return {
        **asdict(candidate.factors),
        "grid_points": len(candidate.points),
        "product": candidate.factors.product,
        "realised_ratio": candidate.realised_ratio,
        "image_size": candidate.arch.image_size,
        **candidate.cost._asdict(),
    }


def fit_trainings(features: Floats, arch_ids: Sequence[str], trials: pd.DataFrame) -> ResponseSurface | None:
    """Return the surface through the trials of candidates with these features (N, 3); None where they are too few."""
    complete = trials[(trials.state == "COMPLETE") & trials.arch_id.isin(arch_ids)]
    rows = [arch_ids.index(str(arch_id)) for arch_id in complete.arch_id]
    try:
        return fit_surface(features[rows], complete.val_top1.to_numpy(float), complete.seed.to_numpy(int))
    except StudyError:  # too few candidates or trainings; the means are all there is
        return None
