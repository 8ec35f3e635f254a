"""The one path from ``(logits, target)`` to a reduced loss: layouts, precision, ignored labels, reduction.

A loss only says what it is for one sample (`Formula`); everything that makes it a drop-in for
`torch.nn.functional.cross_entropy` happens here, once.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TypedDict

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses.checks import (
    Reduction,
    check_labels,
    check_probabilities,
    check_reduction,
    check_weight,
    check_weight_fits,
)
from noiseproof.losses.formula import Formula, RowFormula, Term
from noiseproof.losses.fused import Rows, can_fuse, fused, is_eager, is_eager_on_cpu
from noiseproof.losses.kernel import Batch, compiled, known_terms


class Options(TypedDict, total=False):
    """What every loss takes beside its own hyperparameters, as `torch.nn.functional.cross_entropy` does."""

    reduction: Reduction
    """none, mean (the default) or sum."""
    ignore_index: int
    """The label that marks a position without one; -100 by default."""
    weight: Tensor | None
    """``(C,)``: factor of each label's class, >= 0. The mean is then over the weights."""
    in_place: bool
    """Make the gradient in the memory of the logits, which are then no logits any more; False by default. For
    very many classes: it saves memory of their size, where a compiled kernel evaluates the loss."""


def evaluate(
    formula: Formula,
    logits: Tensor,
    target: Tensor,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    weight: Tensor | None = None,
    in_place: bool = False,
) -> Tensor:
    """Apply ``formula`` to every labelled position of ``logits`` and reduce.

    Shapes: logits ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``; target the same without ``C``, or the shape of
    the logits if it holds probabilities. Half precision is computed in float32; the result has the logits'
    dtype (float32 under autocast).
    """
    check_reduction(reduction)
    if target.is_floating_point():
        result = _against_probabilities(formula, logits, target, reduction, weight)
    else:
        result = _against_labels(formula, logits, target, reduction, ignore_index, weight, in_place)
    wanted = _result_dtype(logits)
    return result if result.dtype is wanted else result.to(wanted)


def _against_labels(
    formula: Formula,
    logits: Tensor,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
    weight: Tensor | None,
    in_place: bool,
) -> Tensor:
    check_labels(logits, target)
    if in_place and logits.is_leaf and logits.requires_grad:
        raise NoiseproofError("in_place needs logits that a network has computed, got a leaf of the graph")
    if weight is not None:
        check_weight(weight)
        check_weight_fits(weight, logits)

    if logits.dim() > 2 and is_eager(logits):
        rows = _classes_last(logits).flatten(0, -2)
        result = _against_labels(formula, rows, target.flatten(), reduction, ignore_index, weight, in_place)
        return result.view_as(target) if reduction == "none" else result

    terms = known_terms(formula, logits, target)
    if terms is not None and (weight is None or weight.device.type == "cpu"):
        return _compiled(formula, terms, logits, target, reduction, ignore_index, weight, in_place)
    terms = known_terms_on_gpu(formula, logits, target)
    if terms is not None and (weight is None or weight.device == logits.device):
        return _compiled_on_gpu(formula, terms, logits, target, reduction, ignore_index, weight, in_place)

    # seen at once where looking is free; it saves the masks
    all_kept = is_eager_on_cpu(target) and 0 < target.numel() == int((target != ignore_index).count_nonzero())
    ignored = None if all_kept else target == ignore_index
    labels = target.long() if ignored is None else target.masked_fill(ignored, 0).long()

    def plain(logits: Tensor) -> Tensor:
        return _plain(formula, logits, labels, ignored, reduction, weight)

    if isinstance(formula, RowFormula) and can_fuse(formula, logits):
        factor = _factor(torch.promote_types(logits.dtype, torch.float32), labels, ignored, weight)
        total = labels.numel() if factor is None else float(factor.sum())
        scale = 1 / total if reduction == "mean" and total > 0 else 1.0
        return fused(formula, logits, Rows(labels, factor, scale, total=reduction != "none"), plain)
    return plain(logits)


def _compiled(
    formula: Formula,
    terms: tuple[Term, ...],
    logits: Tensor,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
    weight: Tensor | None,
    in_place: bool,
) -> Tensor:
    given = target.long().contiguous()
    floats = None if weight is None else weight.detach().to(torch.float32).contiguous()
    batch = Batch(logits, given, ignore_index=ignore_index, weight=floats, mean=reduction == "mean")

    def plain(logits: Tensor) -> Tensor:
        ignored = given == ignore_index
        return _plain(formula, logits, given.masked_fill(ignored, 0), ignored, reduction, weight)

    return compiled(logits, terms, batch, total=reduction != "none", in_place=in_place, plain=plain)


