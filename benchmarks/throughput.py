"""Candidates an hour on two cores: a search as we run it beside the loop one would write by hand.

Run: ``python benchmarks/throughput.py`` (``--candidates 5 --steps 20`` for a first look).

- Candidates: those that the default sampler proposes in ``mbconv_small`` at 32 px under 4 M macs. Both sides train the
  same ones, from the same initial weights, with the same optimiser, schedule, batch size, steps and augmentation, and
  score them on the same images. CIFAR-10 where ``../shared/data`` has it, else the embedded patches.
- Ours: ``run_search`` with its record in SQLite, two workers of one thread, checkpoints and latencies included.
- By hand: one process with two threads, Optuna's ``study.optimize`` in memory, a ``DataLoader`` over PIL images that
  torchvision's transforms change one by one (images already decoded, as in ``torchvision.datasets.CIFAR10``), with and
  without worker processes; the faster one is the peer.

Not counted on either side: importing torch, decoding the images once. Ours imports torch once more, for the server that
workers are forked from; the seconds of its first worker are printed by themselves. Our overhead is the share of
``wall time * workers`` that is spent neither in ``fit`` nor in ``evaluate``, as recorded. A worker's idle time while
the last candidate ends, about half a candidate's, is told apart: it does not grow with the number of candidates.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import optuna
import torch
import torch.nn.functional as F
from optuna.trial import FrozenTrial, TrialState
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from scalesearch.arch import ArchSpec, SearchSpace
from scalesearch.arch.budget import Budget
from scalesearch.data import DataConfig, ImageData
from scalesearch.data.split import MemorySplit
from scalesearch.measure.optimisation import build_optimizer, learning_rate_factor
from scalesearch.measure.scores import Job, score_job
from scalesearch.measure.training import TrainConfig
from scalesearch.nn import build_network
from scalesearch.search import SearchConfig, run_search
from scalesearch.study.executors import LocalExecutor, Stepped
from scalesearch.study.store import load_records

CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"
NUM_CORES, SEED, IMAGE_SIZE, MAX_MACS = 2, 0, 32, 4e6
EVAL_BATCH_SIZE = 250
DATALOADER_WORKERS = (0, 2)

T = TypeVar("T")
Batches = DataLoader[tuple[Tensor, int]]


class Outcome(NamedTuple):
    """Wall seconds for all candidates, the machine's load average at their end, and the accuracy of each."""

    seconds: float
    load: float
    val_top1: list[float]

    @property
    def an_hour(self) -> float:
        """Candidates an hour."""
        return 3600 * len(self.val_top1) / self.seconds


class Overhead(NamedTuple):
    """Worker seconds of a search: all, those in ``fit`` and ``evaluate``, those idle while the last candidates end."""

    total: float
    fit: float
    evaluate: float
    idle: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        compare(configure(folder, options.candidates, options.steps))


def configure(folder: str, num_candidates: int, num_steps: int) -> SearchConfig:
    parquet = DataConfig(format="parquet", root=str(CIFAR10), max_train_images=10_000, max_val_images=2_000)
    return SearchConfig(
        study="throughput",
        results=folder,
        seed=SEED,
        workers=NUM_CORES,
        threads=1,
        device="cpu",
        data=replace(parquet if CIFAR10.exists() else DataConfig(), stored_size=IMAGE_SIZE),
        train=TrainConfig(steps=num_steps),
        space="mbconv_small",
        image_size=IMAGE_SIZE,
        trials=num_candidates,
        objective="accuracy",
        budget=Budget(macs=MAX_MACS),
    )


def compare(config: SearchConfig) -> None:
    data, decode_seconds = timed(config.load_data)
    _, start_seconds = timed(lambda: start_server(config))
    ours, trials = search(config)
    archs = [read_arch(trial) for trial in trials]
    by_hand = {workers: optimize(archs, data, config.train, workers) for workers in DATALOADER_WORKERS}
    overhead = account(config, ours.seconds, trials)
    console = Console(width=130, highlight=False)
    source = "CIFAR-10" if config.data.format == "parquet" else "embedded patches"
    console.print(
        f"{len(archs)} candidates of {config.train.steps} steps of {config.train.batch_size}, {source}: "
        f"{len(data.train)} images to train, {len(data.val)} to score"
    )
    print_table(console, ours, by_hand)
    print_overhead(console, overhead)
    console.print(f"once a study: decoding {decode_seconds:.1f} s, the first worker {start_seconds:.1f} s")


def timed(task: Callable[[], T]) -> tuple[T, float]:
    """Return what a task gives and the seconds it took."""
    start = time.perf_counter()
    result = task()
    return result, time.perf_counter() - start


def start_server(config: SearchConfig) -> None:
    """Run one step of one candidate, for which the server of the workers is started and imports torch."""
    arch = SearchSpace.load(config.space).sample(random.Random(SEED))
    executor = LocalExecutor(1, score_job, 1)
    executor.submit(0, Job(arch, SEED, config.data, replace(config.train, steps=1), cache=config.folder.cache))
    while isinstance(executor.wait()[-1], Stepped):
        pass
    executor.close()


def search(config: SearchConfig) -> tuple[Outcome, list[FrozenTrial]]:
    """Search and return what came and the trials that were trained, in the order they were proposed."""
    _, seconds = timed(lambda: run_search(config))
    (record,) = load_records(config.url, config.study)
    failed = [trial.user_attrs["reason"] for trial in record.trials if trial.state == TrialState.FAIL]
    assert not failed, failed
    trials = [trial for trial in record.trials if "score" in trial.user_attrs]
    return Outcome(seconds, os.getloadavg()[0], [trial.user_attrs["score"]["val_top1"] for trial in trials]), trials


