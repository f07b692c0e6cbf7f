"""Where scores come from: what a search needs to know of ``score=`` before it proposes anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scalesearch.arch import ArchSpec, SearchSpace
from scalesearch.errors import ConfigError
from scalesearch.measure.scores import Score, ScoreConfig
from scalesearch.measure.scores.supernet import train_supernet
from scalesearch.measure.scores.table import Table
from scalesearch.search.config import SearchConfig
from scalesearch.study.executors import Executor, InlineExecutor
from scalesearch.study.progress import StepsDisplay


@dataclass(frozen=True, slots=True)
class Scoring:
    """A source of scores that is ready.

    Attributes:
        score: By what a job is scored, with every path filled in.
        num_classes: Outputs of the classifier.
        num_steps: Training steps of one candidate.
        identity: What makes two of its scores comparable, in plain values.
        executor: Makes what runs the jobs.
        lacks: Whether a network has no score.
    """

    score: ScoreConfig
    num_classes: int
    num_steps: int
    identity: dict[str, Any]
    executor: Callable[[], Executor]
    lacks: Callable[[ArchSpec], bool]


def open_scoring(config: SearchConfig, space: SearchSpace, method: str) -> Scoring:
    """Make a source of scores ready: load the images or the table, train the supernet.

    Raises:
        ScalesearchError: The images, the table or the supernet's checkpoint cannot be used.
    """
    if method == "table":
        return _open_table(config, space)
    data = config.load_data()
    largest = max(int(size["image_size"]) for size in space.network_settings())
    config.warn_of_upsampling(largest, data)
    score = replace(config.score, method=method)
    identity = config.identity(data)
    if method == "supernet":
        score = replace(score, supernet=replace(score.supernet, path=str(_train_supernet(config, space))))
    if method != "brief":
        identity["score"] = _identity_of(score)
    return Scoring(
        score=score,
        num_classes=data.num_classes,
        num_steps=config.train.num_steps(len(data.train)),
        identity=identity,
        executor=lambda: config.open_executor(data),
        lacks=lambda _: False,
    )


def _open_table(config: SearchConfig, space: SearchSpace) -> Scoring:
    if not config.score.path:
        raise ConfigError("score.path must be given with score=table: the file of known results")
    table = Table.load(Path(config.score.path), space, config.score.missing)

    def look_up(arch: ArchSpec, seed: int) -> Score:
        score = table.score(arch, seed)
        assert score is not None, "a network without a row is gated"
        return score

    return Scoring(
        score=replace(config.score, method="table"),
        num_classes=table.num_classes,
        num_steps=0,
        identity={"table": table.fingerprint, "missing": config.score.missing, "seed": config.seed},
        executor=lambda: InlineExecutor(lambda job: look_up(job.arch, job.seed)),
        lacks=lambda arch: table.lookup(arch, config.seed) is None,
    )


def _train_supernet(config: SearchConfig, space: SearchSpace) -> Path:
    """Return the checkpoint of the space's supernet, trained or trained on to its end where that is still to do."""
    settings = config.score.supernet
    if settings.path:
        return Path(settings.path)
    path = config.folder.checkpoints / "supernet.safetensors"
    with StepsDisplay() as display:
        train_supernet(
            space,
            config.load_data(),
            config.train,
            settings,
            path,
            seed=config.seed,
            device=config.torch_device,
            on_step=lambda done, total: display("supernet", done, total),
        )
    return path


def _identity_of(score: ScoreConfig) -> dict[str, Any]:
    """Return the settings that the scores depend on, but for where files lie."""
    if score.method == "proxy":
        return {"method": score.method, "proxy": score.proxy}
    return {"method": score.method, **{key: value for key, value in asdict(score.supernet).items() if key != "path"}}
