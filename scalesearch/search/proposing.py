"""Where trials come from: a sampler that learns, or a shortlist that is worked off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol

from optuna.samplers import RandomSampler
from optuna.trial import Trial

from scalesearch.search.knowledge import Knowledge
from scalesearch.search.problem import C, Space
from scalesearch.search.samplers import PredictorSampler, build_sampler
from scalesearch.study.store import Record

_PATIENCE, _PREDICTOR_PATIENCE = 1000, 50


class Proposer(Protocol):
    """Asks the study for its next trial.

    Attributes:
        patience: Proposals in a row without one to score, after which the space counts as exhausted.
    """

    patience: int

    def propose(self, record: Record) -> Trial | None:
        """Return a new trial; None where there is nothing left to propose."""
        ...

    def prepare(self, record: Record, number: int) -> None:
        """Make the sampler ready for the parameters that a trial has not drawn yet."""
        ...


class SamplerProposer(Generic[C]):
    """Proposes by a sampler.

    Args:
        name: One of ``SAMPLERS``.
        seed: Of the study.
        knowledge: What the predictor is told; the other samplers have no use for it.
    """

    def __init__(self, name: str, seed: int, knowledge: Knowledge[C]) -> None:
        self._name, self._seed = name, seed
        # the predictor knows what is over a limit or known, and proposes it only where it finds nothing else
        self.patience = _PREDICTOR_PATIENCE if name == "predictor" else _PATIENCE
        self._predictor = PredictorSampler(
            seed,
            cost=knowledge.cost if knowledge.has_cost else None,
            allows=knowledge.allows,
            canonical=knowledge.canonical,
            space=knowledge.distributions,
        )

    def propose(self, record: Record) -> Trial:
        """Return a new trial."""
        # the predictor needs no number, and to count the trials reads every running one again (docs/scale.md)
        self.prepare(record, 0 if self._name == "predictor" else len(record.trials))
        return record.study.ask()

    def prepare(self, record: Record, number: int) -> None:
        """Set the study's sampler for the trial ``number``."""
        predicts = self._name == "predictor"
        record.study.sampler = self._predictor if predicts else build_sampler(self._name, self._seed, number)


class ShortlistProposer(Generic[C]):
    """Proposes the candidates of a list, in its order.

    Args:
        space: That holds them.
        shortlist: The candidates.
    """

    def __init__(self, space: Space[C], shortlist: Sequence[C]) -> None:
        self._space, self._shortlist = space, shortlist
        self.patience = len(shortlist) + 1  # it ends by itself

    def propose(self, record: Record) -> Trial | None:
        """Return a new trial of the next candidate, None after the last."""
        number = len(record.trials)
        if number >= len(self._shortlist):
            return None
        self.prepare(record, number)
        record.study.enqueue_trial(self._space.encode(self._shortlist[number]))
        return record.study.ask()

    def prepare(self, record: Record, number: int) -> None:
        """Set a sampler that is never asked: every parameter is given."""
        record.study.sampler = RandomSampler(seed=number)
