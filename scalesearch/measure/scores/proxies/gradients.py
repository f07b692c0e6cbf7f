"""Proxies from the gradient of the loss at random weights: its norm, and how steady it is from batch to batch.

Both look at the weights of convolutions and linear layers alone, with BatchNorm by the statistics of the batch, as the
papers' released code does.

Papers: grad_norm, Abdelfattah et al. 2021 (arXiv 2101.08134); zico, Li et al. 2023 (arXiv 2301.11300), whose code
takes the deviation of the gradient itself, not of its absolute value as the paper's formula has it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch: TypeAlias = tuple[Tensor, Tensor]


def grad_norm(network: nn.Module, batch: Batch) -> float:
    """Return the sum over layers of the Euclidean norm of the cross-entropy's gradient.

    Args:
        network: Gives logits (N, num_classes); it is left as it was.
        batch: Images (N, C, H, W) and class indices (N,).
    """
    return float(sum(gradient.norm() for gradient in layer_gradients(network, batch)))


def zico(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Return the sum over layers of ``log(sum over weights of mean |gradient| / std of the gradient)`` over batches.

    Weights whose gradient is the same in all batches, and layers without any other, do not count: those of a unit
    that is never active, for one.

    Args:
        network: Gives logits (N, num_classes); it is left as it was.
        batches: At least two of images (N, C, H, W) and class indices (N,).
    """
    assert len(batches) >= 2, "one batch has no deviation"
    by_batch = [layer_gradients(network, batch) for batch in batches]
    total = 0.0
    for gradients in zip(*by_batch, strict=True):
        stacked = torch.stack(gradients).double()
        deviation = stacked.std(0, correction=0)
        moves = deviation != 0  # a NaN stays in, so that it is seen
        steadiness = (stacked.abs().mean(0)[moves] / deviation[moves]).sum()
        total += float(steadiness.log()) if steadiness != 0 else 0.0
    return total


def layer_gradients(network: nn.Module, batch: Batch) -> list[Tensor]:
    """Return the gradient of the mean cross-entropy by each layer's weights, in the order of the layers."""
    network = copy.deepcopy(network).train()  # a pass in training moves BatchNorm's running statistics
    weights = [layer.weight for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    images, targets = batch
    return list(torch.autograd.grad(F.cross_entropy(network(images), targets), weights))
