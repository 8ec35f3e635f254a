"""The one path from ``(logits, target)`` to a reduced loss: layouts, precision, ignored labels, reduction.

A loss only says what it is for one sample (`Formula`); everything that makes it a drop-in for
`torch.nn.functional.cross_entropy` happens here, once.
"""

from __future__ import annotations

from typing import Literal, TypedDict, get_args

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.losses.formula import Formula, RowFormula, Term
from noiseproof.losses.fused import Rows, can_fuse, fused, is_eager_on_cpu
from noiseproof.losses.kernel import Batch, compiled, known_terms

Reduction = Literal["none", "mean", "sum"]


class Options(TypedDict, total=False):
    """What every loss takes beside its own hyperparameters, as `torch.nn.functional.cross_entropy` does."""

    reduction: Reduction
    """none, mean (the default) or sum."""
    ignore_index: int
    """The label that marks a position without one; -100 by default."""
    weight: Tensor | None
    """``(C,)``: factor of each label's class, >= 0. The mean is then over the weights."""


def evaluate(
    formula: Formula,
    logits: Tensor,
    target: Tensor,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    weight: Tensor | None = None,
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
        result = _against_labels(formula, logits, target, reduction, ignore_index, weight)
    return result.to(_result_dtype(logits))


def _against_labels(
    formula: Formula,
    logits: Tensor,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
    weight: Tensor | None,
) -> Tensor:
    _check_labels(logits, target)
    if weight is not None:
        check_weight(weight)
        _check_weight_fits(weight, logits)

    terms = known_terms(formula, logits, target)
    if terms is not None and (weight is None or weight.device.type == "cpu"):
        return _compiled(formula, terms, logits, target, reduction, ignore_index, weight)

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
) -> Tensor:
    given = target.long().contiguous()
    floats = None if weight is None else weight.detach().to(torch.float32).contiguous()
    batch = Batch(logits, given, ignore_index=ignore_index, weight=floats, mean=reduction == "mean")

    def plain(logits: Tensor) -> Tensor:
        ignored = given == ignore_index
        return _plain(formula, logits, given.masked_fill(ignored, 0), ignored, reduction, weight)

    return compiled(logits, terms, batch, total=reduction != "none", plain=plain)


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
    _check_probabilities(logits, target)
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


def check_reduction(reduction: str) -> None:
    """Raise `NoiseproofError` unless ``reduction`` is one of none, mean, sum."""
    if reduction not in get_args(Reduction):
        raise NoiseproofError(
            f"unknown reduction {reduction!r}; {did_you_mean(str(reduction), get_args(Reduction))}"
        )


def check_weight(weight: Tensor) -> None:
    """Raise `NoiseproofError` unless ``weight`` is a vector of numbers >= 0, these where looking is free."""
    if not isinstance(weight, Tensor) or weight.dim() != 1 or not weight.is_floating_point():
        given = f"{weight.dtype} {_shape(weight.shape)}" if isinstance(weight, Tensor) else repr(weight)
        raise NoiseproofError(
            f"weight must be a floating-point tensor (C,) of one factor a class, got {given}"
        )
    if not is_eager_on_cpu(weight):
        return
    wrong = ~(weight.isfinite() & (weight >= 0))
    if wrong.any():
        k = int(wrong.nonzero()[0])
        raise NoiseproofError(f"weight must be finite and >= 0, got {weight[k].item():g} for class {k}")


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


def _check_logits(logits: Tensor) -> int:
    """Give the class dimension of valid logits."""
    if not logits.is_floating_point():
        raise NoiseproofError(f"logits must be floating point, got {logits.dtype}")
    if logits.dim() == 0:
        raise NoiseproofError("logits must be (C,), (N, C) or (N, C, d1, ...), got a scalar")
    class_dim = 1 if logits.dim() > 1 else 0
    if logits.shape[class_dim] < 2:
        raise NoiseproofError(f"logits must have at least 2 classes, got shape {_shape(logits.shape)}")
    return class_dim


def _check_labels(logits: Tensor, target: Tensor) -> None:
    class_dim = _check_logits(logits)
    if target.is_complex() or target.dtype is torch.bool:
        raise NoiseproofError(
            "target must hold class indices (an integer dtype), or probabilities (a floating-point one),"
            f" got {target.dtype}"
        )
    expected = logits.shape[:class_dim] + logits.shape[class_dim + 1 :]
    if target.shape != expected:
        raise NoiseproofError(
            f"target must be {_shape(expected)} for logits {_shape(logits.shape)}, got {_shape(target.shape)}"
        )


PROBABILITY_SLACK = 1e-2
"""How far from 1 a row of probabilities may sum, so that half precision passes."""


def _check_probabilities(logits: Tensor, target: Tensor) -> None:
    class_dim = _check_logits(logits)
    if target.shape != logits.shape:
        labels = logits.shape[:class_dim] + logits.shape[class_dim + 1 :]
        hint = "; class indices must have an integer dtype" if target.shape == labels else ""
        raise NoiseproofError(
            f"a target of probabilities ({target.dtype}) must have the shape of the logits,"
            f" {_shape(logits.shape)}, got {_shape(target.shape)}{hint}"
        )
    if not is_eager_on_cpu(target) or target.numel() == 0:
        return
    if not bool((target.detach() >= 0).all()):
        raise NoiseproofError(f"a target of probabilities must be >= 0, got {target.detach().min():g}")
    total = target.detach().sum(class_dim, dtype=torch.float64)
    worst = total.flatten()[(total - 1).abs().argmax()].item()
    if not abs(worst - 1) <= PROBABILITY_SLACK:
        raise NoiseproofError(f"a target of probabilities must sum to 1 over the classes, got {worst:.6g}")


def _check_weight_fits(weight: Tensor, logits: Tensor) -> None:
    num_classes = logits.shape[1 if logits.dim() > 1 else 0]
    if weight.shape != (num_classes,):
        raise NoiseproofError(
            f"weight must be ({num_classes},), a factor for each class, got {_shape(weight.shape)}"
        )


def _shape(shape: torch.Size) -> str:
    return str(tuple(shape))
