"""NASWOT: how differently a network of random weights sees the images of one batch.

Paper: Mellor et al. 2021 (arXiv 2006.04647), section 3. There a unit's activity is whether its ReLU lets it through.
Departure: our networks mostly have SiLU, which is negative, not 0, below 0. The pattern is the sign of what enters
every activation module, those within squeeze-and-excitation included, whichever function it is.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from scalesearch.errors import DivergenceError

ACTIVATIONS = (nn.SiLU, nn.ReLU, nn.Hardswish)


def naswot(network: nn.Module, images: Tensor) -> float:
    """Return the log determinant of the kernel of the images' activation patterns.

    The kernel of two images is the number of units in which their patterns agree: the number of units less the
    Hamming distance. BatchNorm takes the statistics of the batch.

    Args:
        network: With activation modules; it is left as it was.
        images: (N, C, H, W).

    Raises:
        DivergenceError: The kernel is singular, as where two images have one pattern, or an activation is not finite.
    """
    kernel = pattern_kernel(network, images)
    eigenvalues = torch.linalg.eigvalsh(kernel)
    # of a singular matrix rounding leaves small values of either sign, and their logarithm would mean nothing
    noise = float(eigenvalues.abs().max()) * len(kernel) * torch.finfo(kernel.dtype).eps
    if not float(eigenvalues.min()) > noise:
        raise DivergenceError(f"naswot: the activation patterns of {len(kernel)} images do not tell all of them apart")
    return float(eigenvalues.log().sum())


def pattern_kernel(network: nn.Module, images: Tensor) -> Tensor:
    """Return for each two images the number of units that agree, float64 (N, N)."""
    network = copy.deepcopy(network).train()
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not bool(inputs[0].isfinite().all()):
            raise DivergenceError("naswot: an activation is not finite")
        # of +1 and -1 a product counts agreements less disagreements; float32 is exact up to 2^24 units
        pattern = (inputs[0].flatten(1) > 0).float().mul_(2).sub_(1)
        kernel.add_((pattern @ pattern.T).double().add_(pattern.shape[1]).div_(2))

    for module in network.modules():
        if isinstance(module, ACTIVATIONS):
            module.register_forward_pre_hook(count)  # before it: it works in place
    with torch.no_grad():
        network(images)
    return kernel
