"""The engine of a search: ask, gate, run, tell.

A candidate over budget is told finite worst values and a constraint and is not trained; one that was proposed before is
told its earlier values. Neither counts as a trial of the budget: what costs is training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Generic

from optuna.trial import FrozenTrial, Trial, TrialState

from scalesearch.arch import Cost
from scalesearch.errors import StudyError
from scalesearch.search.dominance import crowded_places
from scalesearch.search.knowledge import Knowledge
from scalesearch.search.ledger import Ledger, was_scored
from scalesearch.search.problem import C, Problem
from scalesearch.search.proposing import Proposer, SamplerProposer, ShortlistProposer
from scalesearch.search.rungs import PrunerConfig, Rungs
from scalesearch.study.driver import JobRules, NextJob, drive
from scalesearch.study.drivers import DRIVER_TIMEOUT
from scalesearch.study.executors import Failed, Reached, Scored
from scalesearch.study.folder import StudyFolder
from scalesearch.study.jobs import CandidateJob, CandidateScore
from scalesearch.study.progress import ProgressDisplay
from scalesearch.study.sessions import session
from scalesearch.study.store import Record, write_trials
from scalesearch.study.trackers import TrackedPart


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopSettings:
    """What a loop is told beside its problem.

    Attributes:
        part: Of the study; its best candidate's weights are ``checkpoints/KEEPS.safetensors``.
        folder: Of the study.
        url: Of the study's storage.
        seed: From which every random choice follows.
        sampler: One of ``SAMPLERS``.
        pruner: Which candidates are stopped before their training ends.
        max_steps: Training steps in all, infinite as None.
        driver_timeout: Seconds without a sign of life after which another driver counts as dead.
        rules: For every candidate that runs.
        keeps: Name of the checkpoint of the best candidate; empty to keep no weights.
        tracked: Who else is told of trials.
    """

    part: str
    folder: StudyFolder
    url: str
    seed: int
    sampler: str
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    max_steps: int | None = None
    driver_timeout: float = DRIVER_TIMEOUT
    rules: JobRules = field(default_factory=JobRules)
    keeps: str = ""
    tracked: TrackedPart | None = None


@dataclass(frozen=True, slots=True)
class Chosen(Generic[C]):
    """The best candidate of a search, its score and cost, how many were scored, and its weights, where it has any."""

    arch: C
    score: CandidateScore
    cost: Cost
    num_scored: int
    checkpoint: Path | None


class SearchLoop(Generic[C]):
    """One run of the loop: what is known, and what to propose next.

    Args:
        settings: Where the record is and how candidates are proposed and stopped.
        problem: What is searched.
        shortlist: Candidates to score in their order, in place of a sampler's proposals.

    Raises:
        StudyError: The part was begun with something else.
    """

    def __init__(self, settings: LoopSettings, problem: Problem[C], shortlist: Sequence[C] | None = None) -> None:
        self._settings, self._problem, self._objectives = settings, problem, problem.objectives
        self._knowledge = Knowledge(problem)
        self._proposer: Proposer = (
            SamplerProposer(settings.sampler, settings.seed, self._knowledge)
            if shortlist is None
            else ShortlistProposer(problem.space, shortlist)
        )
        self._record = self._open_record()
        self._rungs = Rungs(settings.pruner, max(1, problem.num_steps), self._objectives.directions)
        self._ledger = Ledger(self._record)
        self._twins: dict[str, list[Trial]] = {}  # of each candidate that this driver trains
        self._waiting: dict[str, list[Trial]] = {}  # for a candidate that another driver trains
        self._read_news()

    def _open_record(self) -> Record:
        settings = self._settings
        return Record.open(
            settings.url,
            settings.folder.name,
            settings.part,
            directions=self._objectives.directions,
            metric_names=self._objectives.names,
            driver_timeout=settings.driver_timeout,
            tracked=settings.tracked,
            identity={
                **self._objectives.identity(),
                **({} if settings.pruner.method == "off" else {"pruner": asdict(settings.pruner)}),
                **self._problem.identity,
            },
        )

    def run(self, trials: int) -> None:
        """Score until as many candidates are scored, or there is nothing left to propose."""
        self._trials = trials
        self._progress = ProgressDisplay(self._settings.part, trials, done=len(self._ledger.known))
        try:
            with self._record.drivers, session(self._record.study), self._progress, self._record.tracking:
                self._show_best()
                drive(
                    self._settings.part,
                    self._jobs(),
                    self._problem.executor(),
                    self._settle,
                    self._progress,
                    self._decide,
                    self._settings.rules,
                )
        finally:
            write_trials(self._settings.folder, self._settings.url, self._record)

    def conclude(self) -> Chosen[C]:
        """Choose the best candidate, and put its weights in their place.

        Raises:
            StudyError: None was scored; the sentence says why.
        """
        best = self._ledger.best
        if best is None:
            raise StudyError(f"study {self._settings.folder.name}: nothing was scored; {self._why_none()}")
        arch = self._arch_of(best)
        keeps, own = self._settings.keeps, self._checkpoint(best.number)
        kept = self._settings.folder.checkpoints / f"{keeps}.safetensors" if keeps else None
        if kept is not None and own.exists():
            own.replace(kept)
        return Chosen(
            arch=arch,
            score=self._problem.read_score(best.user_attrs["score"]),
            cost=self._problem.cost(arch),
            num_scored=len(self._ledger.known),
            checkpoint=kept if kept is not None and kept.exists() else None,
        )

    def ranking(self) -> list[C]:
        """Return every candidate with a score, the front first, then the fronts behind it, the least crowded first."""
        complete = self._ledger.complete
        signs = [-1.0 if direction == "maximize" else 1.0 for direction in self._objectives.directions]
        values = [[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in complete]
        if not complete:
            return []
        ranked = sorted(zip(crowded_places(values), complete, strict=True), key=lambda one: (one[0], one[1].number))
        return [self._arch_of(trial) for _, trial in ranked]

    def _why_none(self) -> str:
        trials = self._record.trials
        failed = next((trial for trial in trials if trial.state == TrialState.FAIL), None)
        if failed is not None:
            return f"trial {failed.number} failed: {failed.user_attrs.get('reason')}"
        if not trials:
            return "nothing was proposed"
        nearest = min(trials, key=lambda trial: max(trial.constraints.values(), default=0.0))
        limit, excess = max(nearest.constraints.items(), key=lambda item: item[1], default=("limit", 0.0))
        return (
            f"all {len(trials)} proposals were over a limit; the nearest exceeds that on {limit} by {excess:.0%}"
            f" ({nearest.user_attrs['macs']:,} macs, {nearest.user_attrs['params']:,} params)"
        )

    def _jobs(self) -> Iterator[NextJob]:
        """Yield what to score, None while only others have any; settle on the way what needs no scoring."""
        free = 0
        while True:
            with self._record.drivers.turn():
                trial = self._next_trial(free)
                jobs = [] if trial is None else list(self._gate(trial))
            if trial is not None:
                free = 0 if jobs else free + 1
                yield from jobs
            elif not self._ledger.others:
                break
            else:  # another driver trains the last ones, and may yet die and leave them to this one
                yield None
        if free >= self._proposer.patience:
            self._progress.note(f"space exhausted: {free} proposals in a row were over a limit or known")
        elif self._may_begin():
            self._progress.note("the shortlist is worked off")

    def _next_trial(self, free: int) -> Trial | None:
        """Return a trial that a dead driver left, or a new one; None where there is none to begin.

        Args:
            free: Trials in a row that needed no scoring.
        """
        self._progress.count(self._read_news())
        left = self._record.drivers.are_dead(self._ledger.others)
        if left:
            self._ledger.own(left[0].number)
            self._proposer.prepare(self._record, left[0].number)
            return self._record.take_up(left[0])
        if free >= self._proposer.patience or not self._may_begin():
            return None
        trial = self._proposer.propose(self._record)
        if trial is not None:
            self._record.drivers.claim(trial)
        return trial

    def _gate(self, trial: Trial) -> Iterator[tuple[Trial, CandidateJob, str]]:
        arch = self._problem.space.suggest(trial)
        arch_id, cost = arch.arch_id, self._problem.cost(arch)
        excess = self._knowledge.excess(arch)
        self._record.constrain(trial, excess)
        self._ledger.own(trial.number)
        if any(value > 0 for value in excess.values()):
            self._record.describe(trial, arch, cost, seed=self._settings.seed)
            self._record.infeasible(trial, self._objectives.values(arch, cost, 0.0))
            self._end(trial, "INFEASIBLE")
        elif arch_id in self._ledger.known:
            self._repeat(trial, arch, self._ledger.known[arch_id])
        elif arch_id in self._twins:
            self._twins[arch_id].append(trial)  # told what its running twin will be told
        elif arch_id in self._ledger.archs_of_others:
            self._waiting.setdefault(arch_id, []).append(trial)
        else:
            self._record.describe(trial, arch, cost, seed=self._settings.seed)
            self._twins[arch_id] = self._waiting.pop(arch_id, [])
            yield trial, self._job(trial, arch), f"{cost.macs / 1e6:.2f} M macs"

    def _job(self, trial: Trial, arch: C) -> CandidateJob:
        return self._problem.job(arch, self._checkpoint(trial.number), self._rungs.steps(trial.number))

    def _decide(self, trial: Trial, job: CandidateJob, event: Reached) -> bool:
        """Record a reading at a rung and say whether the training goes on; what a stopped driver decided stands."""
        if not self._rungs.has(trial.number, event.steps):
            self._progress.count(self._read_news())
            arch = self._problem.read(trial.user_attrs["arch"])
            values = self._objectives.values(arch, self._problem.cost(arch), event.worth)
            self._rungs.record(trial.number, event.steps, values)
            goes_on = self._rungs.keeps_on(trial.number, event.steps)
            self._record.reach(trial, event.rung, event.steps, event.worth, values, goes_on=goes_on)
        return bool(trial.user_attrs.get("rung") != event.rung)

    def _read_news(self) -> int:
        """Take note of what earlier runs and other drivers have written, and tell those that wait for it.

        Returns how many candidates they have scored.
        """
        best, num_known = self._ledger.best, len(self._ledger.known)
        for trial in self._ledger.read_news():
            for steps, worth in trial.user_attrs.get("rung_values", []):
                if not self._rungs.has(trial.number, steps):
                    arch = self._arch_of(trial)
                    values = self._objectives.values(arch, self._problem.cost(arch), worth)
                    self._rungs.record(trial.number, steps, values)
            if was_scored(trial):
                self._tell_waiting(trial)
        self._forget_weights(best)
        return len(self._ledger.known) - num_known

    def _settle(self, trial: Trial, job: CandidateJob, event: Scored | Failed) -> str:
        arch, best = self._problem.read(trial.user_attrs["arch"]), self._ledger.best
        if not self._record.owns(trial):
            self._ledger.disown(trial.number)
            self._waiting[arch.arch_id] = self._twins.pop(arch.arch_id)
            return "another driver has taken it up"
        line = self._tell(trial, arch, event)
        settled = self._record.look_up(trial)
        self._ledger.enter(settled)
        self._tell_waiting(settled)
        self._forget_weights(best)
        self._forget_weights(settled)
        self._show_best()
        return line

    def _tell(self, trial: Trial, arch: C, event: Scored | Failed) -> str:
        """Tell the record how a trial ended, and return it in a few words."""
        if isinstance(event, Failed):
            self._record.fail(trial, event.reason, event.traceback)
            return event.reason
        cost, score = self._problem.cost(arch), event.score
        end = self._record.prune if score.stopped else self._record.complete
        end(trial, self._objectives.values(arch, cost, score.worth, score.latency_ms), score)
        line = f"{score.worth:.3f} at {cost.macs / 1e6:.2f} M macs"
        return line + (f", stopped at step {score.steps}" if score.stopped else "")

    def _tell_waiting(self, original: FrozenTrial) -> None:
        """Tell the twins of a trial that has ended what it was told."""
        arch_id = original.user_attrs["arch_id"]
        for twin in [*self._twins.pop(arch_id, []), *self._waiting.pop(arch_id, [])]:
            self._repeat(twin, self._arch_of(original), original)

    def _repeat(self, trial: Trial, arch: C, original: FrozenTrial) -> None:
        self._record.describe(trial, arch, self._problem.cost(arch), seed=self._settings.seed)
        self._record.repeat(trial, original)
        self._end(trial, "DUPLICATE")

    def _end(self, trial: Trial, state: str) -> None:
        self._ledger.enter(self._record.look_up(trial))
        self._progress.settle(trial.number, state)

    def _forget_weights(self, trial: FrozenTrial | None) -> None:
        """Delete the weights of a trial that has ended, unless it is the best."""
        best = self._ledger.best
        if trial is not None and (best is None or best.number != trial.number):
            self._checkpoint(trial.number).unlink(missing_ok=True)

    def _checkpoint(self, number: int) -> Path:
        return self._settings.folder.checkpoints / f"{self._settings.part}-trial-{number}.safetensors"

    def _show_best(self) -> None:
        best = self._ledger.best
        if best is not None:
            worth = self._problem.read_score(best.user_attrs["score"]).worth
            self._progress.best(f"{worth:.3f} at {best.user_attrs['macs'] / 1e6:.2f} M")

    def _may_begin(self) -> bool:
        """Return whether the budget of trials and steps allows another candidate."""
        limit = self._settings.max_steps
        in_time = limit is None or self._ledger.num_steps < limit
        begun = len(self._ledger.known) + len(self._twins) + len(self._ledger.archs_of_others)
        return in_time and begun < self._trials

    def _arch_of(self, trial: FrozenTrial) -> C:
        return self._problem.read(trial.user_attrs["arch"])
