"""The space of detectors: its points, and a budget that some of it must meet."""

from __future__ import annotations

import re
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from scalesearch.arch.budget import Budget
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.studies.space import DetectorSpace, check_reachable, read_choices
from scalesearch.errors import ArchError, SpaceError
from tests.detection.detectors import tiny_spec

CHOICES = {"neck_channels": (8, 16), "neck_cells": (1, 2, 3), "head_depth": (1,), "image_size": (48, 64)}


@pytest.fixture
def space() -> DetectorSpace:
    return DetectorSpace(tiny_spec(neck="panet"), CHOICES)


def test_every_combination_of_the_choices_is_one_detector(space: DetectorSpace) -> None:
    specs = list(space.detectors())
    assert len(specs) == len({spec.arch_id for spec in specs}) == 12
    assert {(spec.neck_channels, spec.image_size) for spec in specs} == {(8, 48), (8, 64), (16, 48), (16, 64)}
    assert {(spec.head_depth, spec.neck, spec.backbone) for spec in specs} == {(1, "panet", space.base.backbone)}


def test_a_point_is_its_detector_and_back(space: DetectorSpace) -> None:
    for spec in space.detectors():
        assert space.decode(space.encode(spec)) == spec
        assert space.suggest(FixedTrial(space.encode(spec))) == spec  # type: ignore[arg-type]


def test_what_has_one_choice_is_no_parameter(space: DetectorSpace) -> None:
    assert space.parameters == {name: CHOICES[name] for name in ("neck_channels", "neck_cells", "image_size")}


def test_a_drawn_detector_is_of_the_space(space: DetectorSpace) -> None:
    specs = set(space.detectors())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {space.suggest(study.ask()) for _ in range(30)}
    assert len(drawn) > 5
    assert drawn <= specs


def test_no_two_points_are_one_detector(space: DetectorSpace) -> None:
    canonical = space.canonical_values()
    assert all(canonical(space.encode(spec)) == space.encode(spec) for spec in space.detectors())


def test_spaces_are_told_apart_by_plain_values(space: DetectorSpace) -> None:
    assert space.to_dict() == DetectorSpace(tiny_spec(neck="panet"), dict(CHOICES)).to_dict()
    assert space.to_dict() != DetectorSpace(tiny_spec(), CHOICES).to_dict()
    assert space.to_dict() != DetectorSpace(tiny_spec(neck="panet"), {**CHOICES, "head_depth": (2,)}).to_dict()


def test_choices_must_make_detectors() -> None:
    with pytest.raises(SpaceError, match=r"^neck_cells must have at least one choice, got none$"):
        DetectorSpace(tiny_spec(), {**CHOICES, "neck_cells": ()})
    with pytest.raises(ArchError, match=r"^image_size must be a whole number of at least 1, got 0$"):
        DetectorSpace(tiny_spec(), {**CHOICES, "image_size": (64, 0)})


@pytest.mark.parametrize("name", ["macs", "params", "acts"])
def test_a_budget_that_no_detector_meets_is_refused_with_the_cheapest(space: DetectorSpace, name: str) -> None:
    cheapest = min(getattr(detector_cost(spec).total, name) for spec in space.detectors())
    check_reachable(space, Budget(**{name: float(cheapest)}))
    sentence = (
        f"budget.{name} must be at least {cheapest:,}, the cheapest detector of the choices; got {cheapest - 1:,}"
    )
    with pytest.raises(SpaceError, match=f"^{re.escape(sentence)}$"):
        check_reachable(space, Budget(**{name: float(cheapest - 1)}))


@pytest.mark.parametrize(
    ("value", "choices"),
    [("32,48, 64", (32, 48, 64)), (32, (32,)), ("32", (32,)), ([32, 48], (32, 48)), ("48,32,48", (48, 32)), ([], ())],
)
def test_choices_are_read_each_once_in_their_order(value: Any, choices: tuple[int, ...]) -> None:
    assert read_choices("neck_channels", value) == choices


@pytest.mark.parametrize("value", ["abc", "", "32,,48", "1.5", 1.5, None, [32, "x"], {"a": 1}, True])
def test_what_are_no_whole_numbers_are_no_choices(value: Any) -> None:
    sentence = f"neck_channels must be whole numbers as 32,48,64, got {value!r}"
    with pytest.raises(SpaceError, match=f"^{re.escape(sentence)}$"):
        read_choices("neck_channels", value)
