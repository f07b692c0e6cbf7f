"""Training a fixed list of networks, each with several seeds: what the scaling grid and the family have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, Trial

from scalesearch.arch import Cost
from scalesearch.study.driver import JobRules, drive
from scalesearch.study.executors import Executor, Failed, Scored
from scalesearch.study.jobs import CandidateJob
from scalesearch.study.progress import ProgressDisplay
from scalesearch.study.sessions import session
from scalesearch.study.store import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """One network with one seed, and the numbers by which a reader of the record knows it (alpha, phi, ...)."""

    job: CandidateJob
    cost: Cost
    label: str
    numbers: dict[str, float]

    @property
    def key(self) -> tuple[str, int]:
        """What makes it one training."""
        return self.job.arch.arch_id, self.job.seed


class Roster:
    """Trains every entry once; entries of earlier runs of the same command stand, and equal ones are one training.

    Args:
        record: Where trials are kept; its one objective is the score's worth, ``val_top1`` where networks are trained,
            ``val_ap`` where detectors are.
        entries: All of them, those already trained too.
        rules: For every training.
    """

    def __init__(self, record: Record, entries: Sequence[Entry], rules: JobRules | None = None) -> None:
        self._record, self._rules = record, rules
        self._entries = {entry.key: entry for entry in entries}
        trained = {_key(trial) for trial in record.trials if trial.state.is_finished()}
        self._pending = [entry for key, entry in self._entries.items() if key not in trained]
        num_done = len(self._entries) - len(self._pending)
        self._progress = ProgressDisplay(record.part, len(self._entries), done=num_done)
        self._best = 0.0

    def run(self, executor: Executor) -> pd.DataFrame:
        """Train what is pending and return all trials of the record."""
        with session(self._record.study), self._progress:
            drive(self._record.part, self._jobs(), executor, self._settle, self._progress, rules=self._rules)
        return self._record.frame()

    def _jobs(self) -> Iterator[tuple[Trial, CandidateJob, str]]:
        for unfinished in self._record.unfinished():
            entry = self._entries.get(_key(unfinished))
            if entry is not None:
                self._pending.remove(entry)
                yield self._describe(self._record.take_up(unfinished), entry), entry.job, entry.label
            elif "arch_id" not in unfinished.user_attrs:
                self._record.fail(self._record.take_up(unfinished), "the driver was ended before the trial began")
            # another one is of a list with other entries, and waits for it: failed, it would never be trained
        while self._pending:
            entry = self._pending.pop(0)
            yield self._ask(entry), entry.job, entry.label

    def _ask(self, entry: Entry) -> Trial:
        """Begin a trial whose parameters are given, so that Optuna's dashboard shows them as any other's."""
        numbers = {**entry.numbers, "seed": float(entry.job.seed)}
        trial = self._record.study.ask({name: FloatDistribution(value, value) for name, value in numbers.items()})
        return self._describe(trial, entry)

    def _describe(self, trial: Trial, entry: Entry) -> Trial:
        self._record.describe(trial, entry.job.arch, entry.cost, seed=entry.job.seed, label=entry.label)
        return trial

    def _settle(self, trial: Trial, job: CandidateJob, event: Scored | Failed) -> str:
        if isinstance(event, Failed):
            self._record.fail(trial, event.reason, event.traceback)
            return event.reason
        worth = event.score.worth
        self._record.complete(trial, [worth], event.score)
        line = f"{worth:.3f}, {self._entries[job.arch.arch_id, job.seed].label}, seed {job.seed}"
        if worth > self._best:
            self._best = worth
            self._progress.best(line)
        return line


def _key(trial: FrozenTrial) -> tuple[str, int]:
    return trial.user_attrs.get("arch_id", ""), trial.user_attrs.get("seed", -1)