def account(config: SearchConfig, seconds: float, trials: list[FrozenTrial]) -> Overhead:
    """Return where the worker seconds of a search went."""
    ends = sorted(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete is not None)
    return Overhead(
        total=config.workers * seconds,
        fit=sum(trial.user_attrs["score"]["train_seconds"] for trial in trials),
        evaluate=sum(trial.user_attrs["score"]["eval_seconds"] for trial in trials),
        idle=sum(ends[-1] - end for end in ends[-config.workers :]),
    )


def read_arch(trial: FrozenTrial) -> ArchSpec:
    return ArchSpec.from_dict(trial.user_attrs["arch"])


class PilImages(Dataset[tuple[Tensor, int]]):
    """Decoded images in memory, each made a PIL image and transformed when it is asked for."""

    def __init__(self, split: MemorySplit, transform: Callable[[Any], Tensor]) -> None:
        self._pixels = np.ascontiguousarray(split.images.transpose(0, 2, 3, 1))
        self._labels = split.labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._pixels[index])), self._labels[index]


def optimize(archs: list[ArchSpec], data: ImageData, config: TrainConfig, num_workers: int) -> Outcome:
    """Train the networks one after the other, as one would by hand."""
    torch.set_num_threads(NUM_CORES)
    train, val = load_by_hand(data, config, num_workers)

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(SEED)
        network = build_network(archs[trial.number], data.num_classes)
        train_by_hand(network, train, config)
        return validate_by_hand(network, val)

    study = optuna.create_study(direction="maximize")
    _, seconds = timed(lambda: study.optimize(objective, n_trials=len(archs)))
    return Outcome(seconds, os.getloadavg()[0], [trial.values[0] for trial in study.trials])


def load_by_hand(data: ImageData, config: TrainConfig, num_workers: int) -> tuple[Batches, Batches]:
    """Return the loaders of the two splits, with the augmentation that is ours by default."""
    assert isinstance(data.train, MemorySplit), "so few images are in memory"
    assert isinstance(data.val, MemorySplit), "so few images are in memory"
    padding = round(config.augmentation.crop_padding * IMAGE_SIZE)
    as_tensor = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    crop = transforms.RandomCrop(IMAGE_SIZE, padding=padding, padding_mode="reflect")
    augmented = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *as_tensor])
    train, val = PilImages(data.train, augmented), PilImages(data.val, transforms.Compose(as_tensor))
    return (
        DataLoader(train, config.batch_size, shuffle=True, drop_last=True, num_workers=num_workers),
        DataLoader(val, EVAL_BATCH_SIZE, num_workers=num_workers),
    )


def train_by_hand(network: nn.Module, loader: Batches, config: TrainConfig) -> None:
    assert config.steps is not None, "given in steps"
    num_steps = config.steps
    optimizer = build_optimizer(network, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, num_steps, config))
    network.train()
    # the count comes first in the pair, so that no batch is made for nothing at the end
    for _, (images, labels) in zip(range(num_steps), repeat_passes(loader), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def repeat_passes(loader: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from cast(Iterator[tuple[Tensor, Tensor]], loader)


def validate_by_hand(network: nn.Module, loader: Batches) -> float:
    network.eval()
    correct = num_images = 0
    with torch.no_grad():
        for images, labels in cast(Iterator[tuple[Tensor, Tensor]], loader):
            correct += int((network(images).argmax(1) == labels).sum())
            num_images += len(labels)
    return correct / num_images


def print_table(console: Console, ours: Outcome, by_hand: dict[int, Outcome]) -> None:
    peer = max(by_hand.values(), key=lambda outcome: outcome.an_hour)
    table = Table(
        caption="± standard error over candidates; ratio: ours over it; a load above 3: others ran too, no comparison"
    )
    for column in ("", "seconds", "load", "candidates an hour", "ratio", "val_top1", "ours minus it, paired"):
        table.add_column(column, justify="right" if column else "left")
    rows = {"scalesearch": ours, **{f"by hand, num_workers={key}": outcome for key, outcome in by_hand.items()}}
    for name, outcome in rows.items():
        differences = np.subtract(ours.val_top1, outcome.val_top1)
        versus = ("", "") if outcome is ours else (f"{ours.an_hour / outcome.an_hour:.2f} x", describe(differences))
        name += " (the peer)" if outcome is peer else ""
        top1 = describe(np.array(outcome.val_top1))
        table.add_row(
            name, f"{outcome.seconds:.1f}", f"{outcome.load:.1f}", f"{outcome.an_hour:.0f}", versus[0], top1, versus[1]
        )
    console.print(table)


def describe(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    return f"{values.mean():.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


def print_overhead(console: Console, overhead: Overhead) -> None:
    beside = overhead.total - overhead.fit - overhead.evaluate - overhead.idle
    names = {"fit": overhead.fit, "evaluate": overhead.evaluate, "overhead": beside, "idle at the end": overhead.idle}
    shares = ", ".join(f"{name} {seconds / overhead.total:.1%}" for name, seconds in names.items())
    console.print(f"worker seconds of ours: {shares}")


if __name__ == "__main__":
    main()
