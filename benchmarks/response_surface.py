"""How often the best candidate of the scaling grid is found, with a third of the grid's trainings and with all of them.

Run: ``python benchmarks/response_surface.py``; six minutes. Data, where there: ``../shared/reference/scaling.csv``.

- The candidates are those of EfficientNet-B0's real grid: step, rounding of depth and realised cost as printed.
- Their accuracies are made up. One candidate, drawn at random, is the best at equal cost; from it the accuracy falls by
  ``curvature`` points a squared doubling of cost moved from one dimension to another. The two directions of the plane
  have curvatures of their own, log-normal with deviation 0.3, and axes drawn at random. A candidate that costs more
  gains 1.75 points a doubling. A training has noise of 0.3 points, and a seed shifts all candidates by as much.
- The first table says what curvatures and gains public tables show; 0.79 and 1.75 are EfficientNet-B0's own.
- Found: the choice is the best candidate or one grid step from it, which is when some grid points of the two differ by
  at most one step in each factor. A candidate has several points where they round to the same network. Lost is what
  the choice scores less than the best, at equal cost, in hundredths of a point: the mean over the repetitions.
- Surface: a third of the trainings, all on a D-optimal subset of the candidates: a third of them, but at least 8.
  ``near`` takes the candidate that is most probably within a step of the best, ``expected`` the one that is expected
  to score best.
- Grid: all trainings, the best mean. Racing: a third, the better half goes on after each seed, the test drops more.
- Region: the candidates that the surface does not tell from the best: their share of all, how often the best is among.

The last table leaves out each network of a public table in turn and predicts it from the others.

What it does not show: real accuracies of a grid. The variants say what happens when the surface is wrong: flattening
tails instead of a parabola, a deviation of each candidate's own, the best shape outside the grid.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from scalesearch.arch import published_arch
from scalesearch.arch.scaling import DepthRounding
from scalesearch.scaling import scaling_grid
from scalesearch.scaling.doublings import at_equal_cost, cost_doublings
from scalesearch.scaling.racing import choose_subset, one_step_apart, survivors
from scalesearch.scaling.surface import fit_surface

DATA = Path(__file__).resolve().parents[2] / "shared" / "reference" / "scaling.csv"
NUM_REPEATS = 100
NOISE = 0.3  # points of top-1: of one training, and of a seed's shift
LEAST_SUBSET = 8  # candidates: one more than the surface has terms
GRIDS: list[tuple[DepthRounding, float]] = [("ceil", 0.05), ("round", 0.05), ("ceil", 0.1), ("round", 0.1)]
SEEDS = (2, 3, 5, 10)

Floats = NDArray[np.float64]


class Grid(NamedTuple):
    """Candidates' ``cost_doublings`` (C, 3), the same at equal cost, and which are one step apart (C, C)."""

    features: Floats
    equal: Floats
    near: NDArray[np.bool_]


class World(NamedTuple):
    """How accuracies are made up; all in points of top-1.

    Attributes:
        curvature: Lost a squared doubling.
        oval: Deviation of the logarithm of the two curvatures.
        gain: Of a doubling of the cost.
        tail: The loss at which the parabola begins to flatten.
        deviation: Of each candidate from the smooth surface.
        beyond: How far outside the candidate the best shape lies, over its distance from the middle.
    """

    curvature: float = 0.79
    oval: float = 0.3
    gain: float = 1.75
    tail: float = math.inf
    deviation: float = 0.0
    beyond: float = 0.0


VARIANTS = {
    "as above": World(),
    "very oval": World(oval=0.7),
    "flat as MobileNetV2": World(curvature=0.45),
    "cost gains nothing": World(gain=0.0),
    "flattening tails": World(tail=0.3),
    "deviations of 0.05": World(deviation=0.05),
    "deviations of 0.1": World(deviation=0.1),
    "best outside the grid": World(beyond=0.5),
}


class Outcome(NamedTuple):
    """One repetition: found or not, and points lost, a method each; the region's share, and whether it holds."""

    found: list[bool]
    lost: list[float]
    share: float
    holds: bool


