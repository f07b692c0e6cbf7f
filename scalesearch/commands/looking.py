"""Verbs that look: at a study, at one network, at what its blocks take."""

from __future__ import annotations

from scalesearch.arch import ArchSpec
from scalesearch.arch.reading import read_arch
from scalesearch.console import new_table, say, say_written, wide_console
from scalesearch.measure.latency_table import LatencyTableConfig, run_latency_table
from scalesearch.measure.profiling import ProfileInfo, profile_network
from scalesearch.report.studies import write_report
from scalesearch.report.watching import serve_page, wait_for_interrupt
from scalesearch.schemas import DoctorConfig, ProfileConfig, ReportConfig, WatchConfig
from scalesearch.search.planning import PlanConfig, plan_search
from scalesearch.study.doctor import examine
from scalesearch.study.progress import StepsDisplay


def report(config: ReportConfig) -> None:
    """Write the tables, pictures and the page of a study."""
    written = write_report(config.folder, config.storage, config.compare, config.formats.split(","))
    for line in written.lines:
        say(line)
    say_written(*written.files)


def watch(config: WatchConfig) -> None:
    """Serve the page of a study on this machine, kept up to date while trials finish, until Ctrl-C."""
    with serve_page(config.folder, config.storage, config.compare, port=config.port) as url:
        say(f"The page of study {config.study} is at {url}; Ctrl-C ends it")
        try:
            wait_for_interrupt()
        except KeyboardInterrupt:
            say("Stopped serving; the study itself goes on where it runs.")


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


def plan(config: PlanConfig) -> None:
    """Say what a search will take in trials, hours, memory and disk on this machine, from a few real steps."""
    with StepsDisplay() as display:
        info = plan_search(config, on_network=display)
    title = f"{info.num_timed_steps} steps of each, {info.workers} at once on {info.threads} threads each"
    table = new_table(title, "network", "macs", "acts", "ms a step", "s beside steps", "s a trial", "memory MiB")
    for name, timed in zip(("small", "median", "large"), info.timed, strict=True):
        seconds = timed.trial_seconds(info.num_steps)
        times = (f"{1000 * timed.step_seconds:.1f}", f"{timed.fixed_seconds:.1f}", f"{seconds:.1f}")
        table.add_row(name, f"{timed.cost.macs:,}", f"{timed.cost.acts:,}", *times, f"{timed.memory_mib:,.0f}")
    wide_console().print(table)
    for sentence in info.sentences():
        say(sentence)


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
