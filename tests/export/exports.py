"""Small trained networks and detectors, and the folder of a study that keeps them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
import yaml
from torch import nn

from scalesearch.arch import ArchSpec
from scalesearch.data.transforms import Normalisation
from scalesearch.detection.nn.trained import TrainedDetector, save_trained
from scalesearch.measure.trained import TrainedNetwork, save_network
from scalesearch.nn import build_network
from tests.detection.predictors import eager_detector

NORMALISATION = Normalisation(mean=(0.5, 0.25, 0.4), std=(0.25, 0.2, 0.3))
CLASSES = ("cat", "<script>alert(1)</script>\n`[x](y)`", "héron \U0001f600'\"")
ARCH = ArchSpec.from_blocks(
    ["ds_r1_k3_s1_c8", "er_r1_k3_s2_e2_c16", "ir_r2_k3_s2_e3_c16_se0.25"],
    stem_channels=8,
    head_channels=16,
    image_size=32,
    stem_stride=1,
)


def shaken(network: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and affine values of its own, so that a lost one cannot hide."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def new_network(arch: ArchSpec = ARCH, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> TrainedNetwork:
    torch.manual_seed(seed)
    network = build_network(arch, len(classes) or 3)
    shaken(network)
    return TrainedNetwork(network, arch, classes, NORMALISATION if classes else None)


def write_study(
    root: Path, networks: dict[str, TrainedNetwork | TrainedDetector], rows: list[dict[str, object]]
) -> Path:
    """Write the folder of a study without a database: its checkpoints by name, its trials, its configuration."""
    for name, trained in networks.items():
        path = root / "checkpoints" / f"{name}.safetensors"
        if isinstance(trained, TrainedNetwork):
            save_network(trained, path)
        else:
            save_trained(trained, path)
    defaults = {"number": 0, "state": "COMPLETE", "seed": 0}
    root.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{**defaults, **row} for row in rows]).to_csv(root / "trials.csv", index=False)
    data = {"format": "folder", "root": "/home/somebody/private/birds|tar", "stored_size": 48, "loader_workers": 7}
    section = {"seed": 0, "data": data, "train": {"steps": 30, "augmentation": {"flip": True}}}
    (root / "config.yaml").write_text(yaml.safe_dump({"search": section, "family": section}), encoding="utf-8")
    return root


def small_study(results: Path) -> tuple[TrainedNetwork, TrainedNetwork]:
    """Write a study ``small`` with a base and a family of two, and return the family."""
    base, member = new_network(seed=1), new_network(ArchSpec.from_dict({**ARCH.to_dict(), "head_channels": 24}), seed=2)
    ids = base.arch.arch_id, member.arch.arch_id
    rows: list[dict[str, object]] = [
        {"part": "search", "number": 4, "arch_id": ids[0], "val_top1": 0.95},
        *({"part": "family", "arch_id": ids[0], "seed": seed, "val_top1": 0.7, "test_top1": 0.6} for seed in (0, 1)),
        *(
            {"part": "family", "arch_id": ids[1], "seed": seed, "val_top1": top1, "test_top1": top1 - 0.1}
            for seed, top1 in ((0, 0.8), (1, 0.9))
        ),
        {"part": "family", "arch_id": ids[1], "seed": 2, "state": "FAILED"},
    ]
    named = {"base": base, "family-phi0": base, "family-phi1": member}
    write_study(results / "small", named, rows)
    return base, member


def new_detector() -> TrainedDetector:
    trained = eager_detector(neck="fpn", max_level=5)
    torch.manual_seed(0)
    shaken(trained.detector)
    return trained
