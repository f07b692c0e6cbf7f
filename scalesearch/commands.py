"""What each verb of the command line does: call one function, say what came out and where it was written."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

import pandas as pd

from scalesearch.arch import ArchSpec
from scalesearch.arch.reading import read_arch
from scalesearch.arch.scaling import DepthRounding
from scalesearch.config import RunConfig
from scalesearch.console import new_table, print_frame, say, say_written, wide_console
from scalesearch.measure.latency_table import LatencyTableConfig, run_latency_table
from scalesearch.measure.profiling import ProfileInfo, profile_network
from scalesearch.report.curves import curves_info
from scalesearch.report.fidelity import fidelity_info
from scalesearch.report.plot import save_figure
from scalesearch.report.plot_curves import plot_curves
from scalesearch.report.plot_fidelity import plot_fidelity
from scalesearch.report.plot_map import plot_map
from scalesearch.report.scaling_map import MapInfo, scaling_map_info
from scalesearch.report.studies import write_report
from scalesearch.scaling import (
    FamilyConfig,
    ScaleConfig,
    plan_scaling_grid,
    run_family,
    run_scaling_curves,
    run_scaling_grid,
)
from scalesearch.scaling.grid import ScalingPlan, ScalingResult
from scalesearch.schemas import DoctorConfig, ProfileConfig, ReportConfig
from scalesearch.search import SearchConfig, run_search
from scalesearch.search.fidelity import REFERENCE, FidelityConfig, run_fidelity
from scalesearch.study.doctor import examine
from scalesearch.study.progress import StepsDisplay


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


def report(config: ReportConfig) -> None:
    """Write the tables and pictures of a study."""
    written = write_report(config.folder, config.storage, config.baseline)
    for line in written.lines:
        say(line)
    say_written(*written.files)


def run(config: RunConfig) -> None:
    """Search, scale, family and report, one after the other."""
    search(config.search)
    scale(config.scale)
    family(config.family)
    report(ReportConfig(study=config.search.study, results=config.search.results, storage=config.search.storage))


def profile(config: ProfileConfig) -> None:
    """Say what one network costs, by stage and by tool."""
    arch = read_arch(config.arch)
    info = profile_network(
        arch,
        image_size=config.image_size,
        num_classes=config.num_classes,
        batch_size=config.batch_size,
        num_threads=config.threads,
        device=config.device,
    )
    _print_stages(config, arch, info)
    _print_readings(info)


def fidelity(config: FidelityConfig) -> None:
    """Say how well cheap scores rank networks that are then trained longer."""
    result = run_fidelity(config)
    info = fidelity_info(result.table, config.scores, reference=REFERENCE)
    pictures = save_figure(plot_fidelity(info), config.folder.root / "fidelity")
    say_written(config.folder.table("fidelity"), *pictures)


def doctor(config: DoctorConfig) -> None:
    """Say what is wrong with a study's folder and storage, and mend what can be mended."""
    examination = examine(config.folder, config.storage)
    for line in examination.sound:
        say(f"sound: {line}")
    for finding in examination.findings:
        say(f"wrong: {finding.what}")
        if finding.mend is None:
            say(f"       {finding.advice}")
        elif config.mend:
            finding.mend()
            say(f"       mended: {finding.advice}")
        else:
            say(f"       mend=true: {finding.advice}")
    if not examination.findings:
        say("Nothing is wrong.")


def latency_table(config: LatencyTableConfig) -> None:
    """Measure every block of a space once, so that a network's latency can be predicted before it is built."""
    with StepsDisplay() as display:
        result = run_latency_table(config, on_entry=display)
    say(
        f"{result.entries} blocks of search space {config.space}, {result.entries_before} of them measured before;"
        f" {result.measure_seconds:.0f} s"
    )
    if result.error is not None:
        error = result.error
        say(
            f"Over {error.n} networks: mean absolute error {error.mean_abs_error_pct:.1f} %, worst"
            f" {error.worst_pct:.1f} %, Kendall tau {error.kendall_tau:.3f}; the middle one of a network's readings was"
            f" {error.noise_pct:.1f} % above the least, which counts"
        )
    say_written(result.path)


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


def _print_stages(config: ProfileConfig, arch: ArchSpec, info: ProfileInfo) -> None:
    title = f"{config.arch[:60]} at {info.image_size} px, {config.num_classes} classes"
    table = new_table(title, "part", "blocks", "params", "macs", "acts", "latency ms")
    blocks = {f"stage {index}": stage.to_block() for index, stage in enumerate(arch.stages)}
    for row in info.stages:
        counts = (f"{count:,}" for count in row.cost)
        table.add_row(row.name, blocks.get(row.name, ""), *counts, f"{row.latency_ms:.2f}")
    table.add_section()
    table.add_row("whole network", "", *(f"{count:,}" for count in info.cost), f"{info.latency.p50_ms:.2f}")
    wide_console().print(table)
    say(
        f"Latency on {info.device}, {config.threads} thread(s), batch {info.latency.batch_size}:"
        f" p50 {info.latency.p50_ms:.2f} ms, p90 {info.latency.p90_ms:.2f} ms over {info.latency.repeats} passes."
    )
    say(f"Peak memory of a pass: {info.peak_memory_mib:.1f} MiB, parameters included, kernel workspace not.")


def _print_readings(info: ProfileInfo) -> None:
    table = new_table("The same network read by other tools", "tool", "reading", "macs of it", "params")
    for reading in info.readings:
        table.add_row(reading.tool, f"{reading.reading:,}", "", f"{reading.params:,}")
        for part in reading.parts:
            table.add_row(f"  {part.name}", "", f"{part.macs:+,}", f"{part.params:+,}" if part.params else "")
        rest = "= our macs" if reading.unexplained_macs == 0 else f"unexplained {reading.unexplained_macs:+,}"
        table.add_row("  what remains", "", f"{info.cost.macs:,}", rest)
        table.add_section()
    wide_console().print(table)
