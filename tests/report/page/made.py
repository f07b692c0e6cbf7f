"""A study of any size for the page: networks of a space with costs as they are, and scores that are made up."""

from __future__ import annotations

import random
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.study.store import Record

DISTRIBUTIONS = {"width": IntDistribution(8, 64, step=8), "kernel_size": CategoricalDistribution([3, 5])}
REASON = "CUDA out of memory <b>at once</b>"


def made_arch(draw: random.Random) -> tuple[ArchSpec, dict[str, Any]]:
    """Return a network and the parameters it follows from."""
    width, kernel = draw.randrange(8, 65, 8), draw.choice([3, 5])
    blocks = [
        f"ds_r1_k3_s1_c{draw.randrange(8, 25, 8)}",
        f"ir_r{draw.randint(1, 3)}_k{kernel}_s2_e{draw.randint(2, 6)}_c{width}",
        f"ir_r{draw.randint(1, 4)}_k3_s2_e{draw.randint(2, 6)}_c{draw.randrange(32, 129, 8)}_se0.25",
    ]
    return ArchSpec.from_blocks(blocks, stem_channels=16, head_channels=128, image_size=32), {
        "width": width,
        "kernel_size": kernel,
    }


def made_trial(draw: random.Random, state: str = "COMPLETE", label: str = "", **changes: object) -> FrozenTrial:
    """Return one trial as the record keeps it."""
    arch, params = made_arch(draw)
    cost = network_cost(arch, num_classes=10)
    top1 = min(0.99, 0.2 + 0.1 * (cost.macs / 1e6) ** 0.3 + draw.gauss(0, 0.02))
    measured = {"val_top1": top1, "latency_ms": cost.macs / 1e6 + draw.random(), "train_seconds": 20.0, "steps": 90}
    facts: dict[str, Any] = {"arch_id": arch.arch_id, "blocks": arch.blocks, "arch": arch.to_dict(), "seed": 0}
    facts |= {"image_size": arch.image_size, "label": label, **cost._asdict()}
    if state in ("COMPLETE", "PRUNED", "DUPLICATE"):
        facts |= {"score": measured, "rung_values": [[10, top1 / 2], [30, top1 / 1.3]]}
    if state in ("INFEASIBLE", "DUPLICATE"):
        facts |= {"state": state, "duplicate_of": 0}
    if state == "FAILED":
        facts |= {"reason": REASON}
    told = {"FAILED": TrialState.FAIL, "PRUNED": TrialState.PRUNED, "RUNNING": TrialState.RUNNING}
    values = [0.0 if state == "INFEASIBLE" else top1] if state not in told else None
    trial = create_trial(
        state=told.get(state, TrialState.COMPLETE),
        values=values,
        params=params,
        distributions=DISTRIBUTIONS,
        user_attrs=facts | changes,
    )
    trial.set_constraint("macs", 0.12 if state == "INFEASIBLE" else -0.1)
    return trial


def made_record(num_trials: int, part: str = "search", seed: int = 0) -> Record:
    """Return a part with trials of every state, most of them trained; in memory."""
    draw = random.Random(seed)
    states = ["COMPLETE"] * 14 + ["PRUNED"] * 3 + ["INFEASIBLE", "DUPLICATE", "FAILED"]
    study = optuna.create_study(direction="maximize", study_name=f"made/{part}")
    study.set_user_attr("identity", {"data": {"classes": 10}})
    study.add_trials(made_trial(draw, states[at % len(states)]) for at in range(num_trials))
    return Record(part, study)
