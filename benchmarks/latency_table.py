"""How far a network's latency as summed from the block table is from its measured one, at batch 1 and at a larger one.

For each batch size: measures every block of the space once (a few short rounds, the least disturbed counts), fits the
one factor on 12 whole networks, and compares with 50 other random networks measured as wholes. Prints the entries of
the table, the minutes it took, the errors, the rank correlation, how noisy the machine was, and how long one
prediction takes. The tables are written to the folder given; one that is there is completed, not measured again.

    python benchmarks/latency_table.py                                    # mbconv_small, batch 1 and 16, one CPU thread
    python benchmarks/latency_table.py --space mnasnet --batch 1 --device cuda
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scalesearch.arch import SearchSpace
from scalesearch.measure.latency_table import (
    LatencyTable,
    LatencyTableConfig,
    LatencyTableResult,
    run_latency_table,
    table_keys,
)

PREDICTIONS = 10_000


def main() -> None:
    options = read_options()
    space = SearchSpace.load(options.space)
    print(f"{options.space}: {len(table_keys(space))} entries, {space.cardinality:,} networks; load {os.getloadavg()}")
    results = {batch_size: measure(options, batch_size) for batch_size in options.batch}
    print_table(options, results, space)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mbconv_small")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/scalesearch-latency-table"))
    return parser.parse_args()


def measure(options: argparse.Namespace, batch_size: int) -> LatencyTableResult:
    name = f"{Path(options.space).stem}-{options.device}-{batch_size}.json"
    config = LatencyTableConfig(
        space=options.space,
        num_classes=options.num_classes,
        batch_size=batch_size,
        threads=options.threads,
        device=options.device,
        repeats=options.repeats,
        rounds=options.rounds,
        networks=options.networks,
        path=str(options.folder / name),
    )
    return run_latency_table(config, on_entry=show)


def show(what: str, done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"\r{what}: {done} of {total}   ", end="\n" if done == total else "", file=sys.stderr, flush=True)


def print_table(options: argparse.Namespace, results: dict[int, LatencyTableResult], space: SearchSpace) -> None:
    title = f"{options.space} on {options.device}, {options.threads} threads, {options.networks} networks"
    table = Table(title=title, caption="errors in % of the least of the rounds' medians")
    columns = ("batch", "entries", "measured before", "minutes", "factor", "latency ms", "error %", "worst %", "tau")
    for column in (*columns, "noise %", "us a prediction"):
        table.add_column(column, justify="right")
    for batch_size, result in results.items():
        assert result.error is not None
        error, measured = result.error, [row.measured_ms for row in result.error.rows]
        table.add_row(
            *(str(batch_size), str(result.entries), str(result.entries_before), f"{result.measure_seconds / 60:.1f}"),
            *(f"{result.table.scale:.3f}", f"{min(measured):.2f}-{max(measured):.2f}"),
            *(f"{error.mean_abs_error_pct:.2f}", f"{error.worst_pct:.1f}", f"{error.kendall_tau:.3f}"),
            *(f"{error.noise_pct:.1f}", f"{microseconds_each(result.table, space):.1f}"),
        )
    Console(width=150).print(table)


def microseconds_each(table: LatencyTable, space: SearchSpace) -> float:
    """Return the microseconds of one prediction, over as many random networks as a sampler asks for in a step."""
    rng = random.Random(0)
    archs = [space.sample(rng) for _ in range(PREDICTIONS)]
    start = time.perf_counter()
    for arch in archs:
        table.predict_ms(arch)
    return (time.perf_counter() - start) / PREDICTIONS * 1e6


if __name__ == "__main__":
    main()
