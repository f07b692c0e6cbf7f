"""Verbs that find networks, scale them and train the family."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

import pandas as pd

from scalesearch.arch.scaling import DepthRounding
from scalesearch.commands import looking
from scalesearch.config import RunConfig
from scalesearch.console import print_frame, say, say_written
from scalesearch.report.curves import curves_info
from scalesearch.report.fidelity import fidelity_info
from scalesearch.report.plot import save_figure
from scalesearch.report.plot_curves import plot_curves
from scalesearch.report.plot_fidelity import plot_fidelity
from scalesearch.report.plot_map import plot_map
from scalesearch.report.scaling_map import MapInfo, scaling_map_info
from scalesearch.scaling import (
    FamilyConfig,
    ScaleConfig,
    plan_scaling_grid,
    run_family,
    run_scaling_curves,
    run_scaling_grid,
)
from scalesearch.scaling.grid import ScalingPlan, ScalingResult
from scalesearch.schemas import ReportConfig
from scalesearch.search import SearchConfig, run_search
from scalesearch.search.fidelity import REFERENCE, FidelityConfig, run_fidelity


def search(config: SearchConfig) -> None:
    """Find a base network under a budget."""
    result = run_search(config)
    say(
        f"Base network {result.base.arch_id}: {'proxy' if config.score.method == 'proxy' else 'search-val top-1'}"
        f" {result.worth:.3f}, {result.cost.macs:,} macs, {result.cost.params:,} params,"
        f" {result.num_scored} networks scored"
    )
    for stage in result.base.stages:
        say(f"  {stage.to_block()}")
    say_written(config.folder.base, *filter(None, [result.checkpoint]))


def scale(config: ScaleConfig) -> None:
    """Grid-search alpha, beta and gamma for a base network."""
    if config.plan:
        _print_plan(config, plan_scaling_grid(config))
        return
    result = run_scaling_grid(config)
    columns = ["alpha", "beta", "gamma", "product", "realised_ratio", "image_size", "macs", "num_seeds"]
    columns += ["val_top1", "val_top1_se", "surface_top1", "surface_se"]
    print_frame(result.table[columns], "Scaling candidates, best mean first")
    say(f"{result.grid.info}.")
    for sentence in result.verdict.sentences():
        say(sentence)
    pictures = save_figure(plot_map(_map_info(config, result)), config.folder.root / "map")
    say_written(config.folder.table("scaling"), config.folder.factors, *pictures)


def family(config: FamilyConfig) -> None:
    """Train the base and its scaled siblings, and score them on the test split."""
    result = run_family(config)
    columns = ["member", "image_size", "params", "macs"]
    columns += ["realised_ratio"] if config.rivals else ["acts", "realised_ratio", "nearest_released"]  # for the width
    columns += ["latency_ms", "peak_memory_mib", "val_top1", "test_top1", "test_top1_se"]
    columns += ["minus_compound"] if config.rivals else []
    print_frame(result.table[columns], f"The family, {config.seeds} seeds each")
    say_written(config.folder.table("family"), config.folder.checkpoints)


def scaling_curves(config: FamilyConfig) -> None:
    """Draw accuracy against cost for depth, width and resolution alone, and for all together."""
    result = run_scaling_curves(config)
    columns = ["member", "strategy", "image_size", "macs", "latency_ms", "val_top1", "val_top1_se"]
    print_frame(result.table[columns], f"Scaling curves, {config.seeds} seeds each")
    print_frame(result.fits, "Power laws: error = coefficient * cost^-exponent")
    against_macs, against_latency = curves_info(result.table), curves_info(result.table, cost="latency_ms")
    pictures = save_figure(plot_curves(against_macs, against_latency), config.folder.root / "curves")
    say_written(config.folder.table("curves"), config.folder.table("curves-fits"), *pictures)


def run(config: RunConfig) -> None:
    """Search, scale, family and report, one after the other."""
    search(config.search)
    scale(config.scale)
    family(config.family)
    looking.report(
        ReportConfig(study=config.search.study, results=config.search.results, storage=config.search.storage)
    )


def fidelity(config: FidelityConfig) -> None:
    """Say how well cheap scores rank networks that are then trained longer."""
    result = run_fidelity(config)
    info = fidelity_info(result.table, config.scores, reference=REFERENCE)
    pictures = save_figure(plot_fidelity(info), config.folder.root / "fidelity")
    say_written(config.folder.table("fidelity"), *pictures)


def _map_info(config: ScaleConfig, result: ScalingResult) -> MapInfo:
    return scaling_map_info(
        result.table,
        result.evidence.surface,
        result.base,
        target=config.target,
        rounding=cast(DepthRounding, config.rounding),
        chosen_arch_id=result.evidence.chosen.arch.arch_id,
        num_classes=result.num_classes,
    )


def _print_plan(config: ScaleConfig, plan: ScalingPlan) -> None:
    rows = [
        {
            **asdict(candidate.factors),
            "product": candidate.factors.product,
            "realised_ratio": candidate.realised_ratio,
            "image_size": candidate.arch.image_size,
            "macs": candidate.cost.macs,
            "params": candidate.cost.params,
            "grid_points": len(candidate.points),
        }
        for candidate in plan.candidates
    ]
    print_frame(pd.DataFrame(rows), "Scaling candidates")
    say(f"{plan.grid.info}.")
    say(
        f"{len(plan.candidates)} candidates, {config.seeds} seeds: {plan.trainings} trainings of {plan.steps} steps if"
        f" none is dropped early, {plan.training_macs:.3g} multiply-adds in all."
    )
