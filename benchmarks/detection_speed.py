"""EfficientDet-D0 at 512 px on the CPU, ours beside effdet's: a forward pass, and a step of training.

Run: ``python benchmarks/detection_speed.py`` (``--threads 2``; ``--repeats 3 --rows forward`` for a first look).

- Both detectors have the same weights, 90 classes, symmetric padding, no drop path, and are checked to give the same
  outputs and the same loss before anything is timed.
- Ours: channels_last, as scalesearch trains and scores. effdet's: as it is built, and in channels_last. Its training
  step is that of ``DetBenchTrain`` with its default loss, and with the two faster ones it offers, the legacy formula
  and TorchScript. The peer of a row is the fastest of them.
- Forward: eval mode, inference_mode. Step: forward, anchor matching, loss, backward, AdamW, on the same images and
  boxes; reading images, augmentation and gradient clipping are NOT counted.

Each repeat runs everything once, one after the other; the table has the medians. Ratios on a machine with other load
hold as far as the load hits all alike, which the turns are for; milliseconds then do not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from scalesearch.detection import Detector, build_detector, published_detector
from scalesearch.detection.boxes.anchors import flatten_outputs, make_anchors
from scalesearch.detection.boxes.loss import detection_loss
from scalesearch.detection.boxes.matching import match_anchors
from scalesearch.detection.training import DetectorTrainConfig
from scalesearch.measure.optimisation import build_optimizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import effdet
    except ImportError:
        sys.exit("effdet is what this benchmark compares with: install it by pip install 'scalesearch[dev]'")

OURS = "scalesearch"
SPEC = published_detector("efficientdet-d0")
BATCH_SIZES = (1, 4)
STEP_BATCH_SIZE, BOXES_AN_IMAGE = 2, 8
ROWS = ("forward", "step")

Task = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Batch:
    """Images, and the boxes and classes of each."""

    images: Tensor
    boxes_xyxy: list[Tensor]
    labels: list[Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    check_same()
    table = Table(
        title=f"EfficientDet-D0, {SPEC.image_size} px, {options.threads} thread(s), medians of {options.repeats}",
        caption="ratio: the milliseconds over ours; the peer is effdet's fastest",
    )
    for column in ("", "", "ms", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    if "forward" in options.rows:
        for batch_size in BATCH_SIZES:
            add_rows(table, f"forward of {batch_size}", measure(forward_tasks(batch_size), options.repeats))
    if "step" in options.rows:
        add_rows(table, f"step of {STEP_BATCH_SIZE}", measure(step_tasks(), options.repeats))
    Console(highlight=False).print(table)


def measure(tasks: dict[str, Task], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each task, over repeats in which each has its turn."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()  # first calls choose kernels and allocate
        task()
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def add_rows(table: Table, title: str, milliseconds: dict[str, float]) -> None:
    peer = min((name for name in milliseconds if name != OURS), key=lambda name: milliseconds[name])
    for name, value in milliseconds.items():
        ratio = "" if name == OURS else f"{value / milliseconds[OURS]:.2f} x"
        table.add_row(title, f"{name} (the peer)" if name == peer else name, f"{value:.1f}", ratio)
        title = ""
    table.add_section()


def our_detector() -> Detector:
    torch.manual_seed(0)
    return build_detector(SPEC)


def their_detector(**changes: object) -> nn.Module:
    """Return effdet's with our weights."""
    config: Any = effdet.get_efficientdet_config("efficientdet_d0")
    config.redundant_bias = SPEC.redundant_bias
    config.backbone_args = {"drop_path_rate": 0.0}
    config.update(changes)
    network: nn.Module = effdet.EfficientDet(config, pretrained_backbone=False)
    network.load_state_dict(our_detector().state_dict(), strict=True)
    return network


def in_channels_last(module: Any) -> Any:  # noqa: ANN401 - torch has no overload for a memory format alone
    return module.to(memory_format=torch.channels_last)


