"""The networks of a family: the base at each phi, and at the same macs what scales it otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.arch import ArchSpec, Cost, network_cost, scale_arch
from scalesearch.arch.scaling import ScalingRule
from scalesearch.errors import ConfigError
from scalesearch.scaling.rivals import rival_archs

COMPOUND = "compound"

_LARGEST_PHI = 10  # ten doublings: a typing mistake
_NUMBER = r"-?\d+(?:\.\d+)?"


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a family.

    Attributes:
        strategy: ``compound``, or which dimension grows: ``depth``, ``width``, ``resolution``, ``dWr``.
        phi: The compound exponent; of a rival, that of the member whose macs it was brought near to.
        depth_mult: Of the base's blocks, before rounding.
        width_mult: Of its channels, before rounding.
        resolution_mult: Of its image size, before rounding.
        arch: The network.
        cost: Of one image.
    """

    strategy: str
    phi: float
    depth_mult: float
    width_mult: float
    resolution_mult: float
    arch: ArchSpec
    cost: Cost

    @property
    def label(self) -> str:
        """By which a reader knows it."""
        return f"phi={self.phi:g}" if self.strategy == COMPOUND else f"phi={self.phi:g} {self.strategy}"

    @property
    def product(self) -> float:
        """How the macs would grow over the base's if nothing were rounded."""
        return self.depth_mult * self.width_mult**2 * self.resolution_mult**2


def read_phis(text: object) -> list[float]:
    """Return the exponents that a person asked for: ``0..4``, ``0,1,2.5``, a number or a list of numbers.

    Raises:
        ConfigError: It is none of these, or an exponent is beyond 10.

    Example:
        >>> read_phis("-1..2"), read_phis("0..1,2.5")
        ([-1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.5])
    """
    parts = [part.strip() for part in text.split(",")] if isinstance(text, str) else _listed(text)
    read = [_read_part(str(part)) for part in parts]
    phis = [phi for some in read for phi in some]
    if not all(read) or not phis or not all(abs(phi) <= _LARGEST_PHI for phi in phis):
        raise ConfigError(
            f"phi must be exponents in [-{_LARGEST_PHI}, {_LARGEST_PHI}], as 0..4 or 0,1,2.5; got {text!r}"
        )
    return list(dict.fromkeys(phis))


def compound_members(base: ArchSpec, rule: ScalingRule, phis: Sequence[float], num_classes: int) -> list[Member]:
    """Return the base scaled by the rule, one member a phi, in their order."""
    members = []
    for phi in phis:
        arch = scale_arch(base, rule.factors, phi, rounding=rule.rounding)
        depth, width, resolution = (rule.factors.alpha**phi, rule.factors.beta**phi, rule.factors.gamma**phi)
        cost = network_cost(arch, num_classes=num_classes)
        members.append(Member(COMPOUND, phi, depth, width, resolution, arch, cost))
    return members


def with_rivals(base: ArchSpec, members: Sequence[Member], num_classes: int) -> list[Member]:
    """Return the members, each but the base followed by its rivals at the same macs.

    A rival that rounds to the base, since a single dimension has no network in between, is left out: it would be
    compared at another cost.
    """
    family = []
    for member in members:
        family.append(member)
        if member.arch != base:
            for strategy, rival in rival_archs(base, member.cost.macs, num_classes=num_classes).items():
                multipliers = (rival.depth_mult, rival.width_mult, rival.resolution_mult)
                if rival.arch != base:
                    family.append(Member(strategy, member.phi, *multipliers, rival.arch, rival.cost))
    return family


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, Sequence) else [value]


def _read_part(part: str) -> list[float]:
    """Return the exponents of a number or a range, none where it is neither or runs backwards."""
    if re.fullmatch(_NUMBER, part):
        return [float(part)]
    ends = re.fullmatch(rf"({_NUMBER})\.\.({_NUMBER})", part)
    if ends is None:
        return []
    first, last = float(ends[1]), float(ends[2])
    return [first + index for index in range(int(last - first) + 1)]
