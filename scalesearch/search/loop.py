"""The search for a base network: ask, gate, run, tell.

An architecture over budget is told finite worst values and a constraint and is not trained; one that was proposed
before is told its earlier values. Neither counts as a trial of the budget: what costs is training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, Trial, TrialState

from scalesearch.arch import ArchSpec, Cost, SearchSpace, network_cost
from scalesearch.arch.budget import check_reachable
from scalesearch.errors import StudyError
from scalesearch.measure.scores import Job, Score
from scalesearch.search.config import SearchConfig
from scalesearch.search.dominance import crowded_places
from scalesearch.search.knowledge import Knowledge
from scalesearch.search.objectives import Objectives
from scalesearch.search.proposing import Proposer, SamplerProposer, ShortlistProposer
from scalesearch.search.rungs import PrunerConfig, Rungs
from scalesearch.search.scoring import Scoring, open_scoring
from scalesearch.study.driver import drive
from scalesearch.study.executor import Failed, Reached, Scored
from scalesearch.study.folder import write_atomically
from scalesearch.study.progress import ProgressDisplay
from scalesearch.study.sessions import session
from scalesearch.study.store import Record, write_trials


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The chosen base network, what it is worth and costs, and its weights, where it was trained.

    ``worth`` is the search-val accuracy in [0, 1], or the proxy where a proxy is what was searched.
    """

    base: ArchSpec
    worth: float
    cost: Cost
    num_scored: int
    checkpoint: Path | None


def run_search(config: SearchConfig) -> SearchResult:
    """Search until ``config.trials`` networks are scored, or the space is exhausted; go on where a study stopped.

    With ``score.propose`` a first search by that cheap score comes before, as the part ``propose`` of the study, and
    the best of its networks are what is then scored.

    Writes the record, ``config.yaml``, ``trials.csv``, ``base.yaml`` and the base's checkpoint into the study's folder.

    Raises:
        ScalesearchError: The data, space or budget is not usable, or the study was begun with something else.
    """
    space, objectives = config.load_space(), config.load_objectives()
    with config.folder.locked():
        scoring = open_scoring(config, space, config.score.method)
        check_reachable(space, config.budget, scoring.num_classes)
        if config.score.propose == "none":
            search = _Search("search", config, space, objectives, scoring)
        else:
            shortlist = _propose_by(config, space, objectives)
            search = _Search("search", config, space, objectives, scoring, shortlist)
        config.save("search")
        search.run(config.trials)
        return search.conclude()


def _propose_by(config: SearchConfig, space: SearchSpace, objectives: Objectives) -> list[ArchSpec]:
    """Search by the cheap score and return its networks, best first."""
    scoring = open_scoring(config, space, config.score.propose)
    search = _Search("propose", config, space, objectives, scoring)
    config.save("search")
    search.run(config.score.propose_trials)
    return search.ranking()


