"""What the record and the executors ask of a candidate, of a job that trains it, and of the score that comes back.

A network and a detector are both such candidates: what differs between them stands on the floors that know them.
"""

from __future__ import annotations

from typing import Any, Protocol

from scalesearch.measure.snapshot import SnapshotConfig


class Candidate(Protocol):
    """What a trial trains, as a value."""

    @property
    def arch_id(self) -> str:
        """Names it alone: no weights, no seed."""
        ...

    @property
    def image_size(self) -> int:
        """Pixels a side at which it is trained and scored."""
        ...

    @property
    def blocks(self) -> str:
        """What it is made of, in a line for people."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, from which it can be built again."""
        ...


class CandidateJob(Protocol):
    """One training and its evaluation, so described that it can run anywhere the data are."""

    @property
    def arch(self) -> Candidate:
        """What is trained."""
        ...

    @property
    def seed(self) -> int:
        """Of the weights, the order of the images and the augmentation."""
        ...

    @property
    def snapshot(self) -> SnapshotConfig | None:
        """Where its training keeps what it needs to go on; None keeps nothing."""
        ...

    @property
    def memory_floor_mib(self) -> float:
        """What its training takes at least, beside torch itself; NaN where that is not foreseen."""
        ...


class CandidateScore(Protocol):
    """What was measured."""

    @property
    def worth(self) -> float:
        """What a search maximises."""
        ...

    @property
    def steps(self) -> int:
        """Training steps it took."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether the training was ended at a rung."""
        ...

    @property
    def latency_ms(self) -> float:
        """Of a pass, NaN where it was not measured."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without those that were not measured."""
        ...
