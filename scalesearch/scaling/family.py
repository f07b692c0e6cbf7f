"""The family: the base network and its siblings, trained longer, each with several seeds, scored on test.

The only place where the test split is read. On request each sibling's rivals are trained beside it: at the same
realised macs the base with more depth, width or resolution alone, and fast compound scaling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from scalesearch.arch import ArchSpec
from scalesearch.arch.reading import read_rule, read_rule_base
from scalesearch.arch.scaling import ScalingRule
from scalesearch.atomic import write_atomically
from scalesearch.data import ImageData
from scalesearch.errors import ConfigError, StudyError
from scalesearch.measure.scores import Job, Sibling
from scalesearch.nn import build_network
from scalesearch.nn.growing import can_grow
from scalesearch.scaling.grid import read_base
from scalesearch.scaling.limits import Limits, largest_phi
from scalesearch.scaling.member_table import summarise_members
from scalesearch.scaling.members import Member, compound_members, read_phis, with_rivals
from scalesearch.scaling.memory import check_trainings, pass_memory_mib
from scalesearch.study.latencies import read_latencies
from scalesearch.study.roster import Entry, Roster
from scalesearch.study.settings import StudyConfig, check_at_least
from scalesearch.study.store import Record, write_trials

_LARGEST = "largest_phi"
_BASE_LABEL = "phi=0"


@dataclass(kw_only=True, slots=True)
class FamilyConfig(StudyConfig):
    """The keys of ``scalesearch family``.

    Attributes:
        base: A published name, a file or block strings; where not given, the one that the file of ``factors`` was found
            on, else the network the study's search chose.
        factors: A file that ``scale`` wrote, or ``ALPHA,BETA,GAMMA``; the study's own where not given.
        phi: Compound exponents, one a member, as ``0..4`` or ``0,1,2.5``; 0 is the base, negative ones are smaller.
        rivals: Whether each member's rivals are trained too: more depth, width or resolution alone, and dWr.
        budget: The most a member may take here; the largest phi that does is found, is the last member, and takes the
            place of larger ones.
        seeds: Trainings of each member.
        inherit: Whether a member begins with the weights of the base that was trained with its seed, as far as it is
            larger, in place of fresh ones; ``phi`` must have 0. Smaller members begin fresh.
    """

    base: str | None = None
    factors: str | None = None
    phi: Any = "0..2"
    rivals: bool = False
    budget: Limits = field(default_factory=Limits)
    seeds: int = 3
    inherit: bool = False

    def __post_init__(self) -> None:
        StudyConfig.__post_init__(self)
        check_at_least("seeds", self.seeds, 1)
        phis = read_phis(self.phi)
        if self.inherit and 0 not in phis:
            raise ConfigError(f"phi must have 0, the base, with inherit=true, got {self.phi!r}")

    def read_base(self) -> ArchSpec:
        """Return the base named, or that of the rule named, or the study's own.

        Raises:
            ScalesearchError: It cannot be read, or there is none.
        """
        rule = str(self.folder.factors) if self.factors is None and self.folder.factors.exists() else self.factors
        found = read_rule_base(rule) if self.base is None and rule is not None else None
        return read_base(self.base, self.folder) if found is None else found

    def read_rule(self) -> ScalingRule:
        """Return the rule named, or that of the study's scaling grid.

        Raises:
            ScalesearchError: They cannot be read, or the study has none.
        """
        if self.factors is not None:
            return read_rule(self.factors)
        path = self.folder.factors
        if not path.exists():
            raise StudyError(
                f"{path}: the study has no scaling factors; run `scalesearch scale` first, or give factors="
            )
        return read_rule(str(path))


@dataclass(frozen=True, slots=True)
class FamilyResult:
    """One row a member, in the order of the phis, and the trials behind it."""

    table: pd.DataFrame
    trials: pd.DataFrame


def run_family(config: FamilyConfig) -> FamilyResult:
    """Train every member with each seed and score it on the test split; go on where it stopped.

    Writes ``family.csv``, ``trials.csv`` and the checkpoints of the first seed into the study's folder.

    Raises:
        ScalesearchError: There is no base, no factors, no usable data, a member is too large for this machine's
            memory, or the family was begun with something else.
    """
    return run_members(config, "family", reads_test=True)


def run_members(config: FamilyConfig, part: str, *, reads_test: bool) -> FamilyResult:
    """Train the members of a family, or of another part that compares such networks.

    Args:
        config: The family.
        part: Of the study; its table is ``PART.csv``.
        reads_test: Whether members are scored on the test split, and their checkpoints kept.

    Raises:
        ScalesearchError: As ``run_family``.
    """
    base, rule = config.read_base(), config.read_rule()
    with config.held():
        data = config.load_data()
        record = _open_record(config, part, base, rule, data)
        members = plan_members(config, base, rule, data.num_classes, record)
        archs = [member.arch for member in members]
        config.warn_of_upsampling(max(arch.image_size for arch in archs), data)
        check_trainings(config, archs, data)
        config.save(part)
        if config.inherit:  # first, for the others begin with its weights
            bases = [member for member in members if member.arch == base]
            first = _entries(config, base, bases, part, reads_test=reads_test)
            Roster(record, first, config.rules).run(config.open_executor(data))
        entries = _entries(config, base, members, part, reads_test=reads_test)
        trials = Roster(record, entries, config.rules).run(config.open_executor(data))
        table = summarise_members(base, members, trials, data.num_classes)
        if table.val_top1.isna().all():
            raise StudyError(f"study {config.study}: every training of the {part} failed; trials.csv has the reasons")
        latencies = read_latencies(
            record, archs, build=lambda arch: build_network(arch, data.num_classes), device=config.torch_device
        )
        table["latency_ms"] = table.arch_id.map(latencies)
        table["peak_memory_mib"] = table.arch_id.map(_peak_memories(config, archs, data.num_classes))
        write_trials(config.folder, config.url)
        write_atomically(config.folder.table(part), table.to_csv(index=False))
        return FamilyResult(table, trials)


def plan_members(
    config: FamilyConfig, base: ArchSpec, rule: ScalingRule, num_classes: int, record: Record | None = None
) -> list[Member]:
    """Return what the family consists of; with a budget, the largest member is found by measuring.

    Args:
        config: The family.
        base: Its base.
        rule: Its rule.
        num_classes: Outputs of the classifier.
        record: Keeps the largest phi, so that a family that goes on has the same members whatever a latency reads now.

    Raises:
        ConfigError: Even the smallest network of the rule is over the budget.
    """
    phis = read_phis(config.phi)
    if any(map(math.isfinite, asdict(config.budget).values())):
        largest = _largest_phi(config, base, rule, num_classes, record)
        phis = [*(phi for phi in phis if phi < largest), largest]
    members = compound_members(base, rule, phis, num_classes)
    return with_rivals(base, members, num_classes) if config.rivals else members


def _open_record(config: FamilyConfig, part: str, base: ArchSpec, rule: ScalingRule, data: ImageData) -> Record:
    return config.open_record(
        part,
        "val_top1",
        {
            "base": base.to_dict(),
            "factors": asdict(rule.factors),
            "rounding": rule.rounding,
            **({"inherit": True} if config.inherit else {}),
            **config.identity(data),
        },
    )


def _largest_phi(
    config: FamilyConfig, base: ArchSpec, rule: ScalingRule, num_classes: int, record: Record | None
) -> float:
    asked = repr(config.budget)
    found: dict[str, float] = {} if record is None else record.study.user_attrs.get(_LARGEST, {})
    if asked not in found:
        solution = largest_phi(base, rule, config.budget, num_classes=num_classes, device=config.torch_device)
        found = {**found, asked: solution.phi}
        if record is not None:
            record.study.set_user_attr(_LARGEST, found)
    return found[asked]


def _peak_memories(config: FamilyConfig, archs: Sequence[ArchSpec], num_classes: int) -> dict[str, float]:
    """Return the peak of a pass of one image by ``arch_id``; unlike a latency it is the same each time, so not kept."""
    return {
        arch.arch_id: pass_memory_mib(arch, num_classes=num_classes, device=config.torch_device)
        for arch in dict.fromkeys(archs)
    }


def _entries(
    config: FamilyConfig, base: ArchSpec, members: Sequence[Member], part: str, *, reads_test: bool
) -> list[Entry]:
    return [
        Entry(
            job=Job(
                arch=member.arch,
                seed=config.seed + index,
                data=config.data,
                train=config.train,
                cache=config.folder.cache,
                device=config.torch_device,
                checkpoint=_checkpoint_to_keep(config, base, member, part, index, reads_test=reads_test),
                reads_test=reads_test,
                sibling=_sibling(config, base, member, part, index),
            ),
            cost=member.cost,
            label=member.label,
            numbers={"phi": member.phi},
        )
        for index in range(config.seeds)
        for member in members
    ]


def _checkpoint_to_keep(
    config: FamilyConfig, base: ArchSpec, member: Member, part: str, index: int, *, reads_test: bool
) -> Path | None:
    """Return where a training's weights go: the first seed's to be taken away, every base's that others begin with."""
    if config.inherit and member.arch == base:
        return _checkpoint(config, _BASE_LABEL, part, index)
    return _checkpoint(config, member.label, part, index) if reads_test and index == 0 else None


def _sibling(config: FamilyConfig, base: ArchSpec, member: Member, part: str, index: int) -> Sibling | None:
    if not config.inherit or not can_grow(base, member.arch):
        return None
    return Sibling(base, _checkpoint(config, _BASE_LABEL, part, index))


def _checkpoint(config: FamilyConfig, label: str, part: str, index: int) -> Path:
    """Return the file of a training's weights; the first seed's are the ones to take away, and named shorter."""
    name = label.replace("=", "").replace(" ", "-") + (f"-seed{config.seed + index}" if index else "")
    return config.folder.checkpoints / f"{part}-{name}.safetensors"
