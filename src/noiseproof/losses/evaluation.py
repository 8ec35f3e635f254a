"""The one path from ``(logits, target)`` to a reduced loss: layouts, precision, ignored labels, reduction.

A loss only says what it is for one sample (`PerSample`); everything that makes it a drop-in for
`torch.nn.functional.cross_entropy` happens here, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.losses.formula import RowFormula
from noiseproof.losses.fused import Rows, can_fuse, fused, is_eager_on_cpu

Reduction = Literal["none", "mean", "sum"]

PerSample = Callable[[Tensor, Tensor], Tensor]
"""``(log_p, target) -> values`` with shapes ``(..., C), (...) -> (...)``."""


def evaluate(
    per_sample: PerSample, logits: Tensor, target: Tensor, *, reduction: Reduction, ignore_index: int
) -> Tensor:
    """Apply ``per_sample`` to every labelled position of ``logits`` and reduce.

    Shapes: logits ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``; target the same without ``C``. Half
    precision is computed in float32; the result has the logits' dtype (float32 under autocast).
    """
    check_reduction(reduction)
    _check_inputs(logits, target)

    # seen at once where looking is free; it saves the masks
    all_kept = is_eager_on_cpu(target) and 0 < target.numel() == int((target != ignore_index).count_nonzero())

    def plain(logits: Tensor) -> Tensor:
        log_p = _log_probabilities(logits)
        if all_kept:
            return reduce(per_sample(log_p, target.long()), reduction, count=None)
        ignored = target == ignore_index
        values = per_sample(log_p, target.masked_fill(ignored, 0).long())
        # where, not a product: an ignored position must give 0 even where its value is infinite
        values = torch.where(ignored, torch.zeros_like(values), values)
        return reduce(values, reduction, count=(~ignored).sum())

    if isinstance(per_sample, RowFormula) and can_fuse(per_sample, logits):
        rows = _rows(target, reduction, None if all_kept else target == ignore_index)
        result = fused(per_sample, logits, rows, plain)
    else:
        result = plain(logits)
    return result.to(_result_dtype(logits))


def _rows(target: Tensor, reduction: Reduction, ignored: Tensor | None) -> Rows:
    count = target.numel() if ignored is None else target.numel() - int(ignored.count_nonzero())
    return Rows(
        target=target.long() if ignored is None else target.masked_fill(ignored, 0).long(),
        kept=None if ignored is None else ~ignored,
        scale=1 / max(count, 1) if reduction == "mean" else 1.0,
        total=reduction != "none",
    )


def reduce(values: Tensor, reduction: Reduction, *, count: Tensor | None) -> Tensor:
    """Reduce per-sample values; the mean is over the ``count`` labels that were not ignored, 0 if none.

    ``count`` None says that no label was.
    """
    match reduction:
        case "none":
            return values
        case "sum":
            return values.sum()
        case "mean":
            return values.mean() if count is None else values.sum() / count.clamp(min=1)


def check_reduction(reduction: str) -> None:
    """Raise `NoiseproofError` unless ``reduction`` is one of none, mean, sum."""
    if reduction not in get_args(Reduction):
        raise NoiseproofError(
            f"unknown reduction {reduction!r}; {did_you_mean(str(reduction), get_args(Reduction))}"
        )


def _log_probabilities(logits: Tensor) -> Tensor:
    """Log-softmax over the class dimension, moved last, in float32 or wider."""
    classes_last = logits.movedim(1, -1) if logits.dim() > 1 else logits
    return classes_last.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _result_dtype(logits: Tensor) -> torch.dtype:
    """What `F.cross_entropy` returns: the logits' dtype, or float32 where autocast would widen it."""
    if torch.is_autocast_enabled(logits.device.type):
        return torch.promote_types(logits.dtype, torch.float32)
    return logits.dtype


def _check_inputs(logits: Tensor, target: Tensor) -> None:
    if not logits.is_floating_point():
        raise NoiseproofError(f"logits must be floating point, got {logits.dtype}")
    if target.is_floating_point() or target.is_complex() or target.dtype is torch.bool:
        raise NoiseproofError(f"target must hold class indices (an integer dtype), got {target.dtype}")
    if logits.dim() == 0:
        raise NoiseproofError("logits must be (C,), (N, C) or (N, C, d1, ...), got a scalar")
    class_dim = 1 if logits.dim() > 1 else 0
    expected = logits.shape[:class_dim] + logits.shape[class_dim + 1 :]
    if target.shape != expected:
        raise NoiseproofError(
            f"target must be {_shape(expected)} for logits {_shape(logits.shape)}, got {_shape(target.shape)}"
        )
    if logits.shape[class_dim] < 2:
        raise NoiseproofError(f"logits must have at least 2 classes, got shape {_shape(logits.shape)}")


def _shape(shape: torch.Size) -> str:
    return str(tuple(shape))
