"""The one path from ``(logits, target)`` to a reduced loss: layouts, precision, ignored labels, reduction.

A loss only says what it is for one sample (`Formula`); everything that makes it a drop-in for
`torch.nn.functional.cross_entropy` happens here, once.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TypedDict, Unpack

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses.checks import (
    Reduction,
    check_ignore_index,
    check_labels,
    check_probabilities,
    check_reduction,
    check_tensors,
    check_weight,
    check_weight_fits,
)
from noiseproof.losses.formula import Formula, Term
from noiseproof.losses.fused import Rows, can_fuse, fused, is_eager, is_eager_on_cpu
from noiseproof.losses.kernel import Batch, can_run, compiled
from noiseproof.losses.triton_trial import triton_launches

TRITON_IS_THERE = find_spec("triton") is not None

TRITON_DEVICE = "cuda"
"""The type of device that the kernel for GPUs runs on."""

TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Of logits that the kernel for GPUs takes; it computes in float32."""


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


DEFAULTS: Options = {"reduction": "mean", "ignore_index": -100, "weight": None, "in_place": False}


def evaluate(formula: Formula, logits: Tensor, target: Tensor, **options: Unpack[Options]) -> Tensor:
    """Do as `evaluate_checked`, with class weights and an ignored label that nobody has looked at yet."""
    weight = options.get("weight")
    if weight is not None:
        check_weight(weight)
    check_ignore_index(options.get("ignore_index", DEFAULTS["ignore_index"]))
    return evaluate_checked(formula, logits, target, **options)


def evaluate_checked(
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
    dtype (float32 under autocast). ``weight`` has passed `check_weight`: a module's did when it was set.
    """
    check_tensors(logits, target)
    check_reduction(reduction)
    if target.is_floating_point():
        result = _against_probabilities(formula, logits, target, reduction, ignore_index, weight)
    else:
        result = _against_labels(formula, logits, target, reduction, ignore_index, weight, in_place)
    return result if result.dtype is logits.dtype else result.to(_result_dtype(logits))


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
        check_weight_fits(weight, logits)
    if logits.dim() == 2 or not is_eager(logits):
        return _quickest(formula, logits, target, reduction, ignore_index, weight, in_place)
    rows = _classes_last(logits)
    rows = rows.reshape(-1, rows.shape[-1])
    result = _quickest(formula, rows, target.reshape(-1), reduction, ignore_index, weight, in_place)
    return result.view_as(target) if reduction == "none" else result


def _quickest(
    formula: Formula,
    logits: Tensor,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
    weight: Tensor | None,
    in_place: bool,
) -> Tensor:
    """Evaluate by a compiled kernel, else in one fused pass, else by the plain formula."""

    def plain(logits: Tensor, reduction: Reduction = reduction) -> Tensor:
        labels, ignored = _labels(target, ignore_index)
        values = formula(_log_probabilities(logits), labels)
        factor = _factor(values.dtype, labels, ignored, weight)
        # where, not a product: an ignored position must give 0 even where its value is infinite
        if factor is not None:
            values = torch.where(factor == 0, torch.zeros_like(values), values * factor)
        return reduce(values, reduction, factor)

    terms = _terms_in_memory(formula, logits, target, weight)
    if terms is not None and (logits.is_neg() or not logits.is_contiguous()):
        logits = logits.resolve_neg().contiguous()
    if terms is not None and can_run(logits, terms):
        floats = None if weight is None else weight.detach().to(torch.float32).contiguous()
        batch = Batch(_indices(target), ignore_index, floats, reduction)
        return compiled(logits.float(), terms, batch, in_place, plain)
    if terms is not None and _can_run_on_gpu(logits):
        from noiseproof.losses.triton_kernel import on_device  # Triton takes a second to import

        return on_device(
            logits,
            terms,
            _indices(target),
            ignore_index=ignore_index,
            weight=weight,
            reduction=reduction,
            in_place=in_place,
            plain=lambda logits: plain(logits, "none"),
        )
    rows_formula = formula.on_rows()
    if rows_formula is not None and can_fuse(rows_formula, logits):
        labels, ignored = _labels(target, ignore_index)
        factor = _factor(torch.promote_types(logits.dtype, torch.float32), labels, ignored, weight)
        total = labels.numel() if factor is None else float(factor.sum())
        scale = 1 / total if reduction == "mean" and total > 0 else 1.0
        return fused(rows_formula, logits, Rows(labels, factor, scale, total=reduction != "none"), plain)
    return plain(logits)


def _can_run_on_gpu(logits: Tensor) -> bool:
    return (
        TRITON_IS_THERE
        and logits.device.type == TRITON_DEVICE
        and logits.dtype in TRITON_DTYPES
        and triton_launches(logits.device, logits.dtype)
    )


def _terms_in_memory(
    formula: Formula, logits: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Term, ...] | None:
    """Give the formula as kernels know it, if the tensors are rows on one device that nobody transforms."""
    if (
        logits.dim() != 2
        or not is_eager(logits, target)
        or logits.device != target.device
        or (weight is not None and weight.device != logits.device)
    ):
        return None
    return formula.terms(logits.shape[1])


def _indices(target: Tensor) -> Tensor:
    return target.long().contiguous()


def _labels(target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor | None]:
    """Give labels that are valid everywhere, and which of them are ignored; None if none is."""
    # seen at once where looking is free; it saves the masks
    if is_eager_on_cpu(target) and 0 < target.numel() == int((target != ignore_index).count_nonzero()):
        return target.long(), None
    ignored = target == ignore_index
    return target.masked_fill(ignored, 0).long(), ignored


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
    formula: Formula,
    logits: Tensor,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
    weight: Tensor | None,
) -> Tensor:
    check_probabilities(logits, target)
    if ignore_index >= 0:  # as for F.cross_entropy: a negative one names no class
        raise NoiseproofError(
            f"ignore_index belongs to class indices; got {ignore_index} with a target of probabilities"
        )
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
