"""What factors say they cost and what they do cost, computed on EfficientNet-B0."""

from __future__ import annotations

from typing import get_args

from computed.tables import write_table
from scalesearch import ArchSpec, ScalingFactors, network_cost, published_arch, scale_arch
from scalesearch.arch.scaling import DepthRounding
from scalesearch.scaling import scaling_grid

B0 = published_arch("efficientnet-b0")
PAPER = ScalingFactors(alpha=1.2, beta=1.1, gamma=1.15)
ROUNDINGS: tuple[DepthRounding, ...] = get_args(DepthRounding)
ONE_AT_A_TIME = {
    "depth alone, alpha = 1.2": ScalingFactors(PAPER.alpha, 1, 1),
    "width alone, beta = 1.1": ScalingFactors(1, PAPER.beta, 1),
    "resolution alone, gamma = 1.15": ScalingFactors(1, 1, PAPER.gamma),
    "all three": PAPER,
}


def describe_roundings() -> str:
    """Return what EfficientNet's factors make of B0 by each way to round depth, at phi = 1 and 2."""
    rows = []
    for phi in (1, 2):
        for rounding in ROUNDINGS:
            scaled = scale_arch(B0, PAPER, phi=phi, rounding=rounding)
            rows.append(
                [
                    str(phi),
                    f"`{rounding}`",
                    str(sum(stage.num_blocks for stage in scaled.stages)),
                    f"{scaled.image_size} px",
                    f"{_macs(scaled):,}",
                    f"{PAPER.product**phi:.2f}",
                    f"**{_macs(scaled) / _macs(B0):.2f}**",
                ]
            )
    return write_table(["phi", "rounding", "blocks", "image", "macs", "the formula", "realised"], rows)


def describe_factors() -> str:
    """Return what each of EfficientNet's factors does to B0's macs alone, and what the formula has for it."""
    rows = []
    for name, factors in ONE_AT_A_TIME.items():
        realised = _macs(scale_arch(B0, factors)) / _macs(B0)
        rows.append([name, f"{factors.product:.2f}", f"**{realised:.2f}**"])
    return write_table(["of B0, depth rounded up", "the formula", "realised"], rows)


def describe_grids() -> str:
    """Return what a grid over B0 keeps by the formula and by the realised ratio."""
    rows = []
    for constraint in ("formula", "realised"):
        info = scaling_grid(B0, constraint=constraint, target=2.0, step=0.05, tolerance=0.05).info
        ratios = f"{info.lowest_ratio:.2f} to {info.highest_ratio:.2f}"
        rows.append([f"`{constraint}`", str(info.points_on_target), str(info.networks_on_target), ratios])
    header = ["`constraint=`", "points kept", "different networks", "their macs, times B0's"]
    return write_table(header, rows)


def _macs(arch: ArchSpec) -> int:
    return network_cost(arch).macs
