"""Detectors side by side: necks, fusions and compound-scaled sizes of one detector, each trained with several seeds.

"Earlier necks summed the scales; BiFPN weighs them" is one key: ``fusion=sum,fast``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from scalesearch.arch import Cost
from scalesearch.arch.reading import read_rule
from scalesearch.arch.scaling import ScalingRule
from scalesearch.atomic import write_atomically
from scalesearch.detection.arch.cost import detector_cost
from scalesearch.detection.arch.fusion import NECKS, NeckName
from scalesearch.detection.arch.reading import save_detector
from scalesearch.detection.arch.scaling import scale_detector
from scalesearch.detection.arch.spec import FUSIONS, DetectorSpec, Fusion
from scalesearch.detection.nn.detector import build_detector
from scalesearch.detection.studies.config import DetectorConfig
from scalesearch.errors import ConfigError, StudyError
from scalesearch.scaling.members import read_phis
from scalesearch.study.latencies import read_latencies
from scalesearch.study.roster import Entry, Roster
from scalesearch.study.settings import check_at_least, check_choice
from scalesearch.study.store import write_trials

PART = "detect"
_SCORES = ("val_ap", "val_ap50", "val_ap75", "val_ap_small", "val_ap_medium", "val_ap_large", "test_ap", "test_ap50")


@dataclass(kw_only=True, slots=True)
class DetectConfig(DetectorConfig):
    """The keys of ``scalesearch detect``.

    Attributes:
        neck: ``fpn``, ``panet`` or ``bifpn``; several joined by commas are trained side by side.
        fusion: How a node of the neck weighs its inputs: ``sum`` not at all, ``softmax`` or ``fast`` (the normalised
            weights of BiFPN); several joined by commas.
        neck_channels: Of every feature map in neck and heads.
        neck_cells: Repetitions of the neck.
        head_depth: Convolutions of each head before its prediction.
        image_size: Pixels a side at which pictures are trained on and scored.
        phi: Compound exponents, one a detector, as ``0..2`` or ``0,1,2.5``; 0 is the detector itself.
        factors: Rule by which the backbone grows with phi: a file that ``scale`` wrote, or ``ALPHA,BETA,GAMMA``.
        seeds: Trainings of each detector.
        reads_test: Whether the test split is scored as well; once, for final detectors.
    """

    neck: str | None = None
    fusion: str | None = None
    neck_channels: int | None = None
    neck_cells: int | None = None
    head_depth: int | None = None
    image_size: int | None = None
    phi: Any = "0"
    factors: str | None = None
    seeds: int = 3
    reads_test: bool = False

    def __post_init__(self) -> None:
        DetectorConfig.__post_init__(self)
        check_at_least("seeds", self.seeds, 1)
        for name, allowed in (("neck", NECKS), ("fusion", FUSIONS)):
            for value in _listed(getattr(self, name)):
                check_choice(name, value, allowed)
        if any(self.phis) and self.factors is None:
            raise ConfigError(
                f"factors must be given with phi={self.phi}: the rule by which the backbone grows, a file that `scale`"
                " wrote or ALPHA,BETA,GAMMA"
            )

    @property
    def chosen(self) -> Path:
        """Where the best detector is written."""
        return self.folder.root / f"{PART}.yaml"

    @property
    def phis(self) -> list[float]:
        """The compound exponents."""
        return read_phis(self.phi)

    def plan(self, num_classes: int) -> list[Planned]:
        """Return every detector that is to be trained, each once.

        Raises:
            ArchError: The keys make no detector.
        """
        sizes = ("neck_channels", "neck_cells", "head_depth", "image_size")
        given: dict[str, Any] = {name: getattr(self, name) for name in sizes if getattr(self, name) is not None}
        base = replace(self.read_base(num_classes), **given)
        rule = None if self.factors is None else read_rule(self.factors)
        planned: dict[str, Planned] = {}
        for each in self._variants(base, rule):
            planned.setdefault(each.spec.arch_id, each)
        return list(planned.values())

    def _variants(self, base: DetectorSpec, rule: ScalingRule | None) -> Iterator[Planned]:
        necks, fusions = _listed(self.neck) or [base.neck], _listed(self.fusion) or [base.fusion]
        for neck, fusion, phi in itertools.product(necks, fusions, self.phis):
            spec = replace(base, neck=cast(NeckName, neck), fusion=cast(Fusion, fusion))
            if rule is not None:
                spec = scale_detector(spec, phi, rule)
            label = f"{neck} {fusion}" + (f" phi={phi:g}" if len(self.phis) > 1 or phi else "")
            yield Planned(label, phi, spec, detector_cost(spec).total)


@dataclass(frozen=True, slots=True)
class Planned:
    """A detector that is to be trained, by its label."""

    label: str
    phi: float
    spec: DetectorSpec
    cost: Cost


@dataclass(frozen=True, slots=True)
class DetectResult:
    """What came out.

    Attributes:
        table: A row a detector, in the order of the plan.
        classes: A row a detector and class.
        best: The detector with the highest mean AP on val.
        checkpoint: Its weights, of the first seed; None where that training failed.
    """

    table: pd.DataFrame
    classes: pd.DataFrame
    best: DetectorSpec
    checkpoint: Path | None


def run_detect(config: DetectConfig) -> DetectResult:
    """Train every detector with each seed and score it; go on where it stopped.

    Writes the record, ``config.yaml``, ``detect.csv``, ``detect-classes.csv``, ``trials.csv``, ``detect.yaml`` (the
    best one) and the checkpoints of the first seed into the study's folder. What ``detect-scale`` chose,
    ``detector.yaml``, stays as it is: it may be what this was begun with.

    Raises:
        ScalesearchError: The data or a key cannot be used, or the part was begun with something else.
    """
    with config.held():
        data = config.load_data()
        if config.reads_test and data.test is None:
            raise ConfigError("reads_test must be false: the data have no test split")
        plan = config.plan(data.num_classes)
        config.warn_of_upsampling(max(each.spec.image_size for each in plan))
        config.check_pretrained(plan[0].spec)
        record = config.open_record(
            PART, "val_ap", {**config.identity(data), **({"reads_test": True} if config.reads_test else {})}
        )
        config.save(PART)
        trials = Roster(record, _entries(config, plan), config.rules).run(config.open_executor(data))
        write_trials(config.folder, config.url)
        if not (trials.state == "COMPLETE").any():
            raise StudyError(f"study {config.study}: every training of detect failed; trials.csv has the reasons")
        specs = [each.spec for each in plan]
        latencies = read_latencies(record, specs, build=build_detector, device=config.torch_device)
        table = summarise_detectors(plan, trials, latencies)
        classes = summarise_classes(plan, trials, data.class_names)
        write_atomically(config.folder.table(PART), table.to_csv(index=False))
        write_atomically(config.folder.table(f"{PART}-classes"), classes.to_csv(index=False))
        best = plan[int(table.val_ap.to_numpy(dtype=float, na_value=-1.0).argmax())]
        save_detector(best.spec, config.chosen)
        checkpoint = _checkpoint(config, best)
        return DetectResult(table, classes, best.spec, checkpoint if checkpoint.exists() else None)


def summarise_detectors(plan: Sequence[Planned], trials: pd.DataFrame, latencies: Mapping[str, float]) -> pd.DataFrame:
    """Return a row a detector: what it is, what it costs, and its mean scores with standard errors.

    Args:
        plan: The detectors.
        trials: Of the part.
        latencies: Milliseconds by ``arch_id``.
    """
    complete = trials[trials.state == "COMPLETE"].reindex(columns=list(dict.fromkeys([*trials.columns, *_SCORES])))
    rows = []
    for each in plan:
        mine, spec = complete[complete.arch_id == each.spec.arch_id], each.spec
        row: dict[str, Any] = {
            "detector": each.label,
            "phi": each.phi,
            "image_size": spec.image_size,
            "neck_channels": spec.neck_channels,
            "neck_cells": spec.neck_cells,
            "head_depth": spec.head_depth,
            **each.cost._asdict(),
            "latency_ms": latencies[spec.arch_id],
            "train_seconds": mine.train_seconds.mean(),
        }
        for name in _SCORES:
            row |= {name: mine[name].mean(), f"{name}_se": mine[name].sem()}
        rows.append({**row, "num_seeds": len(mine), "arch_id": spec.arch_id})
    return pd.DataFrame(rows)


def summarise_classes(plan: Sequence[Planned], trials: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Return a row a detector and class: the mean AP over seeds with its standard error."""
    complete = trials[trials.state == "COMPLETE"]
    rows = []
    for each in plan:
        mine = complete[complete.arch_id == each.spec.arch_id]
        for label, name in enumerate(class_names):
            aps = pd.Series([aps[label] for aps in mine.val_ap_of_class], dtype=float)
            rows.append({"detector": each.label, "class": name, "val_ap": aps.mean(), "val_ap_se": aps.sem()})
    return pd.DataFrame(rows)


def _listed(text: str | None) -> list[str]:
    return [] if text is None else [value.strip() for value in text.split(",")]


def _entries(config: DetectConfig, plan: Sequence[Planned]) -> list[Entry]:
    """Return the trainings seed by seed, so that an early look sees every detector."""
    return [
        Entry(
            job=config.job(
                each.spec,
                config.seed + index,
                checkpoint=_checkpoint(config, each) if index == 0 else None,
                reads_test=config.reads_test,
            ),
            cost=each.cost,
            label=each.label,
            numbers={"phi": each.phi},
        )
        for index in range(config.seeds)
        for each in plan
    ]


def _checkpoint(config: DetectConfig, planned: Planned) -> Path:
    """Return the file of a detector's weights; its name is the same whatever else is trained beside it."""
    spec = planned.spec
    return config.folder.checkpoints / f"{PART}-{spec.neck}-{spec.fusion}-{spec.arch_id}.safetensors"
