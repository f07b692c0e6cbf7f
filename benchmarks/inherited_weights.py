"""What a larger network gains when it begins as its trained smaller sibling: inherited weights beside fresh ones.

    D="data=parquet data.root=DIR data.stored_size=32 data.max_train_images=10000 data.max_val_images=5000"
    OMP_NUM_THREADS=1 python benchmarks/inherited_weights.py $D train.steps=300 seeds=3 --processes 2
    OMP_NUM_THREADS=1 python benchmarks/inherited_weights.py train.steps=40 seeds=1 --budgets 0.5 1 --rates 1

The keys are those of ``scalesearch family``; the networks are its member at phi = 1 and that one's rivals but dWr, all
at the same macs as far as rounding lets them. The base is trained for ``train.steps``. Each member is then trained for
each share of these steps (``--budgets``), with a learning rate schedule of that length: from fresh weights, and from
the base's weights by ``scalesearch.nn.growing`` with the learning rate times each of ``--rates``. A seed decides the
base's training, fresh weights, and the order of the images, which is the same for all trainings of the seed; the
differences are paired over seeds.

Fresh weights are also trained for the steps that cost as much as the base's and the member's together: what a user who
has no trained sibling would compare with. In a family the base is trained anyway.

``steps to equal`` is the budget at which inherited weights reach what fresh ones have after all steps: interpolated
between budgets, means over seeds; 0 steps are the inherited weights as they are. With the sibling's, the base's steps
are added, counted by their macs in steps of the member.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from scalesearch.arch import ArchSpec
from scalesearch.config import load_config
from scalesearch.data import load_data
from scalesearch.measure.scores import Job
from scalesearch.measure.scores.reading import save_weights
from scalesearch.measure.training import evaluate, fit
from scalesearch.nn import build_network
from scalesearch.nn.growing import grow_weights
from scalesearch.scaling.family import FamilyConfig, plan_members
from scalesearch.scaling.members import Member
from scalesearch.study.executors import keep_freed_memory

BASE = Path(__file__).resolve().parents[1] / "results" / "cifar10-scaling" / "base.yaml"
DEFAULTS = (f"base={BASE}", "factors=1.2,1.1,1.15", "phi=0..1", "rivals=true", "train=brief", "device=cpu")
LEFT_OUT = "dWr"  # at this size it is nearly the width member
BASE_LABEL = "base"
FRESH, EQUAL_COMPUTE = 0.0, math.nan  # of a training: no inherited weights; a budget of the two networks together


Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Training:
    """One training of one member.

    Attributes:
        label: Of the member.
        budget: Share of the full number of steps, or ``EQUAL_COMPUTE``.
        rate: By which the learning rate is multiplied with inherited weights; ``FRESH`` where there are none.
        job: Network, seed, images, steps.
        sibling: Architecture and checkpoint whose weights are inherited.
    """

    label: str
    budget: float
    rate: float
    job: Job
    sibling: tuple[ArchSpec, Path] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.5, 0.25])
    options, keys = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        config = load_config("family", ["study=inherited", f"results={folder}", *DEFAULTS, *keys])
        data = config.load_data()
        base, *members = plan_members(config, config.read_base(), config.read_rule(), data.num_classes)
        members = [member for member in members if member.strategy != LEFT_OUT]
        bases = list(plan_bases(config, base))
        trainings = list(plan_trainings(config, base, members, options.budgets, options.rates))
        with multiprocessing.get_context("spawn").Pool(options.processes, prepare_process) as pool:
            for batch in (bases, trainings):
                rows = []
                for row in pool.imap_unordered(train, batch):
                    rows.append(row)
                    print(f"{len(rows)}/{len(batch)} {row}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    console = Console(width=150, highlight=False)
    num_steps = config.train.num_steps(len(data.train))
    console.print(f"{num_steps} steps of {config.train.batch_size}, {config.seeds} seeds; mean ± standard error")
    print_budgets(console, table, members)
    print_savings(console, table, base, members, num_steps)


def prepare_process() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()


def plan_bases(config: FamilyConfig, base: Member) -> Iterator[Training]:
    """Yield the trainings of the base, one a seed."""
    for seed in range(config.seeds):
        path, cache = checkpoint(config, seed), config.folder.cache
        job = Job(base.arch, seed, config.data, config.train, cache=cache, checkpoint=path)
        yield Training(BASE_LABEL, 1.0, FRESH, job)


def plan_trainings(
    config: FamilyConfig, base: Member, members: Sequence[Member], budgets: Sequence[float], rates: Sequence[float]
) -> Iterator[Training]:
    """Yield the trainings of the members, seed by seed, so that an early look sees all of them."""
    assert config.train.steps is not None, "given in steps"
    for seed in range(config.seeds):
        for member in members:
            both = 1 + base.cost.macs / member.cost.macs
            for rate in (FRESH, *rates):
                for budget in budgets if rate else (*budgets, EQUAL_COMPUTE):
                    steps = max(1, round(config.train.steps * (both if math.isnan(budget) else budget)))
                    learning_rate = config.train.learning_rate * (rate or 1)
                    schedule = replace(config.train, steps=steps, learning_rate=learning_rate)
                    job = Job(member.arch, seed, config.data, schedule, cache=config.folder.cache)
                    sibling = (base.arch, checkpoint(config, seed)) if rate else None
                    yield Training(member.strategy, budget, rate, job, sibling)


def checkpoint(config: FamilyConfig, seed: int) -> Path:
    return config.folder.checkpoints / f"base-{seed}.safetensors"


def train(training: Training) -> dict[str, object]:
    """Train in this process and return the accuracies before and after."""
    job = training.job
    data, size = load_data(job.data, job.cache), job.arch.image_size
    torch.manual_seed(job.seed)
    network = build_network(job.arch, data.num_classes, dropout=job.train.dropout, drop_path=job.train.drop_path)
    if training.sibling is not None:
        from_arch, path = training.sibling
        grow_weights(load_file(path), from_arch, network, job.arch)
    start_top1 = evaluate(network, data.val, image_size=size).top1
    torch.manual_seed(job.seed)  # the same images in the same order, whatever the weights have drawn
    fitted = fit(network, data.train, job.train, image_size=size)
    val_top1 = evaluate(network, data.val, image_size=size).top1
    save_weights(network, job)
    return {
        "member": training.label,
        "rate": training.rate,
        "budget": training.budget,
        "seed": job.seed,
        "steps": fitted.steps,
        "start_top1": start_top1,
        "val_top1": val_top1,
        "train_seconds": round(fitted.train_seconds, 1),
    }


def print_budgets(console: Console, table: pd.DataFrame, members: Sequence[Member]) -> None:
    """Print a row a member and budget: fresh weights, and the inherited ones at each rate beside them."""
    rates = sorted(set(table.rate) - {FRESH}, reverse=True)
    shown = Table(
        title="val_top1 by budget, in per cent; x: the learning rate with inherited weights", title_justify="left"
    )
    columns = ["member", "steps", "fresh"]
    for column in (*columns, *(f"{what} x {rate:g}" for rate in rates for what in ("inherited,", "less fresh,"))):
        shown.add_column(column, justify="left" if column == "member" else "right")
    for member in members:
        for budget in sorted(set(table.budget.dropna())):
            fresh = read(table, member, FRESH, budget)
            cells = [describe(fresh)]
            for rate in rates:
                inherited = read(table, member, rate, budget)
                cells += [describe(inherited), describe(inherited - fresh, sign=True)]
            shown.add_row(member.strategy, str(read(table, member, FRESH, budget, "steps")[0]), *cells)
        shown.add_section()
    console.print(shown)


def print_savings(
    console: Console, table: pd.DataFrame, base: Member, members: Sequence[Member], num_steps: int
) -> None:
    """Print a row a member and rate: the steps after which fresh weights are equalled, and the equal compute."""
    shown = Table(title="when inherited weights equal fresh ones, and both for the same compute", title_justify="left")
    for column in (
        "member",
        "macs",
        "rate",
        "as inherited",
        "steps to equal",
        "with the sibling's",
        "equal compute: steps",
        "fresh",
        "inherited less it",
    ):
        shown.add_column(column, justify="left" if column == "member" else "right")
    for member in members:
        siblings_steps = num_steps * base.cost.macs / member.cost.macs
        equal_steps, equal = (read(table, member, FRESH, EQUAL_COMPUTE, column) for column in ("steps", "val_top1"))
        for rate in sorted(set(table.rate) - {FRESH}, reverse=True):
            steps = steps_to_equal(table, member, rate, num_steps)
            shown.add_row(
                member.strategy,
                f"{member.cost.macs / base.cost.macs:.2f} x",
                f"x {rate:g}",
                describe(read(table, member, rate, 1.0, "start_top1")),
                f"{steps:.0f}" if steps < math.inf else f"above {num_steps}",
                f"{steps + siblings_steps:.0f}" if steps < math.inf else "",
                str(equal_steps[0]),
                describe(equal),
                describe(read(table, member, rate, 1.0) - equal, sign=True),
            )
        shown.add_section()
    console.print(shown)


def steps_to_equal(table: pd.DataFrame, member: Member, rate: float, num_steps: int) -> float:
    """Return the budget at which inherited weights reach fresh ones' final accuracy; infinite where they do not."""
    target = read(table, member, FRESH, 1.0).mean()
    budgets = sorted(set(table[table.rate == rate].budget))
    points = [(0.0, read(table, member, rate, 1.0, "start_top1").mean())]
    points += [(budget * num_steps, read(table, member, rate, budget).mean()) for budget in budgets]
    if points[0][1] >= target:
        return 0.0
    for (before, low), (after, high) in itertools.pairwise(points):
        if high >= target:
            return before + (after - before) * float((target - low) / (high - low))
    return math.inf


def read(table: pd.DataFrame, member: Member, rate: float, budget: float, column: str = "val_top1") -> Floats:
    """Return a column of a setting's trainings in the order of the seeds."""
    is_budget = table.budget.isna() if math.isnan(budget) else table.budget == budget
    rows = table[(table.member == member.strategy) & (table.rate == rate) & is_budget]
    return rows.sort_values("seed")[column].to_numpy()


def describe(values: Floats, *, sign: bool = False) -> str:
    spread = 100 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{100 * values.mean():{'+' if sign else ''}.1f} ± {spread:.1f}"


if __name__ == "__main__":
    main()
