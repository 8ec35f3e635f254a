"""On a GPU the losses give what they give in double precision on the CPU; skipped where there is none."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from noiseproof.losses import Loss

# libraries warn of many things on a GPU that are none of our business
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize(("samples", "classes"), [(7, 2), (128, 10), (33, 1000), (4, 40_000)])
def test_values_and_gradients_are_those_of_double_precision_on_the_cpu(
    loss: Loss, samples: int, classes: int, dtype: torch.dtype
) -> None:
    if classes * loss.hyperparameters.get("p_min", 0) >= 1:
        pytest.skip("p_min leaves no room for so many classes")
    generator = torch.Generator().manual_seed(0)
    rounded = torch.randn(samples, classes, generator=generator).to(dtype)
    target = torch.randint(classes, (samples,), generator=generator)
    target[0] = loss.ignore_index
    on_gpu = rounded.cuda().requires_grad_()
    exact = rounded.double().requires_grad_()
    value, expected = loss(on_gpu, target.cuda()), loss(exact, target)
    (gradient,), (exact_gradient,) = torch.autograd.grad(value, on_gpu), torch.autograd.grad(expected, exact)
    eps = max(torch.finfo(dtype).eps, 1e-6)
    assert value.dtype is gradient.dtype is dtype
    assert_close(value.double().cpu(), expected, rtol=8 * eps, atol=8 * eps)
    scale = exact_gradient.abs().max().item()
    assert_close(gradient.double().cpu(), exact_gradient, rtol=8 * eps, atol=8 * eps * scale)


def test_nothing_waits_for_the_device(loss: Loss) -> None:
    logits = torch.zeros(16, 10, device="cuda", requires_grad=True)
    target = torch.arange(16, device="cuda") % 10
    loss(logits, target).backward()  # compiles first
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(logits, target).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
