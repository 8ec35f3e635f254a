"""The fused pass gives what the plain formulas give, in every reduction, precision and derivative."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from noiseproof.losses import CATALOGUE, Loss, fused, parse

Evaluate = Callable[[Loss, Tensor, Tensor], tuple[Tensor, Tensor]]

FunctionOf = Callable[[str], Callable[..., Tensor]]
PeakBytes = Callable[[Callable[[], object]], int]


@pytest.fixture(autouse=True)
def in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "SMALLEST", 0)
    monkeypatch.setattr(fused, "SMALLEST_WITHOUT_SUMS", 0)
    monkeypatch.setattr(fused, "BLOCK", 3 * 5)  # three rows, so the last block is smaller


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch, value_and_gradient: Evaluate) -> Evaluate:
    """As `value_and_gradient`, by the plain formulas."""

    def evaluate(loss: Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        with monkeypatch.context() as patch:
            patch.setattr(fused, "SMALLEST", 1 << 60)
            patch.setattr(fused, "SMALLEST_WITHOUT_SUMS", 1 << 60)
            return value_and_gradient(loss, logits, target)

    return evaluate


def was_fused(value: Tensor) -> bool:
    return type(value.grad_fn).__name__ == "_FusedBackward"


# ------------------------------------------------------------------------------------- what is fused

FUSED = [name for name in CATALOGUE if name not in ("ce_eps", "fl_eps", "bitempered", "nl")]
"""The others are no functions of log p_y and sums over the classes."""


def test_every_loss_of_the_study_is_fused(logits: Tensor, target: Tensor) -> None:
    study = ["nfl+mae", "nfl+rce", "nce+mae", "nce+rce", "2*nfl(gamma=2) + 0.5*(rce + ce)", "normalized(mae)"]
    for text in [*FUSED, *study]:
        loss = parse(text)
        assert loss.formula().on_rows() is not None, text
        assert was_fused(loss(logits.requires_grad_(), target)), text


def test_small_logits_are_left_to_pytorch(
    logits: Tensor, target: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "SMALLEST", logits.numel() + 1)
    assert not was_fused(parse("nce")(logits.requires_grad_(), target))
    assert was_fused(parse("ce")(logits, target))  # whose threshold is its own


# ----------------------------------------------------------------------------------------- the same


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ignored", [0, 3, 16])
def test_values_and_gradients_are_those_of_the_plain_formulas(
    loss: Loss,
    logits: Tensor,
    target: Tensor,
    plainly: Evaluate,
    reduction: str,
    ignored: int,
    value_and_gradient: Evaluate,
) -> None:
    loss.reduction = reduction  # type: ignore[assignment]
    target[:ignored] = loss.ignore_index
    found, expected = value_and_gradient(loss, logits, target), plainly(loss, logits, target)
    assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_an_ignored_class_is_ignored(
    logits: Tensor, target: Tensor, plainly: Evaluate, value_and_gradient: Evaluate
) -> None:
    loss = parse("nce + mae", ignore_index=2)
    assert_close(value_and_gradient(loss, logits, target), plainly(loss, logits, target))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_no_precision_is_lost(
    loss: Loss,
    logits: Tensor,
    target: Tensor,
    plainly: Evaluate,
    dtype: torch.dtype,
    scale: float,
    value_and_gradient: Evaluate,
) -> None:
    logits = (logits.clamp(-1, 1) * scale).to(dtype)
    value, gradient = value_and_gradient(loss, logits, target)
    exact_value, exact_gradient = plainly(loss, logits.double(), target)
    eps = torch.finfo(dtype).eps
    if loss.name == "nl":  # which depends on differences of log p, and these have no more digits
        eps *= scale
    assert value.dtype == gradient.dtype == dtype
    assert_close(value.double(), exact_value, rtol=4 * eps, atol=4 * eps)
    assert_close(gradient.double(), exact_gradient, rtol=4 * eps, atol=4 * eps)


def test_a_large_common_part_of_the_logits_costs_no_digits(
    plainly: Evaluate, value_and_gradient: Evaluate
) -> None:
    # as a difference of log-partitions, 30,000 would leave the probabilities three digits in float32
    logits = torch.tensor([[3e4, 3e4 + 1, 3e4 + 2]])
    found = value_and_gradient(parse("nce"), logits, torch.tensor([0]))
    expected = plainly(parse("nce"), logits - 3e4, torch.tensor([0]))
    assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_the_functions_are_fused_too(logits: Tensor, target: Tensor, function_of: FunctionOf) -> None:
    logits.requires_grad_()
    for name in FUSED:
        function = function_of(name)
        assert was_fused(function(logits, target)), name


# ------------------------------------------------------------------------------ further derivatives


@pytest.mark.parametrize("shape", [(4, 3)], ids=str)
def test_second_derivatives(loss: Loss, logits: Tensor, target: Tensor) -> None:
    logits = (logits / 3).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits, target))
    assert torch.autograd.gradgradcheck(loss, (logits, target))


def test_a_graph_can_be_kept_and_used_again(logits: Tensor, target: Tensor) -> None:
    logits.requires_grad_()
    value = parse("nfl + mae")(logits, target)
    first = torch.autograd.grad(value, logits, retain_graph=True)
    assert_close(torch.autograd.grad(value, logits), first, rtol=0, atol=0)


def test_many_gradients_at_once(logits: Tensor, target: Tensor) -> None:
    logits.requires_grad_()
    values = parse("nce + mae", reduction="none")(logits, target)
    eye = torch.eye(len(values), dtype=values.dtype)
    (batched,) = torch.autograd.grad(values, logits, eye, is_grads_batched=True, retain_graph=True)
    one_by_one = [torch.autograd.grad(values, logits, row, retain_graph=True)[0] for row in eye]
    assert_close(batched, torch.stack(one_by_one))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # PyTorch's own doing
def test_forward_mode(logits: Tensor, target: Tensor, value_and_gradient: Evaluate) -> None:
    loss = parse("nce + mae")
    tangent = torch.ones_like(logits).cumsum(1)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(logits, tangent)  # type: ignore[no-untyped-call]
        found = torch.autograd.forward_ad.unpack_dual(loss(dual, target)).tangent  # type: ignore[no-untyped-call]
    _, gradient = value_and_gradient(loss, logits, target)
    assert_close(found, (gradient / 0.5 * tangent).sum())


# ------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("text", ["ce", "nce", "nfl", "nce+mae", "nfl+rce"])
def test_memory_is_the_gradient_and_blocks(
    text: str, monkeypatch: pytest.MonkeyPatch, peak_bytes: PeakBytes
) -> None:
    monkeypatch.setattr(fused, "BLOCK", 1 << 17)
    logits = torch.zeros(64, 32_000, requires_grad=True)  # 8 MB
    target = torch.arange(64)

    def backward(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(logits, target), logits)

    peak = peak_bytes(backward(parse(text)))
    size = logits.numel() * logits.element_size()
    assert size <= peak < size + 8 * 4 * fused.BLOCK  # a few blocks of float32
    assert peak < peak_bytes(backward(F.cross_entropy))