def main() -> None:
    console = Console(width=130)
    if DATA.exists():
        console.print(curvature_table(pd.read_csv(DATA)))
    else:
        console.print(f"public tables skipped: {DATA} is not here")
    grids = {each: load_grid(*each) for each in GRIDS}
    table = new_table(f"best candidate found in {NUM_REPEATS}", ["rounding, step: networks", "seeds", "trainings"])
    for (rounding, step), grid in grids.items():
        for seeds in SEEDS:
            name = f"{rounding}, {step:g}: {len(grid.near)}"
            table.add_row(name, *row(grid, World(), seeds))
        table.add_section()
    console.print(table)
    table = new_table(f"{GRIDS[0][0]}, step {GRIDS[0][1]:g}, 5 seeds", ["variant", "seeds", "trainings"])
    for name, world in VARIANTS.items():
        table.add_row(name, *row(grids[GRIDS[0]], world, 5))
    console.print(table)
    if DATA.exists():
        console.print(leave_one_out_table(pd.read_csv(DATA)))


def new_table(title: str, first: list[str]) -> Table:
    table = Table(title=f"{title}; in brackets hundredths of a point lost", title_justify="left")
    for column in (*first, "surface, near", "surface, expected", "racing", "grid, all", "region", "holds best"):
        table.add_column(column, justify="left" if column == first[0] else "right")
    return table


def load_grid(rounding: DepthRounding, step: float) -> Grid:
    base = published_arch("efficientnet-b0")
    candidates = scaling_grid(base, step=step, rounding=rounding).candidates
    features = cost_doublings(base, [candidate.factors for candidate in candidates], rounding)
    near = one_step_apart([candidate.points for candidate in candidates], step)
    return Grid(features, at_equal_cost(features, 2.0), near)


def row(grid: Grid, world: World, seeds: int) -> list[str]:
    """Return the trainings of the grid and the figures of every method."""
    outcomes = [repeat(grid, world, seeds, np.random.default_rng([seeds, number])) for number in range(NUM_REPEATS)]
    found = np.sum([outcome.found for outcome in outcomes], axis=0)
    lost = 100 * np.mean([outcome.lost for outcome in outcomes], axis=0)
    cells = [f"{count} ({points:.1f})" for count, points in zip(found, lost, strict=True)]
    share, holds = (np.mean([outcome[index] for outcome in outcomes]) for index in (2, 3))
    return [str(seeds), str(seeds * len(grid.near)), *cells, f"{share:.0%}", f"{holds:.0%}"]


def repeat(grid: Grid, world: World, seeds: int, rng: np.random.Generator) -> Outcome:
    """Make up accuracies and trainings, and let every method choose from its own."""
    truth = make_truth(grid, world, rng)
    gain = world.gain * (grid.features.sum(axis=1) - 1)
    budget = seeds * len(truth) // 3
    trainings = (
        truth + gain + NOISE * rng.standard_normal((budget, 1)) + NOISE * rng.standard_normal((budget, len(truth)))
    )
    surface = fit_surface(*take_trainings(grid, trainings))
    choices = [
        surface.maximum(grid.equal, grid.near),
        surface.maximum(grid.equal),
        race(trainings, budget, rng),
        int(trainings[:seeds].mean(axis=0).argmax()),
    ]
    best, region = int(truth.argmax()), surface.confidence_region(grid.equal)
    return Outcome(
        found=[bool(grid.near[best, choice]) for choice in choices],
        lost=[float(truth[best] - truth[choice]) for choice in choices],
        share=float(region.mean()),
        holds=bool(region[best]),
    )


