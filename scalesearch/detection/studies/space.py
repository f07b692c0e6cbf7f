"""A search space over detectors: the width and depth of the neck, the depth of the heads, the image size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.trial import Trial

from scalesearch.arch.budget import Budget
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.errors import SpaceError


@dataclass(frozen=True, slots=True)
class DetectorSpace:
    """Every detector that has a base's backbone and levels, and one of the choices for each field.

    Attributes:
        base: What the choices do not say is its.
        choices: Values of each field of a ``DetectorSpec`` that varies.

    Raises:
        SpaceError: A field has no choice.
        ArchError: A choice makes no detector.
    """

    base: DetectorSpec
    choices: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        for name, values in self.choices.items():
            if not values:
                raise SpaceError(f"{name} must have at least one choice, got none")
            for value in values:
                changed: dict[str, Any] = {name: value}
                replace(self.base, **changed)  # refuses what it cannot be

    @property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """The choices of every field that has more than one."""
        return {name: values for name, values in self.choices.items() if len(values) > 1}

    def suggest(self, trial: Trial) -> DetectorSpec:
        """Draw a detector."""
        return self.decode({name: trial.suggest_categorical(name, values) for name, values in self.parameters.items()})

    def decode(self, values: Mapping[str, Any]) -> DetectorSpec:
        """Return the detector at a point."""
        fixed: dict[str, Any] = {name: each[0] for name, each in self.choices.items() if len(each) == 1}
        return replace(self.base, **{**fixed, **{name: values[name] for name in self.parameters}})

    def encode(self, arch: DetectorSpec) -> dict[str, Any]:
        """Return the point of a detector of the space."""
        return {name: getattr(arch, name) for name in self.parameters}

    def canonical_values(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """Return a function from a point to itself: no two points are one detector."""
        return dict

    def detectors(self) -> Iterator[DetectorSpec]:
        """Yield every detector of the space."""
        for values in itertools.product(*self.choices.values()):
            chosen: dict[str, Any] = dict(zip(self.choices, values, strict=True))
            yield replace(self.base, **chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, by which two spaces can be told apart."""
        return {"base": self.base.to_dict(), "choices": {name: list(values) for name, values in self.choices.items()}}


def check_reachable(space: DetectorSpace, budget: Budget) -> None:
    """Refuse a budget that no detector of the space meets.

    Raises:
        SpaceError: The cheapest one is over it; the sentence gives its cost.
    """
    costs = [detector_cost(spec).total for spec in space.detectors()]
    for name, limit in asdict(budget).items():
        cheapest = min(getattr(cost, name) for cost in costs)
        if cheapest > limit:
            raise SpaceError(
                f"budget.{name} must be at least {cheapest:,}, the cheapest detector of the choices; got {limit:,.0f}"
            )


def read_choices(name: str, value: object) -> tuple[int, ...]:
    """Return the choices that a whole number, a list of them, or text as ``32,48,64`` stands for, each once.

    Raises:
        SpaceError: It is none of these.
    """
    items: Sequence[object] = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    )
    try:
        numbers = [int(str(item)) for item in items]
    except ValueError:
        raise SpaceError(f"{name} must be whole numbers as 32,48,64, got {value!r}") from None
    return tuple(dict.fromkeys(numbers))
