"""A simulation as lines of two Markdown tables: how busy workers were and why, and where the driver's seconds went."""

from __future__ import annotations

from .meter import PROPOSING, STORAGE
from .regret import Regret
from .study import Outcome

_BUSY = (
    "workers, speed-up",
    "trials",
    "training s",
    "driver s",
    "load",
    "1 / (1 + load)",
    "min(1, 1 / load)",
    "steady",
    "overall",
    "wall hours",
    "regret",
)
_DRIVER = (
    "workers, speed-up",
    "proposals",
    "driver s a trial",
    "processor s",
    "proposing s",
    "storage s",
    "rest s",
    "waited at rungs",
)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


HEADS = tuple(f"{_line(*names)}\n{_line(*['---'] * len(names))}" for names in (_BUSY, _DRIVER))

PAPER_HEAD = f"{_line(*_BUSY[:-1])}\n{_line(*['---'] * (len(_BUSY) - 1))}"


def rows(outcome: Outcome, regret: Regret) -> tuple[str, str]:
    """Return a line for each of ``HEADS``."""
    return _line(*_busy(outcome), f"{regret.points[-1]:.2f}"), _driver(outcome)


def paper_row(outcome: Outcome) -> str:
    """Return a line for ``PAPER_HEAD``."""
    return _line(*_busy(outcome))


def _busy(outcome: Outcome) -> tuple[str, ...]:
    ledger, load = outcome.ledger, outcome.load
    return (
        _name(outcome),
        str(len(ledger.submitted)),
        f"{ledger.training_seconds:.0f}",
        f"{ledger.steady_driver_seconds:.3f}",
        f"{load:.3f}",
        f"{1 / (1 + load):.1%}",
        f"{min(1.0, 1 / load):.1%}" if load else "100.0%",
        f"{ledger.steady_utilisation:.1%}",
        f"{ledger.utilisation:.1%}",
        f"{ledger.makespan / 3600:.2f}",
    )


def _driver(outcome: Outcome) -> str:
    ledger, trials = outcome.ledger, len(outcome.ledger.submitted)
    total = ledger.driver_seconds / trials
    proposing, storage = (outcome.parts.get(part, 0.0) / trials for part in (PROPOSING, STORAGE))
    return _line(
        _name(outcome),
        str(sum(outcome.states.values())),
        f"{total:.3f}",
        f"{ledger.processor_seconds / trials:.3f}",
        f"{proposing:.3f}",
        f"{storage:.3f}",
        f"{total - proposing - storage:.3f}",
        f"{ledger.waited / (ledger.num_workers * ledger.makespan):.2%}",
    )


def _name(outcome: Outcome) -> str:
    return f"{outcome.plan.workers}, {outcome.plan.speed_up:g}"
