"""The search for alpha, beta and gamma, and the family they make of a base network."""

from scalesearch.scaling.candidates import GridInfo, ScalingCandidate, ScalingGrid, scaling_grid
from scalesearch.scaling.curves import run_scaling_curves
from scalesearch.scaling.family import FamilyConfig, run_family
from scalesearch.scaling.grid import ScaleConfig, plan_scaling_grid, run_scaling_grid

__all__ = [
    "FamilyConfig",
    "GridInfo",
    "ScaleConfig",
    "ScalingCandidate",
    "ScalingGrid",
    "plan_scaling_grid",
    "run_family",
    "run_scaling_curves",
    "run_scaling_grid",
    "scaling_grid",
]
