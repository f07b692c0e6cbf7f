"""What a scaling grid found, in a few numbers: kept in the rule's file, said by the command and by the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalesearch.arch import ScalingFactors
from scalesearch.arch.files import load_value
from scalesearch.errors import StudyError
from scalesearch.scaling.doublings import at_equal_cost, realised_factors
from scalesearch.scaling.evidence import Evidence
from scalesearch.scaling.surface import ResponseSurface

_KEY = "evidence"  # of the rule's file
_DIGITS = 4
_MOST_SEEDS = 100  # that anybody would plan


@dataclass(frozen=True, slots=True)
class Range:
    """A number and its 95 % region."""

    at: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.at:.2f} ({self.lower:.2f} to {self.upper:.2f})"


@dataclass(frozen=True, slots=True)
class PeakFactors:
    """Where the surface is highest between the candidates: factors as realised, at the target's macs."""

    alpha: Range
    beta: Range
    gamma: Range

    @classmethod
    def of(cls, surface: ResponseSurface, target: float) -> PeakFactors | None:
        """Return the peak of a surface over ``cost_doublings``; None where it has none within the candidates' range."""
        peak = surface.peak()
        if peak is None:
            return None
        move = at_equal_cost(peak.location[None], target)[0] - peak.location
        rows = realised_factors([point + move for point in peak]).round(_DIGITS).T.tolist()
        return cls(*(Range(*row) for row in rows))


@dataclass(frozen=True, slots=True)
class SurfaceVerdict:
    """What the response surface adds to the means.

    Attributes:
        top1: Of the choice, at the target's macs.
        top1_se: Its standard error.
        noise: Standard deviation of one training.
        num_in_region: Candidates that it does not tell from its maximum.
        peak: Its maximum between the candidates; None where it has none there.
    """

    top1: float
    top1_se: float
    noise: float
    num_in_region: int
    peak: PeakFactors | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate's factors, its mean search-val top-1, and over how many seeds."""

    factors: ScalingFactors
    val_top1: float
    num_seeds: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The choice of a scaling grid, and how sure it is.

    Attributes:
        chosen: What the grid would take.
        chosen_by: ``surface`` or ``mean``.
        target: Times the base's macs that were aimed at.
        realised_ratio: Times the base's macs that the choice has.
        val_top1_se: Standard error of the choice's mean; NaN with one seed.
        best: The candidate with the best mean.
        num_candidates: Distinct networks that were trained.
        num_untold: Of them, those whose means cannot be told from the best one's, itself among them.
        surface: None where there were too few trainings for one.
        seeds_to_tell: With so many seeds each the best one's mean would be told from the next one's; ``inf`` where they
            are equal, NaN where they are told already, the noise is unknown, or the file is from before this was kept.
    """

    chosen: Measured
    chosen_by: str
    target: float
    realised_ratio: float
    val_top1_se: float
    best: Measured
    num_candidates: int
    num_untold: int
    surface: SurfaceVerdict | None
    seeds_to_tell: float = math.nan

    @classmethod
    def of(cls, evidence: Evidence, target: float) -> Verdict:
        """Return the verdict on a grid's evidence."""
        chosen, best = evidence.row(evidence.chosen), evidence.row(evidence.best_measured)
        surface = None
        if evidence.surface is not None:
            surface = SurfaceVerdict(
                top1=_rounded(chosen.surface_top1),
                top1_se=_rounded(chosen.surface_se),
                noise=_rounded(evidence.surface.residual_sd),
                num_in_region=evidence.num_in_region,
                peak=PeakFactors.of(evidence.surface, target),
            )
        return cls(
            chosen=Measured(evidence.chosen.factors, _rounded(chosen.val_top1), int(chosen.num_seeds)),
            chosen_by=evidence.chosen_by,
            target=target,
            realised_ratio=_rounded(evidence.chosen.realised_ratio),
            val_top1_se=_rounded(chosen.val_top1_se),
            best=Measured(evidence.best_measured.factors, _rounded(best.val_top1), int(best.num_seeds)),
            num_candidates=len(evidence.table),
            num_untold=evidence.num_untold,
            surface=surface,
            seeds_to_tell=evidence.seeds_to_tell,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for the rule's file."""
        return asdict(self)

    @classmethod
    def load(cls, rule_file: Path) -> Verdict | None:
        """Return what a rule's file says of its evidence; None where it says nothing, as one written by hand.

        Raises:
            ArchError: The file cannot be read.
            StudyError: It says something that no scaling grid wrote.
        """
        said = load_value(rule_file, lambda values: values.get(_KEY), "a scaling rule is a mapping")
        if said is None:
            return None
        try:
            surface = said["surface"] and {**said["surface"], "peak": _read_peak(said["surface"]["peak"])}
            return cls(
                **{
                    **said,
                    "chosen": _read_measured(said["chosen"]),
                    "best": _read_measured(said["best"]),
                    "surface": surface and SurfaceVerdict(**surface),
                }
            )
        except (KeyError, TypeError) as error:
            raise StudyError(
                f"{rule_file}: `{_KEY}` is not what a scaling grid writes ({error}); run `scalesearch scale` again, or"
                " leave it out"
            ) from None

    def sentences(self) -> list[str]:
        """Say what is chosen and how sure that is."""
        by = "the likeliest within a step of the surface's maximum" if self.chosen_by == "surface" else "the best mean"
        factors, best = self.chosen.factors, self.best
        said = [
            f"It would take {factors} (product {factors.product:.2f}, {self.realised_ratio:.2f} times the macs), {by}.",
            f"Best measured: {best.factors}, {best.val_top1:.4f} over {best.num_seeds} seeds; by their means"
            f" {self.num_untold} of {self.num_candidates} candidates cannot be told apart from it.",
            *([] if math.isnan(self.seeds_to_tell) else [_seeds_sentence(self.seeds_to_tell)]),
        ]
        surface = self.surface
        if surface is None:
            return [*said, "There are too few trainings for a response surface."]
        return [
            *said,
            f"By the surface through all trainings {surface.num_in_region} of {self.num_candidates} cannot be told"
            f" apart from its maximum; the choice is put at {surface.top1:.4f} ± {surface.top1_se:.4f}, and the noise"
            f" of a training at {surface.noise:.4f}.",
            _peak_sentence(surface.peak, self.target),
        ]


def _seeds_sentence(num_seeds: float) -> str:
    seeds = f"about {num_seeds:.0f}" if num_seeds <= _MOST_SEEDS else f"more than {_MOST_SEEDS}"
    return f"To tell it from the next best, if they differ as measured, would take {seeds} seeds each (80 % power)."


def _peak_sentence(peak: PeakFactors | None, target: float) -> str:
    if peak is None:
        return "The surface has no maximum within the range of the candidates: it still rises at an edge."
    return (
        f"Between the candidates the surface is highest at alpha {peak.alpha}, beta {peak.beta}, gamma {peak.gamma}:"
        f" as realised, brought to {target:g} times the macs, each with its 95 % region."
    )


def _read_measured(said: Mapping[str, Any]) -> Measured:
    return Measured(**{**said, "factors": ScalingFactors(**said["factors"])})


def _read_peak(said: Mapping[str, Mapping[str, float]] | None) -> PeakFactors | None:
    return None if said is None else PeakFactors(**{name: Range(**values) for name, values in said.items()})


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)
