"""The grid search of alpha, beta and gamma: candidates trained seed by seed, the hopeless dropped, one chosen.

Tan & Le 2019 (arXiv 1905.11946, section 3.3) fix phi = 1, suppose twice the compute, and search a small grid.
``candidates.py`` says which grid, and which of its points are candidates; ``racing.py`` who is trained with one more
seed; ``evidence.py`` what the trainings say, ``verdict.py`` in a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

import pandas as pd
import yaml

from scalesearch.arch import ArchSpec, ScalingFactors
from scalesearch.arch.reading import read_arch
from scalesearch.arch.scaling import DEPTH_ROUNDINGS, DepthRounding
from scalesearch.atomic import write_atomically
from scalesearch.data import ImageData
from scalesearch.errors import ConfigError, StudyError
from scalesearch.measure.scores import Job
from scalesearch.nn import build_network
from scalesearch.scaling.candidates import CONSTRAINTS, ScalingCandidate, ScalingGrid, scaling_grid
from scalesearch.scaling.doublings import cost_doublings
from scalesearch.scaling.evidence import CHOICES, Evidence, score_table, weigh
from scalesearch.scaling.limits import Limits, within_memory
from scalesearch.scaling.memory import check_trainings
from scalesearch.scaling.racing import choose_subset, survivors
from scalesearch.scaling.verdict import Verdict
from scalesearch.study.folder import StudyFolder
from scalesearch.study.latencies import read_latencies
from scalesearch.study.roster import Entry, Roster
from scalesearch.study.settings import StudyConfig, check_at_least, check_choice
from scalesearch.study.store import Record, write_trials

_SMALLEST_STEP = 0.01  # a million points


@dataclass(kw_only=True, slots=True)
class ScaleConfig(StudyConfig):
    """The keys of ``scalesearch scale``.

    Attributes:
        base: A published name, a file or block strings; the network the study's search chose where not given.
        target: Times the base's macs that a candidate should cost.
        step: Of the grid over [1, 2] of each factor.
        tolerance: Share by which a candidate may miss the target.
        constraint: ``realised``: the candidate's own macs meet the target; ``formula``:
            ``alpha * beta^2 * gamma^2`` does, as in the paper.
        rounding: Of scaled depths: ``ceil`` as the published networks, ``round`` or ``floor``.
        seeds: Trainings of each candidate; seeds and image order are the same for all.
        candidates: Train at most so many, those that together tell most about the response surface; all where not
            given.
        keep: Share of the candidates that is trained with one more seed at most, after each seed; 1 drops only those
            that a test tells from the best.
        level: Confidence with which the test may drop, over the whole race.
        choose: ``surface`` takes the candidate that is most probably within a step of the maximum of the response
            surface through all trainings; ``mean`` the best mean.
        budget: The most a candidate may take here.
        plan: Print the candidates and what training them would cost, and train nothing.
    """

    base: str | None = None
    target: float = 2.0
    step: float = 0.05
    tolerance: float = 0.05
    constraint: str = "realised"
    rounding: str = "ceil"
    seeds: int = 2
    candidates: int | None = None
    keep: float = 1.0
    level: float = 0.95
    choose: str = "surface"
    budget: Limits = field(default_factory=Limits)
    plan: bool = False

    def __post_init__(self) -> None:
        StudyConfig.__post_init__(self)
        check_choice("constraint", self.constraint, CONSTRAINTS)
        check_choice("rounding", self.rounding, DEPTH_ROUNDINGS)
        check_choice("choose", self.choose, CHOICES)
        check_at_least("seeds", self.seeds, 1)
        check_at_least("tolerance", self.tolerance, 0)
        if self.candidates is not None:
            check_at_least("candidates", self.candidates, 1)
        if not self.target > 1:
            raise ConfigError(f"target must be above 1, got {self.target}")
        if not _SMALLEST_STEP <= self.step <= 1:
            raise ConfigError(f"step must be in [{_SMALLEST_STEP}, 1], got {self.step}")
        for name in ("keep", "level"):
            value = getattr(self, name)
            if not (0 < value <= 1 if name == "keep" else 0 < value < 1):
                raise ConfigError(
                    f"{name} must be above 0 and {'at most' if name == 'keep' else 'below'} 1, got {value}"
                )


@dataclass(frozen=True, slots=True)
class ScalingResult:
    """What the grid would take and why, all candidates as a table, and the trials behind it."""

    base: ArchSpec
    num_classes: int
    grid: ScalingGrid
    evidence: Evidence
    verdict: Verdict
    trials: pd.DataFrame

    @property
    def factors(self) -> ScalingFactors:
        """The factors the grid would take."""
        return self.evidence.chosen.factors

    @property
    def table(self) -> pd.DataFrame:
        """A row a candidate, as ``weigh`` gives it."""
        return self.evidence.table


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """The candidates of a grid, and what training them would cost.

    Attributes:
        grid: All that meet the target.
        candidates: Those that would be trained.
        trainings: Of candidates and seeds, if none is dropped early.
        steps: Optimiser steps of each.
        training_macs: Multiply-adds of all trainings, a backward pass counted as two forward passes.
    """

    grid: ScalingGrid
    candidates: list[ScalingCandidate]
    trainings: int
    steps: int
    training_macs: float


def plan_scaling_grid(config: ScaleConfig) -> ScalingPlan:
    """Return what ``run_scaling_grid`` would train, and its cost; a latency limit is not applied, for it is measured.

    Raises:
        ScalesearchError: There is no base, no candidate, no usable data, or a candidate is too large for this
            machine's memory.
    """
    base, data = read_base(config.base, config.folder), config.load_data()
    grid, candidates = _choose_candidates(config, base, data)
    config.warn_of_upsampling(max(candidate.arch.image_size for candidate in candidates), data)
    steps = config.train.num_steps(len(data.train))
    images = steps * min(config.train.batch_size, len(data.train)) * config.seeds
    return ScalingPlan(
        grid=grid,
        candidates=candidates,
        trainings=len(candidates) * config.seeds,
        steps=steps,
        training_macs=3.0 * images * sum(candidate.cost.macs for candidate in candidates),
    )


def run_scaling_grid(config: ScaleConfig) -> ScalingResult:
    """Train the distinct feasible candidates seed by seed, drop the hopeless, and choose; go on where it stopped.

    Writes ``scaling.csv``, ``trials.csv`` and ``factors.yaml`` into the study's folder.

    Raises:
        ScalesearchError: There is no base, no candidate, no usable data, a candidate is too large for this machine's
            memory, or the grid was begun with something else.
    """
    base = read_base(config.base, config.folder)
    with config.held():
        data = config.load_data()
        grid, candidates = _choose_candidates(config, base, data)
        record = _open_record(config, base, data)
        candidates = _within_latency(config, record, candidates, data.num_classes)
        config.warn_of_upsampling(max(candidate.arch.image_size for candidate in candidates), data)
        config.save("scale")
        trials = _race(config, record, candidates, data)
        evidence = weigh(
            base,
            candidates,
            trials,
            target=config.target,
            step=config.step,
            rounding=_rounding(config),
            num_classes=data.num_classes,
            choose=config.choose,
        )
        write_trials(config.folder, config.url)
        write_atomically(config.folder.table("scaling"), evidence.table.to_csv(index=False))
        verdict = Verdict.of(evidence, config.target)
        write_atomically(config.folder.factors, _factors_file(config, base, verdict))
        return ScalingResult(base, data.num_classes, grid, evidence, verdict, trials)


def read_base(text: str | None, folder: StudyFolder) -> ArchSpec:
    """Return the base network: the one named, or the one the study's search chose.

    Raises:
        ScalesearchError: It cannot be read, or the study has none.
    """
    if text is not None:
        return read_arch(text)
    if not folder.base.exists():
        raise StudyError(f"{folder.base}: the study has no base network; run `scalesearch search` first, or give base=")
    return ArchSpec.load(folder.base)


def _choose_candidates(
    config: ScaleConfig, base: ArchSpec, data: ImageData
) -> tuple[ScalingGrid, list[ScalingCandidate]]:
    """Return the grid, and those of its candidates that the budget allows and ``candidates`` asks for.

    Raises:
        ScalesearchError: There are none, or training one of them takes more memory than there is.
    """
    num_classes = data.num_classes
    grid = scaling_grid(
        base,
        target=config.target,
        step=config.step,
        tolerance=config.tolerance,
        constraint=config.constraint,
        rounding=_rounding(config),
        num_classes=num_classes,
        budget=config.budget.budget,
    )
    candidates = grid.candidates
    if math.isfinite(config.budget.peak_memory_mib):
        fits = within_memory([c.arch for c in candidates], config.budget, num_classes=num_classes)
        candidates = [candidate for candidate, fit in zip(candidates, fits, strict=True) if fit]
    if config.candidates is not None and config.candidates < len(candidates):
        features = cost_doublings(base, [c.factors for c in candidates], _rounding(config), num_classes)
        candidates = [candidates[index] for index in choose_subset(features, config.candidates)]
    check_trainings(config, [candidate.arch for candidate in candidates], data)
    return grid, candidates


def _within_latency(
    config: ScaleConfig, record: Record, candidates: list[ScalingCandidate], num_classes: int
) -> list[ScalingCandidate]:
    limit = config.budget.latency_ms
    if not math.isfinite(limit):
        return candidates
    archs = [candidate.arch for candidate in candidates]
    read = read_latencies(
        record, archs, build=lambda arch: build_network(arch, num_classes), device=config.torch_device
    )
    within = [candidate for candidate in candidates if read[candidate.arch.arch_id] <= limit]
    if not within:
        raise StudyError(
            f"budget.latency_ms must be at least {min(read.values()):.3g}, the fastest of the grid's {len(archs)}"
            f" candidates; got {limit:g}"
        )
    return within


def _race(config: ScaleConfig, record: Record, candidates: Sequence[ScalingCandidate], data: ImageData) -> pd.DataFrame:
    """Train seed by seed those still in the race; what a run that is gone on with has dropped, it drops again."""
    racing, entries, trials = list(candidates), list[Entry](), pd.DataFrame()
    by_id = {candidate.arch.arch_id: candidate for candidate in candidates}
    for index in range(config.seeds):
        entries += [_entry(config, candidate, config.seed + index) for candidate in racing]
        trials = Roster(record, entries, config.rules).run(config.open_executor(data))
        scores = score_table(trials, list(by_id))
        seeds = range(config.seed, config.seed + index + 1)
        scores = scores.reindex(columns=list(seeds))  # a study that is gone on with has later seeds too
        if scores.notna().to_numpy().any():
            kept = {str(name) for name in survivors(scores, config.keep, config.level)}
            racing = [candidate for candidate in candidates if candidate.arch.arch_id in kept]
    return trials


def _entry(config: ScaleConfig, candidate: ScalingCandidate, seed: int) -> Entry:
    return Entry(
        job=Job(
            arch=candidate.arch,
            seed=seed,
            data=config.data,
            train=config.train,
            cache=config.folder.cache,
            device=config.torch_device,
        ),
        cost=candidate.cost,
        label=str(candidate.factors),
        numbers={
            **asdict(candidate.factors),
            "product": candidate.factors.product,
            "realised_ratio": candidate.realised_ratio,
        },
    )


def _open_record(config: ScaleConfig, base: ArchSpec, data: ImageData) -> Record:
    names = ("target", "step", "tolerance", "constraint", "rounding")
    grid = {name: getattr(config, name) for name in names}
    return config.open_record("scale", "val_top1", {"base": base.to_dict(), "grid": grid, **config.identity(data)})


def _rounding(config: ScaleConfig) -> DepthRounding:
    return cast(DepthRounding, config.rounding)  # checked on construction


def _factors_file(config: ScaleConfig, base: ArchSpec, verdict: Verdict) -> str:
    content = {
        **asdict(verdict.chosen.factors),
        "rounding": config.rounding,
        "base_arch_id": base.arch_id,
        "base": base.to_dict(),
        "evidence": verdict.to_dict(),
    }
    return yaml.safe_dump(content, sort_keys=False)
