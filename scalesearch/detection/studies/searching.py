"""The search over a detector's neck, heads and image size: the engine of the base network's search, on detectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalesearch.arch import Cost
from scalesearch.arch.budget import Budget
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.arch.reading import save_detector
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.data import BoxData
from scalesearch.detection.studies.config import DetectorConfig
from scalesearch.detection.studies.job import DetectorJob, DetectorScore
from scalesearch.detection.studies.latencies import load_latencies
from scalesearch.detection.studies.space import DetectorSpace, check_reachable, read_choices
from scalesearch.errors import ConfigError
from scalesearch.search.loop import LoopSettings, SearchLoop
from scalesearch.search.objectives import COSTS, Objectives
from scalesearch.search.rungs import PrunerConfig
from scalesearch.search.samplers import SAMPLERS
from scalesearch.study.executors import Executor
from scalesearch.study.progress import StepsDisplay
from scalesearch.study.settings import check_at_least, check_choice

PART = "detect-scale"
_FIELDS = ("neck_channels", "neck_cells", "head_depth", "image_size")


@dataclass(kw_only=True, slots=True)
class DetectScaleConfig(DetectorConfig):
    """The keys of ``scalesearch detect-scale``.

    Attributes:
        neck_channels: Choices for the channels of every feature map in neck and heads, as ``32,48,64``.
        neck_cells: Choices for the repetitions of the neck.
        head_depth: Choices for the convolutions of each head before its prediction.
        image_size: Choices for the pixels a side.
        trials: Detectors to score in all, earlier runs of the same study and those stopped at a rung included.
        sampler: ``predictor`` (a model of AP proposes), ``random``, ``tpe``, ``nsga2`` or ``gp``.
        cost: What the frontier of AP is drawn against, and minimised: ``macs``, ``params`` or ``latency``.
        budget: The most a detector may cost.
        max_latency_ms: The most a pass of one image on one thread may take, known from its parts, which are measured
            on this machine before the search.
        pruner: Which detectors are stopped before their training ends.
    """

    neck_channels: Any = "24,32,48,64"
    neck_cells: Any = "1,2,3"
    head_depth: Any = "1,2,3"
    image_size: Any = "96,128,160"
    trials: int = 24
    sampler: str = "predictor"
    cost: str = "macs"
    budget: Budget = field(default_factory=Budget)
    max_latency_ms: float = math.inf
    pruner: PrunerConfig = field(default_factory=PrunerConfig)

    def __post_init__(self) -> None:
        DetectorConfig.__post_init__(self)
        check_at_least("trials", self.trials, 1)
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("cost", self.cost, COSTS)
        if not self.max_latency_ms > 0:
            raise ConfigError(f"max_latency_ms must be above 0, got {self.max_latency_ms}")
        for name in _FIELDS:
            read_choices(name, getattr(self, name))

    def read_space(self, num_classes: int) -> DetectorSpace:
        """Return the detectors that may be proposed.

        Raises:
            ScalesearchError: A key makes no detector.
        """
        choices = {name: read_choices(name, getattr(self, name)) for name in _FIELDS}
        return DetectorSpace(self.read_base(num_classes), choices)

    @property
    def needs_latencies(self) -> bool:
        """Say whether latencies must be known before a detector is trained."""
        return self.cost == "latency" or math.isfinite(self.max_latency_ms)


@dataclass(frozen=True, slots=True)
class DetectScaleResult:
    """The detector with the highest AP within the budget, its score and cost, and its weights."""

    best: DetectorSpec
    score: DetectorScore
    cost: Cost
    num_scored: int
    checkpoint: Path | None


def run_detect_scale(config: DetectScaleConfig) -> DetectScaleResult:
    """Search until ``config.trials`` detectors are scored, or all of them are; go on where a study stopped.

    Writes the record, ``config.yaml``, ``trials.csv``, ``detector.yaml`` and ``checkpoints/detector.safetensors`` into
    the study's folder, and ``detector-latencies.json`` where latencies were measured.

    Raises:
        ScalesearchError: The data, a choice or the budget cannot be used, or the study was begun with something else.
    """
    with config.held():
        data = config.load_data()
        space = config.read_space(data.num_classes)
        check_reachable(space, config.budget)
        config.warn_of_upsampling(max(spec.image_size for spec in space.detectors()))
        config.check_pretrained(next(space.detectors()))
        problem = DetectorProblem(config, space, _open_objectives(config, space), data)
        settings = LoopSettings(
            part=PART,
            folder=config.folder,
            url=config.url,
            seed=config.seed,
            sampler=config.sampler,
            pruner=config.pruner,
            driver_timeout=config.driver_timeout,
            rules=config.rules,
            keeps="detector",
            tracked=config.tracked(PART),
        )
        loop = SearchLoop(settings, problem)
        config.save(PART)
        loop.run(config.trials)
        chosen = loop.conclude()
        save_detector(chosen.arch, config.folder.detector)
        assert isinstance(chosen.score, DetectorScore)
        return DetectScaleResult(chosen.arch, chosen.score, chosen.cost, chosen.num_scored, chosen.checkpoint)


class DetectorProblem:
    """Neck, heads and image size of a detector as a problem for the engine.

    Args:
        config: How it is searched.
        space: Where.
        objectives: For what.
        data: The pictures.
    """

    def __init__(self, config: DetectScaleConfig, space: DetectorSpace, objectives: Objectives, data: BoxData) -> None:
        self._config, self._data = config, data
        self.space, self.objectives = space, objectives
        self.num_steps = config.train.num_steps(len(data.train))
        self.identity: Mapping[str, Any] = {"space": space.to_dict(), **config.identity(data)}

    def cost(self, arch: DetectorSpec) -> Cost:
        """Return what a detector costs."""
        return detector_cost(arch).total

    def lacks(self, arch: DetectorSpec) -> bool:
        """Say that every detector can be scored."""
        return False

    def job(self, arch: DetectorSpec, checkpoint: Path, rungs: tuple[int, ...]) -> DetectorJob:
        """Return what scores a detector; one seed for all, so that differences are the detectors'."""
        return self._config.job(arch, self._config.seed, checkpoint=checkpoint, rungs=rungs)

    def executor(self) -> Executor:
        """Return what runs the jobs."""
        return self._config.open_executor(self._data)

    def read(self, values: Mapping[str, Any]) -> DetectorSpec:
        """Return the detector whose ``to_dict`` the record kept."""
        return DetectorSpec.from_dict(values)

    def read_score(self, values: Mapping[str, Any]) -> DetectorScore:
        """Return the score whose ``to_dict`` the record kept."""
        return DetectorScore(**{**values, "val_ap_of_class": tuple(values.get("val_ap_of_class", ()))})


def _open_objectives(config: DetectScaleConfig, space: DetectorSpace) -> Objectives:
    latencies = None
    if config.needs_latencies:
        with StepsDisplay() as display:
            latencies = load_latencies(
                config.folder.root / "detector-latencies.json",
                space,
                device=config.torch_device,
                on_measured=lambda done, total: display("latencies", done, total),
            )
    return Objectives(
        kind="front",
        cost=config.cost,
        budget=config.budget,
        max_latency_ms=config.max_latency_ms,
        latency_table=latencies,
        worth_name="val_ap",
    )
