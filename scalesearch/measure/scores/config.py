"""How a candidate is scored; the schema of ``score.*`` on the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from scalesearch.errors import ConfigError

METHODS = ("brief", "supernet", "proxy", "table")
PROPOSERS = ("none", "supernet", "proxy")
PROXIES = ("synflow", "naswot", "zico", "grad_norm", "params", "macs")
MISSING = ("infeasible", "fill")
SAMPLING = ("uniform", "sandwich")


@dataclass(kw_only=True, slots=True)
class SupernetConfig:
    """The weight-sharing network of a space and how it is trained.

    Attributes:
        path: Checkpoint to take; the study's own, trained when it is first needed, where it is not given.
        steps: Optimiser steps of its training.
        sampling: ``uniform`` trains one random network a step; ``sandwich`` the largest, the smallest and two random
            ones (arXiv 1903.05134).
        distillation: Whether the smaller networks of a sandwich step learn from the largest one's outputs in place of
            the labels.
        batch_norm_images: Training images on which a candidate's BatchNorm statistics are estimated anew.
        save_every: Steps between two checkpoints, from which an interrupted training goes on.
    """

    path: str = ""
    steps: int = 2000
    sampling: str = "sandwich"
    distillation: bool = True
    batch_norm_images: int = 1024
    save_every: int = 200

    def __post_init__(self) -> None:
        _check_choice("supernet.sampling", self.sampling, SAMPLING)
        for name in ("steps", "batch_norm_images", "save_every"):
            _check_least(f"supernet.{name}", getattr(self, name), 1)


@dataclass(kw_only=True, slots=True)
class ScoreConfig:
    """What a candidate is worth.

    Attributes:
        method: ``brief`` trains it briefly; ``supernet`` evaluates it with the weights of one network trained for the
            whole space; ``proxy`` reads it before any training; ``table`` looks it up among known results.
        propose: Two-step search: ``supernet`` or ``proxy`` scores ``propose_trials`` networks, and only the best of
            them go on to ``method``.
        propose_trials: Networks of the first step.
        proxy: ``synflow``, ``naswot``, ``zico``, ``grad_norm``, or ``params`` and ``macs`` as the baseline.
        path: File of the table.
        missing: A network the table lacks is ``infeasible``, or filled from a regressor (``fill``).
        supernet: The weight-sharing network.
    """

    method: str = "brief"
    propose: str = "none"
    propose_trials: int = 200
    proxy: str = "naswot"
    path: str = ""
    missing: str = "infeasible"
    supernet: SupernetConfig = field(default_factory=SupernetConfig)

    def __post_init__(self) -> None:
        _check_choice("method", self.method, METHODS)
        _check_choice("propose", self.propose, PROPOSERS)
        _check_choice("proxy", self.proxy, PROXIES)
        _check_choice("missing", self.missing, MISSING)
        _check_least("propose_trials", self.propose_trials, 1)


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"score.{name} must be one of {', '.join(allowed)}, got {value!r}")


def _check_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise ConfigError(f"score.{name} must be at least {least:g}, got {value}")
