"""What the losses compute: the study's equations, as class and as function, in every layout and dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.testing import assert_close

from noiseproof.losses import CATALOGUE, CrossEntropy, Loss, functional
from noiseproof.losses.checks import Reduction

FunctionOf = Callable[[str], Callable[..., Tensor]]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)


# ------------------------------------------------------------------------------------ the equations


def test_the_reference_covers_the_catalogue(equations: dict[str, object]) -> None:
    assert equations.keys() == CATALOGUE.keys()


@pytest.mark.parametrize("shape", [(1, 2), (7, 3), (16, 10), (4, 100)], ids=str)
def test_each_loss_is_the_sum_of_its_terms_in_the_study(
    loss: Loss, logits: Tensor, target: Tensor, reference: Callable[..., Tensor]
) -> None:
    loss.reduction = "none"
    assert_close(loss(logits, target), reference(loss, logits, target).sum(-1), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_function_equals_class(
    registered: Loss,
    logits: Tensor,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
    function_of: FunctionOf,
) -> None:
    registered.reduction, registered.ignore_index = reduction, ignore_index
    options = registered.hyperparameters | {"reduction": reduction, "ignore_index": ignore_index}
    assert torch.equal(function_of(registered.name)(logits, target, **options), registered(logits, target))


def test_function_and_class_share_their_defaults(
    logits: Tensor, target: Tensor, function_of: FunctionOf
) -> None:
    for cls in CATALOGUE.values():
        assert torch.equal(function_of(cls.name)(logits, target), cls()(logits, target)), cls.name


def test_every_loss_is_a_function_too(function_of: FunctionOf) -> None:
    assert sorted(functional.__all__) == sorted(function_of(name).__name__ for name in CATALOGUE)


@pytest.mark.parametrize("shape", [(9, 2), (9, 10)], ids=str)
@pytest.mark.parametrize("A", [-4, -9.21])
def test_nmae_and_nrce_are_scaled_mae_and_rce(logits: Tensor, target: Tensor, A: float) -> None:
    others = logits.shape[1] - 1
    mae, rce = functional.mean_absolute_error(logits, target), functional.reverse_cross_entropy
    assert_close(functional.normalized_mean_absolute_error(logits, target), mae / (2 * others))
    assert_close(
        functional.normalized_reverse_cross_entropy(logits, target, A=A),
        rce(logits, target, A=A) / (-A * others),
    )


def test_gamma_0_makes_focal_loss_cross_entropy(logits: Tensor, target: Tensor) -> None:
    f = functional
    assert_close(f.focal_loss(logits, target, gamma=0), f.cross_entropy(logits, target))
    assert_close(f.normalized_focal_loss(logits, target, gamma=0), f.normalized_cross_entropy(logits, target))


# ----------------------------------------------------------------------------- layouts and reductions


@pytest.mark.parametrize("shape", [(5,), (16, 5), (3, 5, 4), (3, 5, 4, 2)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignore_index", [-100, -1, 2])
def test_cross_entropy_is_torchs(
    logits: Tensor, target: Tensor, reduction: Reduction, ignore_index: int
) -> None:
    if target.dim() > 0:
        target[0] = ignore_index
    expected = torch_cross_entropy(logits, target, reduction=reduction, ignore_index=ignore_index)
    assert_close(CrossEntropy(reduction=reduction, ignore_index=ignore_index)(logits, target), expected)


@pytest.mark.parametrize("shape", [(3, 5, 4, 2)], ids=str)
def test_positions_of_an_image_are_samples(loss: Loss, logits: Tensor, target: Tensor) -> None:
    loss.reduction = "none"
    rows = logits.permute(0, 2, 3, 1).reshape(-1, 5)
    values = loss(logits, target)
    assert_close(values.flatten(), loss(rows, target.flatten()))
    assert_close(values[0, 0, 0], loss(rows[0], target[0, 0, 0]))


def test_mean_and_sum_leave_ignored_labels_out(loss: Loss, logits: Tensor, target: Tensor) -> None:
    target[::3] = loss.ignore_index
    used = target != loss.ignore_index

    loss.reduction = "none"
    values = loss(logits, target)
    assert torch.equal(values[~used], torch.zeros_like(values[~used]))
    assert_close(values[used], loss(logits[used], target[used]))
    loss.reduction = "sum"
    assert_close(loss(logits, target), values.sum())
    loss.reduction = "mean"
    assert_close(loss(logits, target), values[used].mean())


def test_an_ignored_position_counts_0_where_its_value_would_be_infinite(
    loss: Loss, logits: Tensor, target: Tensor
) -> None:
    target[0] = loss.ignore_index
    expected = loss(logits, target)
    logits[0, :2] = -torch.inf
    assert torch.equal(loss(logits, target), expected)


def test_with_every_label_ignored_loss_and_gradient_are_0(loss: Loss, logits: Tensor, target: Tensor) -> None:
    logits.requires_grad_()
    value = loss(logits, torch.full_like(target, loss.ignore_index))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


# -------------------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_result_has_the_dtype_of_the_logits_and_is_as_exact_as_that_allows(
    loss: Loss, logits: Tensor, target: Tensor, dtype: torch.dtype, reduction: Reduction
) -> None:
    loss.reduction = reduction
    logits = logits.to(dtype)
    value = loss(logits, target)
    assert value.dtype is dtype
    exact = loss(logits.double(), target)
    eps = max(torch.finfo(dtype).eps, 1e-5)
    assert_close(value.double(), exact, rtol=eps, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_autocast_widens_as_for_torchs_cross_entropy(
    loss: Loss, logits: Tensor, target: Tensor, dtype: torch.dtype
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (
            loss(logits.to(dtype), target).dtype
            is torch_cross_entropy(logits.to(dtype), target).dtype
            is torch.float32
        )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_labels_may_be_of_any_integer_dtype(
    loss: Loss, logits: Tensor, target: Tensor, dtype: torch.dtype
) -> None:
    assert torch.equal(loss(logits, target.to(dtype)), loss(logits, target))