class _Search:
    """One run of the loop: what is known, and what to propose next."""

    def __init__(
        self,
        part: str,
        config: SearchConfig,
        space: SearchSpace,
        objectives: Objectives,
        scoring: Scoring,
        shortlist: Sequence[ArchSpec] | None = None,
    ) -> None:
        self._part, self._config, self._space = part, config, space
        self._objectives, self._scoring = objectives, scoring
        self._knowledge = Knowledge(space, objectives, scoring.num_classes, scoring.lacks)
        self._proposer: Proposer = (
            SamplerProposer(config.sampler, config.seed, self._knowledge)
            if shortlist is None
            else ShortlistProposer(space, shortlist)
        )
        pruner = config.pruner if part == "search" else PrunerConfig()
        self._record = self._open_record(pruner, scoring)
        self._rungs = Rungs(pruner, max(1, scoring.num_steps), objectives.directions)
        self._read_rungs()
        self._known = {trial.user_attrs["arch_id"]: trial for trial in self._trained()}
        self._twins: dict[str, list[Trial]] = {}

    def _open_record(self, pruner: PrunerConfig, scoring: Scoring) -> Record:
        config = self._config
        return Record.open(
            config.url,
            config.study,
            self._part,
            directions=self._objectives.directions,
            metric_names=self._objectives.names,
            identity={
                "space": self._space.to_dict(),
                **self._objectives.identity(),
                **({} if pruner.method == "off" else {"pruner": asdict(pruner)}),
                **scoring.identity,
            },
        )

    def run(self, trials: int) -> None:
        """Score until as many networks are scored."""
        self._trials = trials
        self._progress = ProgressDisplay(self._part, trials, done=len(self._known))
        try:
            with session(self._record.study), self._progress:
                self._show_best()
                drive(self._jobs(), self._scoring.executor(), self._settle, self._progress, self._decide)
        finally:
            write_trials(self._config.folder, self._config.url)

    def conclude(self) -> SearchResult:
        """Choose the base network and write it."""
        best = self._best()
        if best is None:
            raise StudyError(f"study {self._config.study}: no network was scored; {self._why_none()}")
        arch = ArchSpec.from_dict(best.user_attrs["arch"])
        self._adopt_checkpoint(best)
        write_atomically(self._config.folder.base, arch.to_yaml())
        checkpoint = self._config.folder.checkpoints / "base.safetensors"
        return SearchResult(
            base=arch,
            worth=_score_of(best).worth,
            cost=network_cost(arch, num_classes=self._scoring.num_classes),
            num_scored=len(self._known),
            checkpoint=checkpoint if checkpoint.exists() else None,
        )

    def ranking(self) -> list[ArchSpec]:
        """Return every network with a score, the front first, then the fronts behind it, the least crowded first."""
        complete = self._complete()
        signs = [-1.0 if direction == "maximize" else 1.0 for direction in self._objectives.directions]
        values = [[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in complete]
        if not complete:
            return []
        ranked = sorted(zip(crowded_places(values), complete, strict=True), key=lambda one: (one[0], one[1].number))
        return [ArchSpec.from_dict(trial.user_attrs["arch"]) for _, trial in ranked]

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

    def _jobs(self) -> Iterator[tuple[Trial, Job, str]]:
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

    def _gate(self, trial: Trial) -> Iterator[tuple[Trial, Job, str]]:
        arch = self._space.suggest(trial)
        cost = self._cost(arch)
        known = self._known.get(arch.arch_id)
        excess = self._knowledge.excess(arch)
        self._record.constrain(trial, excess)
        if any(value > 0 for value in excess.values()):
            self._record.describe(trial, arch, cost, seed=self._config.seed)
            self._record.infeasible(trial, self._objectives.values(arch, cost, 0.0))
            self._progress.settle(trial.number, "INFEASIBLE")
        elif arch.arch_id in self._twins:
            self._twins[arch.arch_id].append(trial)  # told what its running twin will be told
        elif known is not None:
            self._repeat(trial, arch, cost, known)
        else:
            self._record.describe(trial, arch, cost, seed=self._config.seed)
            self._twins[arch.arch_id] = []
            yield trial, self._job(trial, arch), f"{cost.macs / 1e6:.2f} M macs"

    def _job(self, trial: Trial, arch: ArchSpec) -> Job:
        config = self._config
        return Job(
            arch=arch,
            seed=config.seed,  # one seed for all: the same images in the same order, so differences are the networks'
            data=config.data,
            train=config.train,
            score=self._scoring.score,
            cache=config.folder.cache,
            device=config.torch_device,
            checkpoint=self._checkpoint(trial.number) if self._part == "search" else None,
            rungs=self._rungs.steps(trial.number),
            latency_batch_size=config.latency_batch_size,
        )

    def _decide(self, trial: Trial, job: Job, event: Reached) -> bool:
        """Record a reading at a rung and say whether the training goes on; what a stopped driver decided stands."""
        if not self._rungs.has(trial.number, event.steps):
            values = self._objectives.values(job.arch, self._cost(job.arch), event.val_top1)
            self._rungs.record(trial.number, event.steps, values)
            goes_on = self._rungs.keeps_on(trial.number, event.steps)
            self._record.reach(trial, event.rung, event.steps, event.val_top1, values, goes_on=goes_on)
        return bool(trial.user_attrs.get("rung") != event.rung)

    def _read_rungs(self) -> None:
        """Take up the readings of earlier runs."""
        for trial in self._record.trials:
            for steps, val_top1 in trial.user_attrs.get("rung_values", []):
                arch = ArchSpec.from_dict(trial.user_attrs["arch"])
                self._rungs.record(trial.number, steps, self._objectives.values(arch, self._cost(arch), val_top1))

    def _settle(self, trial: Trial, job: Job, event: Scored | Failed) -> str:
        cost = self._cost(job.arch)
        if isinstance(event, Scored):
            score = event.score
            end = self._record.prune if score.stopped else self._record.complete
            end(trial, self._objectives.values(job.arch, cost, score.worth, score.latency_ms), score)
            line = f"{score.worth:.3f} at {cost.macs / 1e6:.2f} M macs"
            line += f", stopped at step {score.steps}" if score.stopped else ""
        else:
            self._record.fail(trial, event.reason, event.traceback)
            line = event.reason
        settled = self._record.trials[trial.number]
        self._known[job.arch.arch_id] = settled
        for twin in self._twins.pop(job.arch.arch_id):
            self._repeat(twin, job.arch, cost, settled)
        best = self._best()
        if best is not None and best.number == trial.number:
            self._adopt_checkpoint(best)
        self._checkpoint(trial.number).unlink(missing_ok=True)
        self._show_best()
        return line

    def _repeat(self, trial: Trial, arch: ArchSpec, cost: Cost, original: FrozenTrial) -> None:
        self._record.describe(trial, arch, cost, seed=self._config.seed)
        self._record.repeat(trial, original)
        self._progress.settle(trial.number, "DUPLICATE")

    def _checkpoint(self, number: int) -> Path:
        return self._config.folder.checkpoints / f"trial-{number}.safetensors"

    def _adopt_checkpoint(self, best: FrozenTrial) -> None:
        """Make the best trial's weights the base's; done again at the end, for a driver killed in between."""
        if self._checkpoint(best.number).exists():
            self._checkpoint(best.number).replace(self._config.folder.checkpoints / "base.safetensors")

    def _show_best(self) -> None:
        best = self._best()
        if best is not None:
            self._progress.best(f"{_score_of(best).worth:.3f} at {best.user_attrs['macs'] / 1e6:.2f} M")

    def _best(self) -> FrozenTrial | None:
        """Return the trial with the highest accuracy (or reward) within the budget; the cheaper of equals."""
        return max(self._complete(), key=lambda trial: (trial.values[0], -trial.user_attrs["macs"]), default=None)

    def _complete(self) -> list[FrozenTrial]:
        return [trial for trial in self._known.values() if trial.state == TrialState.COMPLETE]

    def _trained(self) -> list[FrozenTrial]:
        """Return the trials whose scoring ended: well, at a rung or badly."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return [trial for trial in self._record.trials if trial.state in ended and "state" not in trial.user_attrs]

    def _cost(self, arch: ArchSpec) -> Cost:
        return network_cost(arch, num_classes=self._scoring.num_classes)

    def _may_begin(self) -> bool:
        """Return whether the budget of trials and steps allows another candidate."""
        steps, limit = self._num_steps(), self._config.max_steps
        in_time = self._part != "search" or limit is None or steps < limit
        return in_time and len(self._known) + len(self._twins) < self._trials

    def _num_steps(self) -> int:
        """Return the training steps of all candidates that have ended with a score."""
        return sum(trial.user_attrs["score"]["steps"] for trial in self._known.values() if "score" in trial.user_attrs)


def _score_of(trial: FrozenTrial) -> Score:
    return Score(**trial.user_attrs["score"])
