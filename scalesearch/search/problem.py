"""What the search engine asks of a problem: a space of candidates, what they cost, and how one is scored.

The base network is one such problem, a detector's neck and heads another; the loop and the samplers know neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from optuna.trial import Trial

from scalesearch.arch import Cost
from scalesearch.search.objectives import Objectives
from scalesearch.study.executors import Executor
from scalesearch.study.jobs import Candidate, CandidateJob, CandidateScore

C = TypeVar("C", bound=Candidate)

Params = Mapping[str, Any]
"""A point of a space: the value of each of its parameters."""


class Space(Protocol[C]):
    """Candidates as points of named parameters, each with a list of choices."""

    @property
    def parameters(self) -> Mapping[str, Sequence[Any]]:
        """The choices of every parameter that has more than one, by its name in a trial."""
        ...

    def suggest(self, trial: Trial) -> C:
        """Draw a candidate."""
        ...

    def decode(self, values: Params) -> C:
        """Return the candidate at a point."""
        ...

    def encode(self, arch: C) -> dict[str, Any]:
        """Return a point that decodes to the candidate."""
        ...

    def canonical_values(self) -> Callable[[Params], dict[str, Any]]:
        """Return a function from a point to the one that stands for all with the same candidate."""
        ...


class Problem(Protocol[C]):
    """What is searched."""

    @property
    def space(self) -> Space[C]:
        """Where."""
        ...

    @property
    def objectives(self) -> Objectives:
        """For what."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What makes two scores comparable, in plain values."""
        ...

    @property
    def num_steps(self) -> int:
        """Training steps of one candidate."""
        ...

    def cost(self, arch: C) -> Cost:
        """Return what a candidate costs, in closed form."""
        ...

    def lacks(self, arch: C) -> bool:
        """Say whether a candidate cannot be scored at all."""
        ...

    def job(self, arch: C, checkpoint: Path, rungs: tuple[int, ...]) -> CandidateJob:
        """Return what scores a candidate.

        Args:
            arch: The candidate.
            checkpoint: Where its weights go.
            rungs: Steps at which its training is read and may be stopped.
        """
        ...

    def executor(self) -> Executor:
        """Return what runs the jobs."""
        ...

    def read(self, values: Mapping[str, Any]) -> C:
        """Return the candidate whose ``to_dict`` the record kept."""
        ...

    def read_score(self, values: Mapping[str, Any]) -> CandidateScore:
        """Return the score whose ``to_dict`` the record kept."""
        ...
