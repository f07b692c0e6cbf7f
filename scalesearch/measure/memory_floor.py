"""The memory that a training takes at least, in closed form: what is foreseen before anything is built."""

from __future__ import annotations

import math

from scalesearch.arch import ArchSpec, network_cost
from scalesearch.errors import ConfigError
from scalesearch.measure.optimisation import OPTIMIZERS, OptimisationConfig
from scalesearch.measure.probe import check_counts

_OPTIMIZER_COPIES = {"sgd": 1, "rmsprop": 2, "adamw": 2}  # running means that each keeps of every parameter


def memory_floor_mib(
    arch: ArchSpec,
    batch_size: int,
    *,
    num_classes: int = 1000,
    optimizer: str = "adamw",
    averaged: bool = False,
    amp: bool = False,
) -> float:
    """Return the memory that training the network takes at least, by what must be alive when the backward pass begins.

    Counted are parameters with their gradients and the optimiser's running means, and of each convolution's output the
    values that autograd keeps: the convolution's own, BatchNorm's, and, but for ReLU, which works in place, the
    activation's. NOT counted are the products of squeeze-and-excitation, gradients of activations, kernels' workspace,
    torch itself, and the images.

    Measured: the resident memory that two training steps added on a CPU was 1.10 to 1.22 times this floor for six
    networks with SiLU or hardswish (EfficientNet-B0, B1 and B3, and three of other blocks; 64 to 300 px, batches of 8
    to 256), and 1.39 and 1.74 times for two with ReLU. With ``amp`` it is assumed, not measured.

    Args:
        arch: The network, at its own image size.
        batch_size: Images a step.
        num_classes: Outputs of the classifier.
        optimizer: ``adamw``, ``rmsprop`` or ``sgd``, the latter two with momentum.
        averaged: Whether a running mean of the weights is kept.
        amp: Whether activations have two bytes, not four.

    Raises:
        ConfigError: ``batch_size`` is below 1, or there is no such optimiser.
    """
    check_counts(batch_size=batch_size)
    if optimizer not in OPTIMIZERS:
        raise ConfigError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    cost = network_cost(arch, num_classes=num_classes)
    copies = 2 + _OPTIMIZER_COPIES[optimizer] + averaged
    kept = 2 if arch.activation == "relu" else 3
    return (4 * copies * cost.params + (2 if amp else 4) * kept * cost.acts * batch_size) / 2**20


def training_floor_mib(
    arch: ArchSpec, train: OptimisationConfig, device: str, *, num_images: float = math.inf, num_classes: int = 1
) -> float:
    """Return what a configured training takes at least; as a rule without the classifier, whose outputs the data say.

    Args:
        arch: The network, at its own image size.
        train: The training.
        device: ``cpu`` or ``cuda``: mixed precision is CUDA's.
        num_images: Images there are, where a step may want more.
        num_classes: Outputs of the classifier.
    """
    return memory_floor_mib(
        arch,
        int(min(train.batch_size, num_images)),
        num_classes=num_classes,
        optimizer=train.optimizer,
        averaged=train.ema_decay > 0,
        amp=train.amp and device != "cpu",
    )
