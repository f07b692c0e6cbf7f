"""Which tracker is told of trials, as keys of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from scalesearch.errors import ConfigError

TRACKERS = ("off", "tensorboard", "mlflow", "wandb")


@dataclass(kw_only=True, slots=True)
class TrackerConfig:
    """Who is told of each trial beside the study's record: ``tracker=off``, ``tensorboard``, ``mlflow`` or ``wandb``.

    Attributes:
        method: One of ``TRACKERS``.
        folder: For the files of TensorBoard and W&B; ``trackers/METHOD`` in the study's folder where empty.
        uri: Of MLflow's tracking server or database; an SQLite file in the study's folder where empty.
        project: MLflow's experiment, the study's name where empty; W&B's project, ``scalesearch`` where empty.
    """

    method: str = "off"
    folder: str = ""
    uri: str = ""
    project: str = ""

    def __post_init__(self) -> None:
        if self.method not in TRACKERS:
            raise ConfigError(f"tracker must be one of {', '.join(TRACKERS)}, got {self.method!r}")
        if self.method != "off" and find_spec(self.method) is None:
            raise ConfigError(
                f"tracker={self.method} needs {self.method}; install it with pip install 'scalesearch[{self.method}]'"
            )
