"""The sum of the focal loss beside torchvision's, value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from scalesearch.detection.boxes import focal
from scalesearch.detection.boxes.focal import sum_focal_loss


def random_case(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    logits = (6 * torch.randn(*shape, dtype=dtype) - 2).requires_grad_()
    return logits, (torch.rand(*shape) < 0.05).nonzero(as_tuple=True)


def gradient_of(loss: Tensor, logits: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, logits)
    return found


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 1.5), (0.25, 2.0), (0.6, 0.0)])
@pytest.mark.parametrize("size", [7, focal._PIECE])
def test_value_and_gradient_are_torchvisions(
    alpha: float, gamma: float, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focal, "_PIECE", size)  # 7 does not divide what there is
    logits, places = random_case(2, 30, 5)
    targets = torch.zeros_like(logits)
    targets[places] = 1.0
    assert 0 < targets.sum() < 40
    # a factor as that of the number of positives comes after it
    found = 0.3 * sum_focal_loss(logits, places, alpha=alpha, gamma=gamma)
    wanted = 0.3 * sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma, reduction="sum")
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient_of(found, logits), gradient_of(wanted, logits), rtol=1e-5, atol=1e-6)


def test_the_gradient_is_the_losss() -> None:
    logits, places = random_case(3, 4, dtype=torch.float64)
    places = (torch.tensor([0, 2]), torch.tensor([1, 3]))
    assert torch.autograd.gradcheck(lambda x: sum_focal_loss(x, places, alpha=0.25, gamma=1.5), logits)


def test_extreme_logits_have_finite_losses_and_gradients() -> None:
    logits = torch.tensor([-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4]).requires_grad_()
    for places in ((torch.arange(7),), (torch.zeros(0, dtype=torch.int64),)):
        loss = sum_focal_loss(logits, places, alpha=0.5, gamma=1.5)
        assert loss.isfinite()
        assert gradient_of(loss, logits).isfinite().all()


def test_the_layout_in_memory_does_not_matter() -> None:
    logits, places = random_case(6, 4)
    turned = logits.detach().t().contiguous().t().requires_grad_()
    losses = [sum_focal_loss(each, places, alpha=0.25, gamma=1.5) for each in (logits, turned)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(gradient_of(losses[0], logits), gradient_of(losses[1], turned))


def test_without_a_positive_all_are_background() -> None:
    logits, _ = random_case(5, 3)
    nothing = (torch.zeros(0, dtype=torch.int64),) * 2
    found = sum_focal_loss(logits, nothing, alpha=0.25, gamma=1.5)
    wanted = sigmoid_focal_loss(logits, torch.zeros_like(logits), alpha=0.25, gamma=1.5, reduction="sum")
    torch.testing.assert_close(found, wanted)
    assert (gradient_of(found, logits) >= 0).all()