def forward_tasks(batch_size: int) -> dict[str, Task]:
    images = make_batch(batch_size).images
    ours, plain, turned = our_detector(), their_detector(), their_detector()
    return {
        OURS: forward(in_channels_last(ours), in_channels_last(images)),
        "effdet": forward(plain, images),
        "effdet, channels_last": forward(in_channels_last(turned), in_channels_last(images)),
    }


def forward(network: nn.Module, images: Tensor) -> Task:
    network.eval()

    def run() -> object:
        with torch.inference_mode():
            return network(images)

    return run


def step_tasks() -> dict[str, Task]:
    batch = make_batch(STEP_BATCH_SIZE)
    tasks: dict[str, Task] = {OURS: our_step(in_channels_last(our_detector()), in_channels_last(batch.images), batch)}
    losses = {"": {}, ", legacy loss": {"legacy_focal": True}, ", scripted loss": {"jit_loss": True}}
    for name, changes in losses.items():
        tasks[f"effdet{name}"] = their_step(their_detector(**changes), batch.images, batch)
        turned = in_channels_last(their_detector(**changes))
        tasks[f"effdet, channels_last{name}"] = their_step(turned, in_channels_last(batch.images), batch)
    return tasks


def our_step(detector: Detector, images: Tensor, batch: Batch) -> Task:
    """Return what ``fit_detector`` does at each step, without its running mean and clipping."""
    anchors, optimizer = make_anchors(SPEC), build_optimizer(detector, DetectorTrainConfig())
    detector.train()

    def step() -> float:
        return minimise(our_loss(detector, images, anchors, batch), optimizer)

    return step


def our_loss(detector: Detector, images: Tensor, anchors: Tensor, batch: Batch) -> Tensor:
    matches = [
        match_anchors(anchors, boxes, labels) for boxes, labels in zip(batch.boxes_xyxy, batch.labels, strict=True)
    ]
    logits, offsets = (flatten_outputs(each, SPEC.num_anchors) for each in detector(images))
    return detection_loss(logits, offsets, anchors, matches).total


def their_step(network: nn.Module, images: Tensor, batch: Batch) -> Task:
    bench = effdet.DetBenchTrain(network).train()
    optimizer = build_optimizer(bench, DetectorTrainConfig())
    return lambda: minimise(their_loss(bench, images, batch), optimizer)


def their_loss(bench: nn.Module, images: Tensor, batch: Batch) -> Tensor:
    boxes = [boxes[:, [1, 0, 3, 2]] for boxes in batch.boxes_xyxy]
    loss: Tensor = bench(images, {"bbox": boxes, "cls": [labels + 1 for labels in batch.labels]})["loss"]
    return loss


def minimise(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def make_batch(batch_size: int) -> Batch:
    """Return noise with boxes of 24 to 300 pixels a side."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, SPEC.image_size, SPEC.image_size, generator=generator)
    boxes, labels = [], []
    for _ in range(batch_size):
        corners = 200 * torch.rand(BOXES_AN_IMAGE, 2, generator=generator)
        sides = 24 + 276 * torch.rand(BOXES_AN_IMAGE, 2, generator=generator)
        boxes.append(torch.cat([corners, corners + sides], dim=1))
        labels.append(torch.randint(SPEC.num_classes, (BOXES_AN_IMAGE,), generator=generator))
    return Batch(images, boxes, labels)


def check_same() -> None:
    """Refuse to time two different things."""
    batch, ours, theirs = make_batch(1), our_detector().eval(), their_detector().eval()
    with torch.inference_mode():
        for mine, other in zip(ours(batch.images), theirs(batch.images), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)
    ours, bench = our_detector().train(), effdet.DetBenchTrain(their_detector()).train()
    losses = our_loss(ours, batch.images, make_anchors(SPEC), batch), their_loss(bench, batch.images, batch)
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    main()
