"""Every network of a study with its costs, its scores and its trainings; what has no score, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial

from scalesearch.report.info import FrontierInfo
from scalesearch.report.page.payload import Network, Pair, Run, number
from scalesearch.study.store import state_of

COSTS = ("macs", "params", "acts", "latency_ms", "peak_memory_mib")
SCORES = ("val_top1", "test_top1", "val_ap")

Trials = Iterable[tuple[str, Sequence[FrozenTrial]]]
"""Of each part."""


def list_networks(trials: Trials, infos: Sequence[FrontierInfo]) -> list[Network]:
    """Return the networks with a score, a part after the other in rising macs, then trials that have none.

    Args:
        trials: Of the record.
        infos: Of all pairs of axes, as ``frontier_info`` gives them: means and standard errors are theirs.
    """
    networks: dict[tuple[str, str], Network] = {}
    for info in infos:
        for point in info.points:
            found = networks.setdefault((point.series, point.arch_id), _scored(point.series, point.arch_id))
            found["label"] = point.label
            found["costs"][info.cost_name] = point.cost
            found["scores"][info.score_name] = (point.score, number(point.standard_error), point.num_seeds)
    others = []
    for part, part_trials in trials:
        for trial in part_trials:
            network = networks.get((part, trial.user_attrs.get("arch_id", "")))
            if network is not None and state_of(trial) == "COMPLETE":
                network["runs"].append(_run(trial))
            else:
                others.append(_unscored(part, trial))
    return [*networks.values(), *others]


def _scored(part: str, arch_id: str) -> Network:
    name = f"{part}:{arch_id}"
    return Network(
        id=name, part=part, arch_id=arch_id, label="", state="COMPLETE", reason="", costs={}, scores={}, runs=[]
    )


def _unscored(part: str, trial: FrozenTrial) -> Network:
    """Return a trial that is not among the networks; a pruned one has what it read when it was stopped."""
    facts, measured = trial.user_attrs, trial.user_attrs.get("score", {})
    costs = {name: number({**facts, **measured}.get(name)) for name in COSTS}
    scores = {name: number(measured.get(name)) for name in SCORES}
    return Network(
        id=f"{part}:#{trial.number}",
        part=part,
        arch_id=str(facts.get("arch_id", "")),
        label=str(facts.get("label", "")),
        state=state_of(trial),
        reason=_reason(trial),
        costs={name: cost for name, cost in costs.items() if cost is not None},
        scores={name: (score, None, 1) for name, score in scores.items() if score is not None},
        runs=[_run(trial)],
    )


def _run(trial: FrozenTrial) -> Run:
    measured = trial.user_attrs.get("score", {})
    scores = (number(measured.get(name)) for name in ("val_top1", "val_ap"))
    return Run(
        number=trial.number,
        seed=trial.user_attrs.get("seed"),
        score=next((score for score in scores if score is not None), None),
        train_seconds=number(measured.get("train_seconds")),
        steps=measured.get("steps"),
        readings=_readings(trial),
    )


def _readings(trial: FrozenTrial) -> list[Pair]:
    """Return (steps, score) at the rungs and, where the training went on from there, at its end."""
    measured = trial.user_attrs.get("score", {})
    readings = [(float(steps), float(worth)) for steps, worth in trial.user_attrs.get("rung_values", [])]
    steps, score = measured.get("steps"), number(measured.get("val_top1"))
    if readings and steps and score is not None and steps > readings[-1][0]:
        readings.append((float(steps), score))
    return readings


def _reason(trial: FrozenTrial) -> str:
    facts, state = trial.user_attrs, state_of(trial)
    if state == "INFEASIBLE":
        over = {name: excess for name, excess in trial.constraints.items() if excess > 0}
        return "over the limit: " + ", ".join(f"{name} by {excess:.0%}" for name, excess in over.items())
    if state == "PRUNED":
        return f"stopped at rung {facts.get('rung', '')}, after {facts.get('score', {}).get('steps', '?')} steps"
    if state == "DUPLICATE":
        return f"the network of trial {facts.get('duplicate_of', '?')}, whose values it was told"
    return str(facts.get("reason", "")) if state == "FAILED" else ""


def finished(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials have ended."""
    return sum(trial.state.is_finished() for trial in trials)
