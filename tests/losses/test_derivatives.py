"""Derivatives: first and second, by autograd, `torch.func` and `torch.compile`, and at the extremes."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close

from noiseproof.losses import CATALOGUE, Loss, functional, parse


def gradient(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(logits, target), logits)[0]


# -------------------------------------------------------------------------------------- right values


@pytest.mark.parametrize("shape", [(3, 4)], ids=str)
def test_first_and_second_derivatives_are_those_of_the_values(
    loss: Loss, logits: Tensor, target: Tensor
) -> None:
    logits = (logits / 3).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits, target))
    assert torch.autograd.gradgradcheck(loss, (logits, target))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_the_focal_factor_is_differentiated(logits: Tensor, target: Tensor, gamma: float) -> None:
    logits.requires_grad_()
    functional.focal_loss(logits, target, gamma=gamma, reduction="sum").backward()  # type: ignore[no-untyped-call]

    p = logits.detach().softmax(-1)
    p_y = p.gather(-1, target[:, None])
    one_hot = torch.nn.functional.one_hot(target, logits.shape[1])
    of_log = -((1 - p_y) ** gamma)
    of_factor = gamma * (1 - p_y) ** (gamma - 1) * p_y * p_y.log()
    assert of_factor.abs().max() > 0.1  # detached, the gradient would miss this part
    assert_close(logits.grad, (of_log + of_factor) * (one_hot - p))


def test_gradients_sum_to_0_over_the_classes(loss: Loss, logits: Tensor, target: Tensor) -> None:
    # a constant added to all logits changes no probability
    sums = gradient(loss, logits, target).sum(-1)
    assert_close(sums, torch.zeros_like(sums), rtol=0, atol=1e-13)
    assert gradient(loss, logits, target).abs().max() > 1e-4


# ------------------------------------------------------------------------------------ transformations


def test_func_grad_and_vmap_give_per_sample_gradients(loss: Loss, logits: Tensor, target: Tensor) -> None:
    one_by_one = torch.stack([gradient(loss, z, y) for z, y in zip(logits, target, strict=True)])
    assert_close(torch.func.vmap(torch.func.grad(loss))(logits, target), one_by_one)
    assert_close(torch.func.grad(loss)(logits, target), one_by_one / len(logits))


def check_compiled(losses: list[Loss], backend: str, logits: Tensor, target: Tensor) -> None:
    """Compare values and gradients; one graph holds all losses, as each compilation takes seconds."""

    def values(logits: Tensor, target: Tensor) -> Tensor:
        return torch.stack([loss(logits, target) for loss in losses])

    target[0] = losses[0].ignore_index
    logits.requires_grad_()
    expected = values(logits, target)
    compiled = torch.compile(values, backend=backend, fullgraph=True)(logits, target)
    assert_close(compiled, expected)
    for eager, fast in zip(expected, compiled, strict=True):
        (of_eager,) = torch.autograd.grad(eager, logits, retain_graph=True)
        (of_fast,) = torch.autograd.grad(fast, logits, retain_graph=True)
        assert_close(of_fast, of_eager)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("text", CATALOGUE)
def test_what_is_traced_is_the_loss_and_not_its_value(text: str) -> None:
    generator = torch.Generator().manual_seed(0)
    loss, (here, there) = parse(text), torch.randn(2, 6, 4, generator=generator)
    target, other = torch.randint(4, (2, 6), generator=generator)
    by_jit = torch.jit.trace(loss, (here, target))  # type: ignore[no-untyped-call]
    for traced in (by_jit, make_fx(loss)(here, target)):
        assert_close(traced(there, other), loss(there, other))


def test_a_formula_can_be_hashed_before_it_has_its_fields(loss: Loss) -> None:
    """The compiler of PyTorch before 2.13 does so with whatever is made and called in what it compiles."""
    kind = type(loss.formula())
    assert isinstance(hash(kind.__new__(kind)), int)


def test_every_loss_compiles_without_a_graph_break(logits: Tensor, target: Tensor) -> None:
    losses = [cls() for cls in CATALOGUE.values()]
    losses += [parse("nce + 0.5*mae"), parse("normalized(fl(gamma=2) + mae)")]
    check_compiled(losses, "aot_eager", logits, target)


# torch's own import of inductor uses what torch deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_computes_the_same(logits: Tensor, target: Tensor) -> None:
    check_compiled([parse("nfl + mae")], "inductor", logits, target)


# ------------------------------------------------------------------------------------------- extremes

FAR = 1e4
ROWS = {
    "sure and right": ([FAR, -FAR, -FAR], 0),
    "sure and wrong": ([FAR, -FAR, -FAR], 2),
    "sure of two": ([FAR, FAR, -FAR], 1),
    "undecided, high": ([FAR, FAR, FAR], 1),
    "undecided": ([0.0, 0.0, 0.0], 1),
    "undecided, low": ([-FAR, -FAR, -FAR], 1),
    # where 1 - p comes close to the rounding error of each dtype, and the derivatives of u**gamma are steep
    "nearly sure, float32": ([16.6, 0.0, 0.0], 0),
    "nearly sure, float64": ([36.7, 0.0, 0.0], 0),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_values_and_two_derivatives_are_finite_at_extreme_logits(loss: Loss, dtype: torch.dtype) -> None:
    loss.reduction = "none"
    logits = torch.tensor([row for row, _ in ROWS.values()], dtype=dtype, requires_grad=True)
    values = loss(logits, torch.tensor([label for _, label in ROWS.values()]))
    (first,) = torch.autograd.grad(values, logits, torch.ones_like(values), create_graph=True)
    (second,) = torch.autograd.grad(first.double().square().sum(), logits)
    for row, *results in zip(ROWS, values, first, second, strict=True):
        assert all(result.isfinite().all() for result in results), (row, results)


def test_a_sure_right_answer_has_no_gradient_and_a_sure_wrong_one_has_cross_entropys() -> None:
    logits = torch.tensor([[FAR, -FAR, -FAR]])
    smooth = {"ls", "bitempered"}  # one wants no answer to be sure, the other's tails are heavy
    for name in CATALOGUE.keys() - smooth:
        assert torch.equal(gradient(parse(name), logits, torch.tensor([0])), torch.zeros(1, 3)), name
    for name in ("ce", "fl"):
        pull = gradient(parse(name), logits, torch.tensor([1]))
        assert_close(pull, torch.tensor([[1.0, -1.0, 0.0]]))
