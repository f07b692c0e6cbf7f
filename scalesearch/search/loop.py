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
from scalesearch.search.problem import C, Problem
from scalesearch.search.proposing import Proposer, SamplerProposer, ShortlistProposer
from scalesearch.search.rungs import PrunerConfig, Rungs
from scalesearch.study.driver import JobRules, drive
from scalesearch.study.executors import Failed, Reached, Scored
from scalesearch.study.folder import StudyFolder
from scalesearch.study.jobs import CandidateJob, CandidateScore
from scalesearch.study.progress import ProgressDisplay
from scalesearch.study.sessions import session
from scalesearch.study.store import Record, write_trials


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
        rules: For every candidate that runs.
        keeps: Name of the checkpoint of the best candidate; empty to keep no weights.
    """

    part: str
    folder: StudyFolder
    url: str
    seed: int
    sampler: str
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    max_steps: int | None = None
    rules: JobRules = field(default_factory=JobRules)
    keeps: str = ""


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
        self._read_rungs()
        self._known = {trial.user_attrs["arch_id"]: trial for trial in self._trained()}
        self._twins: dict[str, list[Trial]] = {}

    def _open_record(self) -> Record:
        settings = self._settings
        return Record.open(
            settings.url,
            settings.folder.name,
            settings.part,
            directions=self._objectives.directions,
            metric_names=self._objectives.names,
            identity={
                **self._objectives.identity(),
                **({} if settings.pruner.method == "off" else {"pruner": asdict(settings.pruner)}),
                **self._problem.identity,
            },
        )

    def run(self, trials: int) -> None:
        """Score until as many candidates are scored, or there is nothing left to propose."""
        self._trials = trials
        self._progress = ProgressDisplay(self._settings.part, trials, done=len(self._known))
        try:
            with session(self._record.study), self._progress:
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
            write_trials(self._settings.folder, self._settings.url)

    def conclude(self) -> Chosen[C]:
        """Choose the best candidate, and put its weights in their place.

        Raises:
            StudyError: None was scored; the sentence says why.
        """
        best = self._best()
        if best is None:
            raise StudyError(f"study {self._settings.folder.name}: nothing was scored; {self._why_none()}")
        arch = self._arch_of(best)
        self._adopt_checkpoint(best)
        kept = self._kept_checkpoint()
        return Chosen(
            arch=arch,
            score=self._problem.read_score(best.user_attrs["score"]),
            cost=self._problem.cost(arch),
            num_scored=len(self._known),
            checkpoint=kept if kept is not None and kept.exists() else None,
        )

    def ranking(self) -> list[C]:
        """Return every candidate with a score, the front first, then the fronts behind it, the least crowded first."""
        complete = self._complete()
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

    def _jobs(self) -> Iterator[tuple[Trial, CandidateJob, str]]:
        """Yield what to score; settle on the way what needs no scoring."""
        for unfinished in self._record.unfinished():
            self._proposer.prepare(self._record, unfinished.number)
            yield from self._gate(self._record.take_up(unfinished))
        free = 0
        while self._may_begin() and free < self._proposer.patience:
            trial = self._proposer.propose(self._record)
            if trial is None:
                return self._progress.note("the shortlist is worked off")
            jobs = list(self._gate(trial))
            free = 0 if jobs else free + 1
            yield from jobs
        if free >= self._proposer.patience:
            self._progress.note(f"space exhausted: {free} proposals in a row were over a limit or known")

    def _gate(self, trial: Trial) -> Iterator[tuple[Trial, CandidateJob, str]]:
        arch = self._problem.space.suggest(trial)
        cost = self._problem.cost(arch)
        known = self._known.get(arch.arch_id)
        excess = self._knowledge.excess(arch)
        self._record.constrain(trial, excess)
        if any(value > 0 for value in excess.values()):
            self._record.describe(trial, arch, cost, seed=self._settings.seed)
            self._record.infeasible(trial, self._objectives.values(arch, cost, 0.0))
            self._progress.settle(trial.number, "INFEASIBLE")
        elif arch.arch_id in self._twins:
            self._twins[arch.arch_id].append(trial)  # told what its running twin will be told
        elif known is not None:
            self._repeat(trial, arch, cost, known)
        else:
            self._record.describe(trial, arch, cost, seed=self._settings.seed)
            self._twins[arch.arch_id] = []
            yield trial, self._job(trial, arch), f"{cost.macs / 1e6:.2f} M macs"

    def _job(self, trial: Trial, arch: C) -> CandidateJob:
        return self._problem.job(arch, self._checkpoint(trial.number), self._rungs.steps(trial.number))

    def _decide(self, trial: Trial, job: CandidateJob, event: Reached) -> bool:
        """Record a reading at a rung and say whether the training goes on; what a stopped driver decided stands."""
        if not self._rungs.has(trial.number, event.steps):
            arch = self._problem.read(trial.user_attrs["arch"])
            values = self._objectives.values(arch, self._problem.cost(arch), event.worth)
            self._rungs.record(trial.number, event.steps, values)
            goes_on = self._rungs.keeps_on(trial.number, event.steps)
            self._record.reach(trial, event.rung, event.steps, event.worth, values, goes_on=goes_on)
        return bool(trial.user_attrs.get("rung") != event.rung)

    def _read_rungs(self) -> None:
        """Take up the readings of earlier runs."""
        for trial in self._record.trials:
            for steps, worth in trial.user_attrs.get("rung_values", []):
                arch = self._arch_of(trial)
                values = self._objectives.values(arch, self._problem.cost(arch), worth)
                self._rungs.record(trial.number, steps, values)

    def _settle(self, trial: Trial, job: CandidateJob, event: Scored | Failed) -> str:
        arch = self._problem.read(trial.user_attrs["arch"])
        cost = self._problem.cost(arch)
        if isinstance(event, Scored):
            score = event.score
            end = self._record.prune if score.stopped else self._record.complete
            end(trial, self._objectives.values(arch, cost, score.worth, score.latency_ms), score)
            line = f"{score.worth:.3f} at {cost.macs / 1e6:.2f} M macs"
            line += f", stopped at step {score.steps}" if score.stopped else ""
        else:
            self._record.fail(trial, event.reason, event.traceback)
            line = event.reason
        settled = self._record.trials[trial.number]
        self._known[arch.arch_id] = settled
        for twin in self._twins.pop(arch.arch_id):
            self._repeat(twin, arch, cost, settled)
        best = self._best()
        if best is not None and best.number == trial.number:
            self._adopt_checkpoint(best)
        self._checkpoint(trial.number).unlink(missing_ok=True)
        self._show_best()
        return line

    def _repeat(self, trial: Trial, arch: C, cost: Cost, original: FrozenTrial) -> None:
        self._record.describe(trial, arch, cost, seed=self._settings.seed)
        self._record.repeat(trial, original)
        self._progress.settle(trial.number, "DUPLICATE")

    def _checkpoint(self, number: int) -> Path:
        return self._settings.folder.checkpoints / f"{self._settings.part}-trial-{number}.safetensors"

    def _kept_checkpoint(self) -> Path | None:
        keeps = self._settings.keeps
        return self._settings.folder.checkpoints / f"{keeps}.safetensors" if keeps else None

    def _adopt_checkpoint(self, best: FrozenTrial) -> None:
        """Put the best trial's weights in their place; done again at the end, for a driver killed in between."""
        kept, own = self._kept_checkpoint(), self._checkpoint(best.number)
        if kept is not None and own.exists():
            own.replace(kept)

    def _show_best(self) -> None:
        best = self._best()
        if best is not None:
            worth = self._problem.read_score(best.user_attrs["score"]).worth
            self._progress.best(f"{worth:.3f} at {best.user_attrs['macs'] / 1e6:.2f} M")

    def _best(self) -> FrozenTrial | None:
        """Return the trial with the highest accuracy (or reward) within the budget; the cheaper of equals."""
        return max(self._complete(), key=lambda trial: (trial.values[0], -trial.user_attrs["macs"]), default=None)

    def _complete(self) -> list[FrozenTrial]:
        return [trial for trial in self._known.values() if trial.state == TrialState.COMPLETE]

    def _trained(self) -> list[FrozenTrial]:
        """Return the trials whose scoring ended: well, at a rung or badly."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return [trial for trial in self._record.trials if trial.state in ended and "state" not in trial.user_attrs]

    def _may_begin(self) -> bool:
        """Return whether the budget of trials and steps allows another candidate."""
        steps, limit = self._num_steps(), self._settings.max_steps
        in_time = limit is None or steps < limit
        return in_time and len(self._known) + len(self._twins) < self._trials

    def _num_steps(self) -> int:
        """Return the training steps of all candidates that have ended with a score."""
        return sum(trial.user_attrs["score"]["steps"] for trial in self._known.values() if "score" in trial.user_attrs)

    def _arch_of(self, trial: FrozenTrial) -> C:
        return self._problem.read(trial.user_attrs["arch"])