def take_trainings(grid: Grid, trainings: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Return features, accuracies and seeds of a subset's trainings, as many as ``trainings`` has rows.

    What is left when all have the same number of seeds goes to some of them, with one more seed.
    """
    budget, num_candidates = trainings.shape
    subset = choose_subset(grid.features, min(num_candidates, max(LEAST_SUBSET, num_candidates // 3), budget))
    seeds, rest = divmod(budget, len(subset))
    last = [subset[one] for one in choose_subset(grid.features[subset], rest)] if rest > 1 else []
    owners = np.array(subset * seeds + last)
    numbers = np.repeat(np.arange(seeds + 1), [len(subset)] * seeds + [len(last)])
    return grid.features[owners], trainings[numbers, owners], numbers


def make_truth(grid: Grid, world: World, rng: np.random.Generator) -> Floats:
    """Return each candidate's accuracy at equal cost, less that of the best shape."""
    middle = grid.equal.mean(axis=0)
    peak = middle + (1 + world.beyond) * (grid.equal[rng.integers(len(grid.equal))] - middle)
    angle = rng.uniform(0, math.pi)
    across, along = np.array([1, -1, 0]) / math.sqrt(2), np.array([1, 1, -2]) / math.sqrt(6)
    axes = [math.cos(angle) * across + math.sin(angle) * along, math.cos(angle) * along - math.sin(angle) * across]
    curvatures = world.curvature * np.exp(world.oval * rng.standard_normal(2))
    loss = ((grid.equal - peak) @ np.transpose(axes)) ** 2 @ curvatures
    loss = loss if math.isinf(world.tail) else world.tail * np.log1p(loss / world.tail)
    return np.asarray(world.deviation * rng.standard_normal(len(loss)) - loss)


def race(trainings: Floats, budget: int, rng: np.random.Generator) -> int:
    """Return whom racing alone leaves when the budget is spent."""
    scores = pd.DataFrame(np.nan, index=range(trainings.shape[1]), columns=range(len(trainings)))
    racing = [int(one) for one in rng.permutation(trainings.shape[1])]
    spent = 0
    for seed in range(len(trainings)):
        if spent >= budget or (len(racing) == 1 and seed):
            break
        running = racing[: budget - spent]
        scores.loc[running, seed] = trainings[seed, running]
        spent += len(running)
        racing = [int(str(one)) for one in survivors(scores, keep=0.5)]
    return racing[0]


def curvature_table(rows: pd.DataFrame) -> Table:
    """Return what public tables say of the accuracy around the best shape at equal cost."""
    table = Table(title="public tables: points lost a squared doubling, gained a doubling", title_justify="left")
    for column in ("table", "lost, by direction", "lost", "gained"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for model in ("mobilenet_v2", "resnet50", "efficientnet_b0"):
        paper = rows[rows.source.str.startswith("effnet-paper") & (rows.model == model)]
        table.add_row(f"EfficientNet paper, {model}", *_around_compound(paper))
    for model in ("mobilenet_v1", "mobilenet_v2"):
        surface = fit_surface(*_width_and_resolution(rows, model))
        plane, coefficients = surface.terms.plane, surface.draws.mean(axis=0, keepdims=True)
        direction = np.array([1, -1]) / math.sqrt(2) @ plane
        lost = -direction @ surface.terms.hessians(coefficients)[0] @ direction / 2
        gained = (plane @ surface.terms.gradients(coefficients)[0]).mean()
        table.add_row(f"tf-slim, {model}, width and resolution", "", f"{lost:.2f}", f"{gained:.2f}")
    return table


def _around_compound(paper: pd.DataFrame) -> list[str]:
    """Compare scaling of one dimension with compound scaling, which is taken for the best shape."""
    base, compound, ones = paper.iloc[0], paper.iloc[-1], paper.iloc[1:-1]
    gained = (compound.top1 - base.top1) / math.log2(compound.macs_m / base.macs_m)
    even = np.full((1, 3), 2 / 3)  # of the two doublings, where the table does not say how they were shared
    peak = even if compound.depth_mult == "compound" else _doublings(paper.iloc[-1:])
    distances = np.sum((at_equal_cost(_doublings(ones), 4.0) - at_equal_cost(peak, 4.0)) ** 2, axis=1)
    lost = compound.top1 - ones.top1 + gained * np.log2(ones.macs_m / compound.macs_m)
    each = ", ".join(f"{one:.2f}" for one in lost / distances)
    return [each, f"{lost.sum() / distances.sum():.2f}", f"{gained:.2f}"]


def _doublings(rows: pd.DataFrame) -> Floats:
    depth, width = rows.depth_mult.astype(float), rows.width_mult.astype(float)
    return np.column_stack([np.log2(depth), 2 * np.log2(width), 2 * np.log2(rows.resolution.astype(float) / 224)])


def _width_and_resolution(rows: pd.DataFrame, model: str) -> tuple[Floats, Floats]:
    """Return the doublings (N, 2) and accuracies of tf-slim's table of a model."""
    rows = rows[(rows.source == "tf-slim") & (rows.model == model)]
    return _doublings(rows)[:, 1:], rows.top1.to_numpy(dtype=float)


def leave_one_out_table(rows: pd.DataFrame) -> Table:
    table = Table(title="leave-one-out error in points of top-1, tf-slim's tables", title_justify="left")
    for column in ("table", "networks", "root mean square", "mean absolute"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for model in ("mobilenet_v1", "mobilenet_v2"):
        features, top1 = _width_and_resolution(rows, model)
        error = fit_surface(features, top1).loo_error()
        table.add_row(model, str(len(top1)), f"{error.rms:.3f}", f"{error.mean_absolute:.3f}")
    return table


if __name__ == "__main__":
    main()
