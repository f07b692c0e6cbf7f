"""Where candidates run, as keys of the command line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from scalesearch.errors import ConfigError

EXECUTORS = ("local", "ray", "slurm")

_OURS = ("array", "cpus-per-task", "error", "gpus-per-node", "mem", "ntasks", "open-mode", "output", "signal", "time")


@dataclass(kw_only=True, slots=True)
class ExecutorConfig:
    """Where candidates run: ``executor=local``, ``executor=ray`` or ``executor=slurm``.

    Attributes:
        kind: ``local``: processes of this machine; ``ray``: tasks of a Ray cluster; ``slurm``: jobs of a Slurm cluster,
            which see the same files as this machine.
        address: Of a running Ray cluster, as ``auto`` or ``HOST:PORT``; where empty a local one is begun.
        partition: Slurm's; its default where empty.
        minutes: Of a Slurm job, after which Slurm ends it; its candidate goes on in another.
        requeues: Times it goes on in another because the minutes were over; a pre-emption does not count.
        sbatch: What else Slurm is told, as ``--account=vision --constraint=a100 --exclusive``.
        cluster: ``slurm``, or ``local`` to try Slurm's way with processes of this machine.
    """

    kind: str = "local"
    address: str = ""
    partition: str = ""
    minutes: int = 60
    requeues: int = 10
    sbatch: str = ""
    cluster: str = "slurm"

    def __post_init__(self) -> None:
        if self.kind not in EXECUTORS:
            raise ConfigError(f"executor must be one of {', '.join(EXECUTORS)}, got {self.kind!r}")
        if self.cluster not in ("slurm", "local"):
            raise ConfigError(f"executor.cluster must be one of slurm, local, got {self.cluster!r}")
        if self.minutes < 1:
            raise ConfigError(f"executor.minutes must be at least 1, got {self.minutes}")
        if self.requeues < 0:
            raise ConfigError(f"executor.requeues must be at least 0, got {self.requeues}")
        for option in shlex.split(self.sbatch):
            if option.removeprefix("--").partition("=")[0] in _OURS:
                raise ConfigError(f"executor.sbatch must leave {', '.join(_OURS)} to other keys, got {option!r}")


@dataclass(kw_only=True, slots=True)
class ResourcesConfig:
    """What one candidate declares to need, beside ``threads``, where candidates are placed by a cluster.

    Attributes:
        gpus: Devices, a share where several candidates fit on one; 0 runs on the processor.
    """

    gpus: float = 0.0

    def __post_init__(self) -> None:
        if not self.gpus >= 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise ConfigError(f"resources.gpus must be a share of one, or a whole number, got {self.gpus}")
