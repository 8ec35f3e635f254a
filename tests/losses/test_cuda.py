"""Every loss on a GPU, against the equations in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from noiseproof.losses import CATALOGUE, Loss, parse

# libraries warn of many things on a GPU that are none of our business
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("default")]

SUMS = ("nce + mae", "nfl + rce", "2*nfl(gamma=0.5) + 0.5*rce(A=-4)")


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)], ids=str
)
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
@pytest.mark.parametrize("text", [*CATALOGUE, *SUMS])
def test_a_loss_on_the_gpu_is_its_equation(
    reference: Callable[[Loss, Tensor, Tensor], Tensor],
    text: str,
    num_classes: int,
    dtype: torch.dtype,
    rounding: float,
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(64, num_classes, generator=generator)).to(dtype)
    target = torch.randint(num_classes, (64,), generator=generator)
    loss = parse(text, reduction="none")
    expected = reference(loss, logits, target).sum(-1)
    on_gpu = logits.cuda().requires_grad_()
    values = loss(on_gpu, target.cuda())
    assert values.dtype is dtype
    assert (values.double().cpu() - expected).norm() <= rounding * expected.norm()

    exact = logits.double().requires_grad_()
    (slopes,) = torch.autograd.grad(loss(exact, target).sum(), exact)
    (found,) = torch.autograd.grad(values.sum(), on_gpu)
    underflow = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps * slopes.numel() ** 0.5
    assert (found.double().cpu() - slopes).norm() <= rounding * slopes.norm() + underflow
