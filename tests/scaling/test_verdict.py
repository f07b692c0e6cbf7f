"""The verdict of a grid: what it says, and that the rule's file keeps it."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from scalesearch.arch import ScalingFactors
from scalesearch.errors import ArchError, StudyError
from scalesearch.scaling.surface import ResponseSurface, fit_surface
from scalesearch.scaling.verdict import Measured, PeakFactors, Range, SurfaceVerdict, Verdict

PEAK = PeakFactors(Range(1.2, 1.1, 1.3), Range(1.1, 1.0, 1.2), Range(1.17, 1.1, 1.25))
SURFACE = SurfaceVerdict(top1=0.81, top1_se=0.002, noise=0.004, num_in_region=5, peak=PEAK)
VERDICT = Verdict(
    chosen=Measured(ScalingFactors(1.2, 1.1, 1.15), 0.805, 3),
    chosen_by="surface",
    target=2.0,
    realised_ratio=2.57,
    val_top1_se=0.003,
    best=Measured(ScalingFactors(1.0, 1.4, 1.0), 0.812, 3),
    num_candidates=12,
    num_untold=4,
    surface=SURFACE,
    seeds_to_tell=9.0,
)


def write(path: Path, evidence: object) -> Path:
    path.write_text(yaml.safe_dump({"alpha": 1.2, "beta": 1.1, "gamma": 1.15, "evidence": evidence}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "verdict",
    [
        VERDICT,
        replace(VERDICT, surface=None),
        replace(VERDICT, surface=replace(SURFACE, peak=None)),
        replace(VERDICT, seeds_to_tell=math.inf),
    ],
    ids=["whole", "without a surface", "without a peak", "of equals"],
)
def test_a_file_gives_back_the_verdict_that_was_written(tmp_path: Path, verdict: Verdict) -> None:
    assert Verdict.load(write(tmp_path / "factors.yaml", verdict.to_dict())) == verdict


def test_an_unknown_standard_error_stays_unknown(tmp_path: Path) -> None:
    alone = replace(VERDICT, val_top1_se=math.nan)
    loaded = Verdict.load(write(tmp_path / "factors.yaml", alone.to_dict()))
    assert loaded is not None
    assert math.isnan(loaded.val_top1_se)


def test_a_rule_written_by_hand_has_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "factors.yaml"
    path.write_text("alpha: 1.2\nbeta: 1.1\ngamma: 1.15\n", encoding="utf-8")
    assert Verdict.load(path) is None


def test_evidence_that_no_grid_wrote_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "factors.yaml", {"num_seeds": 2})
    with pytest.raises(StudyError, match=r"factors.yaml: `evidence` is not what a scaling grid writes .*again"):
        Verdict.load(path)


def test_a_rule_file_that_cannot_be_parsed_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "factors.yaml"
    path.write_text("alpha: [1", encoding="utf-8")
    with pytest.raises(ArchError, match=r"factors\.yaml: while parsing"):
        Verdict.load(path)


def test_the_sentences_name_the_choice_the_luckiest_and_what_cannot_be_told_apart() -> None:
    choice, measured, seeds, region, peak = VERDICT.sentences()
    assert "alpha 1.2, beta 1.1, gamma 1.15 (product 1.92, 2.57 times the macs)" in choice
    assert "alpha 1, beta 1.4, gamma 1, 0.8120 over 3 seeds" in measured
    assert "4 of 12 candidates cannot be told apart" in measured
    assert "tell it from the next best" in seeds
    assert "5 of 12 cannot be told apart from its maximum" in region
    assert "alpha 1.20 (1.10 to 1.30), beta 1.10 (1.00 to 1.20), gamma 1.17 (1.10 to 1.25)" in peak
    assert "2 times the macs" in peak


@pytest.mark.parametrize(
    ("num_seeds", "said"),
    [(9.0, "about 9 seeds"), (100.0, "about 100 seeds"), (101.0, "more than 100"), (math.inf, "more than 100")],
)
def test_a_sentence_says_how_many_seeds_would_tell_the_best_from_the_next(num_seeds: float, said: str) -> None:
    _, _, seeds, *_ = replace(VERDICT, seeds_to_tell=num_seeds).sentences()
    assert said in seeds


def test_nothing_is_said_of_more_seeds_where_those_there_are_tell() -> None:
    told = replace(VERDICT, seeds_to_tell=math.nan).sentences()
    assert not [sentence for sentence in told if "next best" in sentence]
    assert len(told) == len(VERDICT.sentences()) - 1


def test_a_file_from_before_seeds_were_counted_is_read(tmp_path: Path) -> None:
    evidence = VERDICT.to_dict()
    del evidence["seeds_to_tell"]
    loaded = Verdict.load(write(tmp_path / "factors.yaml", evidence))
    assert loaded is not None
    assert loaded.sentences() == replace(VERDICT, seeds_to_tell=math.nan).sentences()


def test_the_sentences_say_what_is_missing() -> None:
    assert "too few trainings" in replace(VERDICT, surface=None).sentences()[-1]
    assert "still rises at an edge" in replace(VERDICT, surface=replace(SURFACE, peak=None)).sentences()[-1]


def make_surface(top: tuple[float, float, float]) -> ResponseSurface:
    """Return the surface of a hill with its top at ``top``, over 15 ways to share a doubling, two seeds each."""
    shares = np.array([(a, b, 4 - a - b) for a in range(5) for b in range(5 - a)]) / 4
    hill = 0.7 - 0.1 * np.sum((shares - np.array(top)) ** 2, axis=1)
    rng = np.random.default_rng(5)
    return fit_surface(np.tile(shares, (2, 1)), np.tile(hill, 2) + rng.normal(0, 5e-4, 30), [0] * 15 + [1] * 15)


def test_the_peak_is_found_in_factors_and_its_region_holds_it() -> None:
    found = PeakFactors.of(make_surface((0.4, 0.25, 0.35)), 2.0)
    assert found is not None
    truth = {"alpha": 2**0.4, "beta": 2**0.125, "gamma": 2**0.175}
    for name, part in asdict(found).items():
        assert part["at"] == pytest.approx(truth[name], abs=0.01)
        assert part["lower"] <= truth[name] <= part["upper"]
    assert found.alpha.at * found.beta.at**2 * found.gamma.at**2 == pytest.approx(2.0, abs=1e-3)


def test_a_hill_whose_top_lies_outside_has_no_peak() -> None:
    assert PeakFactors.of(make_surface((2.0, -0.5, -0.5)), 2.0) is None
