"""What the page is told, as plain values that become JSON; ``assets/types.js`` says the same to the page's scripts.

Numbers that are not finite are ``None``. Every text comes from the record as it is: the page shows it as text.
"""

from __future__ import annotations

import math
from typing import Any, TypedDict

Pair = tuple[float, float]


class Stage(TypedDict):
    """One part of a network in the order of the data; ``size`` is its output's side in pixels, 0 once pooled."""

    name: str
    block: str
    size: int
    channels: int
    depth: int
    params: int
    macs: int
    acts: int


class Arch(TypedDict):
    """What a network is: ``spec`` is what a file of it holds, ``blocks`` what a person types."""

    image_size: int
    blocks: str
    stages: list[Stage]
    spec: dict[str, Any]


class Run(TypedDict):
    """One training of a network; ``readings`` are (steps, score) at rungs and at its end."""

    number: int
    seed: int | None
    score: float | None
    train_seconds: float | None
    steps: int | None
    readings: list[Pair]


class Network(TypedDict):
    """One network of a part, all its seeds together; where it has no score, one trial and why.

    Attributes:
        id: Unique in the study: the part, then the architecture or, for a trial without a score, its number.
        costs: By name, the mean over seeds.
        scores: By name: mean, its standard error, number of seeds.
    """

    id: str
    part: str
    arch_id: str
    label: str
    state: str
    reason: str
    costs: dict[str, float]
    scores: dict[str, tuple[float, float | None, int]]
    runs: list[Run]


class Series(TypedDict):
    """One part on one pair of axes: ids of its front in rising cost, and its hypervolume over the common corner."""

    name: str
    num_networks: int
    num_left_out: int
    front: list[str]
    hypervolume: float
    history: list[Pair]


class View(TypedDict):
    """One pair of axes; ``history`` of its series is (trial number, hypervolume) wherever that grew."""

    cost: str
    score: str
    budget: float | None
    reference: Pair
    series: list[Series]


class Importance(TypedDict):
    """How much each parameter of the search decides the score; the shares sum to 1, the largest first."""

    sentence: str
    shares: list[tuple[str, float]]


class Table(TypedDict):
    """A table as people read it."""

    title: str
    columns: list[str]
    rows: list[list[str | float | int | None]]


class Picture(TypedDict):
    """A picture as a data URI."""

    title: str
    uri: str


class StudyPayload(TypedDict):
    """One study; what it has nothing of is None or empty.

    Attributes:
        arguments: Quoted for a shell, what tells another command of this study.
        data_arguments: Quoted for a shell, what another command needs to be told to train on the same images.
        config: The study's ``config.yaml``.
        map: ``MapInfo`` as plain values, so are ``curves`` (one a cost) and ``fidelity``.
    """

    name: str
    arguments: str
    notes: str
    networks: list[Network]
    archs: dict[str, Arch]
    views: list[View]
    importance: Importance | None
    map: dict[str, Any] | None
    curves: list[dict[str, Any]]
    fidelity: dict[str, Any] | None
    detectors: list[Table]
    pictures: list[Picture]
    parts: Table
    sessions: Table
    machines: list[str]
    seeds: str
    config: str
    data_arguments: str
    num_classes: int | None


class Landmark(TypedDict):
    """A released network: a mark on the cost axis, without a score on anybody's images."""

    name: str
    costs: dict[str, int]


class Payload(TypedDict):
    """The whole page."""

    studies: list[StudyPayload]
    landmarks: list[Landmark]
    cost_labels: dict[str, str]
    score_labels: dict[str, str]


def number(value: object) -> float | None:
    """Return a value of the record as a number, None where it is not finite or not there.

    Example:
        >>> number(0.5), number(float("nan")), number(None), number("0.5")
        (0.5, None, None, None)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return None


def plain(value: Any) -> Any:  # noqa: ANN401 (any plain value)
    """Return nested plain values with what is not finite as None.

    Example:
        >>> plain({"a": (1.0, float("inf")), "b": "text"})
        {'a': [1.0, None], 'b': 'text'}
    """
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return number(value) if isinstance(value, float) else value
