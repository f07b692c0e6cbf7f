"""What has become of every trial, whoever ran it: this driver now, an earlier run, or another driver at this moment."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from scalesearch.study.store import Record


class Ledger:
    """The record as one driver has read it.

    Attributes:
        known: The trial of each candidate whose scoring has ended, well, at a rung or badly, by ``arch_id``.
        best: The trial with the highest accuracy (or reward) within the budget; the cheaper of equals.
        num_steps: Training steps of all candidates with a score.
        others: Running trials that this driver did not begin: another's, or left by one that died.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self.known: dict[str, FrozenTrial] = {}
        self.best: FrozenTrial | None = None
        self.num_steps = 0
        self.others: list[FrozenTrial] = []
        self._mine: set[int] = set()
        self._ended: set[int] = set()
        self._first_open = 0  # every trial before it has ended
        self._has_read = False

    @property
    def archs_of_others(self) -> set[str]:
        """The candidates that other drivers train."""
        return {trial.user_attrs["arch_id"] for trial in self.others if "arch_id" in trial.user_attrs}

    @property
    def complete(self) -> list[FrozenTrial]:
        """The candidates with a score at the end of their training."""
        return [trial for trial in self.known.values() if trial.state == TrialState.COMPLETE]

    def read_news(self) -> list[FrozenTrial]:
        """Return what has been told, or read at a rung, since the last time by others than this driver."""
        if self._has_read and not self._record.drivers.is_shared:
            return []  # nobody else writes
        if self._has_read:
            self._record.look_again()
        self._has_read = True
        trials = self._record.trials
        open_ones = [trial for trial in trials[self._first_open :] if trial.number not in self._ended]
        news = [trial for trial in open_ones if trial.number not in self._mine]
        self.others = [trial for trial in news if not trial.state.is_finished()]
        for trial in news:
            if trial.state.is_finished():
                self.enter(trial)
        while self._first_open in self._ended:
            self._ended.discard(self._first_open)
            self._first_open += 1
        return news

    def own(self, number: int) -> None:
        """Take note that this driver tells the trial."""
        self._mine.add(number)
        self.others = [trial for trial in self.others if trial.number != number]

    def disown(self, number: int) -> None:
        """Take note that another driver has taken the trial up."""
        self._mine.discard(number)

    def enter(self, trial: FrozenTrial) -> None:
        """Take note of a trial that has ended."""
        self._mine.discard(trial.number)
        self._ended.add(trial.number)
        if not was_scored(trial):
            return
        self.known[trial.user_attrs["arch_id"]] = trial
        self.num_steps += trial.user_attrs.get("score", {}).get("steps", 0)
        if trial.state == TrialState.COMPLETE and (self.best is None or _rank(trial) > _rank(self.best)):
            self.best = trial


def was_scored(trial: FrozenTrial) -> bool:
    """Say whether the scoring of a trial has ended: one that was told without, over budget or known, has a state."""
    return trial.state.is_finished() and "state" not in trial.user_attrs and "arch_id" in trial.user_attrs


def _rank(trial: FrozenTrial) -> tuple[float, int]:
    return trial.values[0], -trial.user_attrs["macs"]
