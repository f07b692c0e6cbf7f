"""Training a fixed list of networks, each with several seeds: what the scaling grid and the family have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, Trial

from scalesearch.arch import Cost
from scalesearch.study.driver import JobRules, NextJob, drive
from scalesearch.study.executors import Executor, Failed, Scored
from scalesearch.study.jobs import CandidateJob
from scalesearch.study.progress import ProgressDisplay
from scalesearch.study.sessions import session
from scalesearch.study.store import Record

_Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One network with one seed, and the numbers by which a reader of the record knows it (alpha, phi, ...).

    ``variant`` names the way it is trained, where a part of a study has several; the same network with the same seed is
    another training in another way.
    """

    job: CandidateJob
    cost: Cost
    label: str
    numbers: dict[str, float]
    variant: str = ""

    @property
    def key(self) -> _Key:
        """What makes it one training."""
        return self.job.arch.arch_id, self.job.seed, self.variant


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
        self._pending = dict(self._entries)
        self._mine: dict[int, Entry] = {}
        self._others: list[FrozenTrial] = []
        self._has_read = False
        num_done = self._read_news()
        self._progress = ProgressDisplay(record.part, len(self._entries), done=num_done)
        self._best = 0.0

    def run(self, executor: Executor) -> pd.DataFrame:
        """Train what is pending and return all trials of the record."""
        with self._record.drivers, session(self._record.study), self._progress, self._record.tracking:
            drive(self._record.part, self._jobs(), executor, self._settle, self._progress, rules=self._rules)
        return self._record.frame()

    def _jobs(self) -> Iterator[NextJob]:
        """Yield what is left to train, None while only other drivers have any."""
        while True:
            with self._record.drivers.turn():
                self._progress.count(self._read_news())
                job = self._take_up_left() or self._begin_pending()
            if job is not None:
                yield job
            elif any(_key(trial) in self._pending for trial in self._others):
                yield None  # another driver trains the last ones, and may yet die and leave them to this one
            else:
                break

    def _read_news(self) -> int:
        """Take note of what earlier runs and other drivers have begun and ended; return how many entries ended."""
        if self._has_read and not self._record.drivers.is_shared:
            return 0  # nobody else writes
        if self._has_read:
            self._record.look_again()
        self._has_read, num_pending = True, len(self._pending)
        trials = [trial for trial in self._record.trials if trial.number not in self._mine]
        self._others = [trial for trial in trials if not trial.state.is_finished()]
        for trial in trials:
            if trial.state.is_finished():
                self._pending.pop(_key(trial), None)
        return num_pending - len(self._pending)

    def _take_up_left(self) -> NextJob:
        """Return an entry that a dead driver left; one of another list waits for that list."""
        for left in self._record.drivers.are_dead(self._others):
            entry = self._pending.pop(_key(left), None)
            if entry is None and "arch_id" in left.user_attrs:
                continue
            self._others.remove(left)
            trial = self._record.take_up(left)
            if entry is not None:
                return self._own(trial, entry), entry.job, entry.label
            self._record.fail(trial, "the driver was ended before the trial began")
        return None

    def _begin_pending(self) -> NextJob:
        """Return the next entry that nobody trains."""
        running = {_key(trial) for trial in self._others}
        key = next((key for key in self._pending if key not in running), None)
        if key is None:
            return None
        entry = self._pending.pop(key)
        return self._ask(entry), entry.job, entry.label

    def _ask(self, entry: Entry) -> Trial:
        """Begin a trial whose parameters are given, so that Optuna's dashboard shows them as any other's."""
        numbers = {**entry.numbers, "seed": float(entry.job.seed)}
        trial = self._record.study.ask({name: FloatDistribution(value, value) for name, value in numbers.items()})
        self._record.drivers.claim(trial)
        return self._own(trial, entry)

    def _own(self, trial: Trial, entry: Entry) -> Trial:
        self._mine[trial.number] = entry
        if entry.variant:  # first: what makes a trial known is written next
            trial.set_user_attr("variant", entry.variant)
        self._record.describe(trial, entry.job.arch, entry.cost, seed=entry.job.seed, label=entry.label)
        return trial

    def _settle(self, trial: Trial, job: CandidateJob, event: Scored | Failed) -> str:
        if not self._record.owns(trial):
            del self._mine[trial.number]
            return "another driver has taken it up"
        if isinstance(event, Failed):
            self._record.fail(trial, event.reason, event.traceback)
            return event.reason
        worth = event.score.worth
        self._record.complete(trial, [worth], event.score)
        line = f"{worth:.3f}, {self._mine[trial.number].label}, seed {job.seed}"
        if worth > self._best:
            self._best = worth
            self._progress.best(line)
        return line


def _key(trial: FrozenTrial) -> _Key:
    attributes = trial.user_attrs
    return attributes.get("arch_id", ""), attributes.get("seed", -1), attributes.get("variant", "")
