"""SynFlow: the flow from input to output through the absolute weights, which no data enter.

Papers: Tanaka et al. 2020 (arXiv 2006.05467), who prune by it; Abdelfattah et al. 2021 (arXiv 2101.08134), who sum it
over a network to rank architectures.

The network is made linear, so that R, the sum of its outputs, is a sum over paths of products of |w|: BatchNorm is the
identity, and so are activations, as they are (ReLU) or nearly are (SiLU) for the positive values that flow here.
Biases are left out. A squeeze-and-excitation gate lies between 0 and 1 and is taken as 1: synflow does not see it.

Departure: the papers add up |w dR/dw|, which overflows in deep networks. Here the logarithm is returned, in float64
and with the output of every block divided by its largest value, which the logarithm gets back.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scalesearch.measure.scores.proxies.patterns import ACTIVATIONS
from scalesearch.nn.layers import Block, SqueezeExcitation

_LEFT_OUT = (nn.BatchNorm2d, nn.Dropout, SqueezeExcitation, *ACTIVATIONS)


def synflow(network: nn.Module, shape: Sequence[int]) -> float:
    """Return the natural logarithm of the sum over all weights of ``|w dR/dw|``; minus infinity where nothing flows.

    Args:
        network: Of modules that are linear, or among those named above; it is left as it was.
        shape: (C, H, W) of the one image of ones that enters.
    """
    network = copy.deepcopy(network).double().eval()  # eval: no drop path
    weights = _make_linear(network)
    scales = _rescale_blocks(network)
    ones = torch.ones(1, *shape, dtype=torch.float64, device=weights[0].device)
    flow = network(ones).sum()
    gradients = torch.autograd.grad(flow, weights, allow_unused=True)
    total = sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True) if g is not None)
    if total == 0:
        return -math.inf
    return math.log(total) + sum(map(math.log, scales))


def _make_linear(network: nn.Module) -> list[Tensor]:
    """Replace in place what is not linear, make weights absolute and biases 0, and return the weights."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _LEFT_OUT):
                setattr(parent, name, nn.Identity())
    weights = []
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                weights.append(layer.weight.abs_())
                if layer.bias is not None:
                    layer.bias.zero_()
    return weights


def _rescale_blocks(network: nn.Module) -> list[float]:
    """Divide each block's output by its largest value; the list that is returned fills with these in a pass.

    The divisors are constants, so R and its gradients are the true ones over their product.
    """
    scales: list[float] = []

    def divide(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        largest = float(output.detach().max())
        if largest == 0:
            return output
        scales.append(largest)
        return output / largest

    for module in network.modules():
        if isinstance(module, Block):
            module.register_forward_hook(divide)
    return scales