def known_terms_on_gpu(formula: Formula, logits: Tensor, target: Tensor) -> tuple[Term, ...] | None:
    """Give the formula as Triton's kernel knows it, if Triton is there and takes it and these tensors."""
    if (
        not logits.is_cuda
        or logits.device != target.device
        or logits.dtype not in (torch.float32, torch.bfloat16, torch.float16)
        or logits.dim() != 2
        or not isinstance(formula, RowFormula)
        or not is_eager(logits)
        or not is_eager(target)
        or not logits.is_contiguous()
        or logits.is_neg()
        or find_spec("triton") is None
    ):
        return None
    return formula.terms(logits.shape[1])


def _compiled_on_gpu(
    formula: Formula,
    terms: tuple[Term, ...],
    logits: Tensor,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
    weight: Tensor | None,
    in_place: bool,
) -> Tensor:
    from noiseproof.losses.triton_kernel import on_device  # Triton takes a second to import

    given = target.long().contiguous()

    def plain(logits: Tensor) -> Tensor:
        ignored = given == ignore_index
        return _plain(formula, logits, given.masked_fill(ignored, 0), ignored, "none", weight)

    return on_device(
        logits,
        terms,
        given,
        ignore_index=ignore_index,
        weight=weight,
        reduction=reduction,
        in_place=in_place,
        plain=plain,
    )


def _plain(
    formula: Formula,
    logits: Tensor,
    labels: Tensor,
    ignored: Tensor | None,
    reduction: Reduction,
    weight: Tensor | None,
) -> Tensor:
    values = formula(_log_probabilities(logits), labels)
    factor = _factor(values.dtype, labels, ignored, weight)
    # where, not a product: an ignored position must give 0 even where its value is infinite
    if factor is not None:
        values = torch.where(factor == 0, torch.zeros_like(values), values * factor)
    return reduce(values, reduction, factor)


def _factor(
    dtype: torch.dtype, labels: Tensor, ignored: Tensor | None, weight: Tensor | None
) -> Tensor | None:
    """Give what each position counts: 0 if it is ignored, else its class's weight; None if all count 1."""
    if weight is not None:
        factor = rows_of(weight.to(dtype), labels)
        return factor if ignored is None else factor.masked_fill(ignored, 0)
    return None if ignored is None else (~ignored).to(dtype)


def rows_of(table: Tensor, labels: Tensor) -> Tensor:
    """Give ``table[labels]`` in a way that `torch.vmap` can follow."""
    return table.index_select(0, labels.reshape(-1)).reshape(labels.shape + table.shape[1:])


def _against_probabilities(
    formula: Formula, logits: Tensor, target: Tensor, reduction: Reduction, weight: Tensor | None
) -> Tensor:
    check_probabilities(logits, target)
    if weight is not None:
        raise NoiseproofError(
            "class weights belong to class indices; got them with a target of probabilities"
        )
    log_p = _log_probabilities(logits)
    return reduce(formula.soft(log_p, _classes_last(target).to(log_p.dtype)), reduction, factor=None)


def reduce(values: Tensor, reduction: Reduction, factor: Tensor | None) -> Tensor:
    """Reduce per-sample values; the mean is over what each counts, and 0 if nothing does.

    ``factor`` None says that each counts 1.
    """
    match reduction:
        case "none":
            return values
        case "sum":
            return values.sum()
        case "mean" if factor is None:
            return values.sum() / max(values.numel(), 1)
        case "mean":
            total = factor.sum()
            return values.sum() / torch.where(total > 0, total, torch.ones_like(total))


def _log_probabilities(logits: Tensor) -> Tensor:
    """Log-softmax over the class dimension, moved last, in float32 or wider."""
    return _classes_last(logits).log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _classes_last(tensor: Tensor) -> Tensor:
    return tensor.movedim(1, -1) if tensor.dim() > 1 else tensor


def _result_dtype(logits: Tensor) -> torch.dtype:
    """What `F.cross_entropy` returns: the logits' dtype, or float32 where autocast would widen it."""
    if torch.is_autocast_enabled(logits.device.type):
        return torch.promote_types(logits.dtype, torch.float32)
    return logits.dtype
