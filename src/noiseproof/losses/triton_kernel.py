"""The kernel for GPUs, in Triton: one pass over the logits for the values, one for their gradient.

It is what ``csrc/kernel.c`` is for the CPU, with the same terms. Forward keeps a few numbers of each row and
nothing of the logits' size, backward makes the probabilities again from them; nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from noiseproof.losses.formula import FUNCTIONS, PARTS, Term
from noiseproof.losses.fused import differentiate, is_batched
from noiseproof.losses.triton_terms import (
    BITEMPERED,
    GAP,
    LABEL,
    LOG,
    NEGATIVE_LEARNING,
    SHARE,
    TINY,
    log1p,
    slope_of,
    value_of,
)
from noiseproof.losses.triton_whole_rows import (
    bitempered,
    bitempered_slope,
    negative_learning,
    negative_learning_slope,
)

OF_ROW = tl.constexpr(6)
"""Numbers kept of each row: max, log of the sum, slopes in l_y, in p, in all, and what the row counts."""

OF_TERM = tl.constexpr(3)
"""Numbers kept after them of each term, as far as its gradient needs any."""

LARGEST_BLOCK = 16_384
"""Classes that a program takes at once; a row of more is gone through block by block."""

LARGEST_GRADIENT_BLOCK = 4096


def on_device(
    logits: Tensor,
    terms: tuple[Term, ...],
    target: Tensor,
    *,
    ignore_index: int,
    weight: Tensor | None,
    reduction: str,
    in_place: bool = False,
    plain: Callable[[Tensor], Tensor],
) -> Tensor:
    """Evaluate a sum of terms on logits ``(N, C)``; ``plain`` is the same in PyTorch, for second derivatives.

    A label out of range gives NaN, since nobody looks at it on the device.
    """
    values: Tensor = _OnDevice.apply(logits, terms, target, ignore_index, weight, in_place, plain)
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    counts = (target != ignore_index).float()
    if weight is not None:
        counts = counts * weight[target.clamp(0, len(weight) - 1)]
    total = counts.sum()
    return values.sum() / torch.where(total > 0, total, 1)


class _OnDevice(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        terms: tuple[Term, ...],
        target: Tensor,
        ignore_index: int,
        weight: Tensor | None,
        in_place: bool,
        plain: Callable[[Tensor], Tensor],
    ) -> Tensor:
        values, kept = statistics(logits, terms, target, ignore_index, weight)
        ctx.save_for_backward(logits, target, kept)
        ctx.terms, ctx.in_place, ctx.plain = terms, in_place, plain
        return values

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        logits, target, kept = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(upstream):
            result = differentiate(ctx.plain, logits, upstream)
        else:
            result = logits.detach() if ctx.in_place else torch.empty_like(logits)
            gradient(logits, ctx.terms, target, kept, upstream, result)
            if ctx.in_place:
                torch.autograd.graph.increment_version(logits)  # so that whoever else needs them finds out
        return result, None, None, None, None, None, None


def statistics(
    logits: Tensor, terms: tuple[Term, ...], target: Tensor, ignore_index: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Give the values ``(N,)`` and what the gradient needs of each row, all in float32."""
    rows, num_classes = logits.shape
    values = torch.empty(rows, dtype=torch.float32, device=logits.device)
    kept = torch.empty(
        rows, OF_ROW.value + OF_TERM.value * len(terms), dtype=torch.float32, device=logits.device
    )
    block = min(triton.next_power_of_2(num_classes), LARGEST_BLOCK)
    if rows == 0:
        return values, kept
    with _on_device_of(logits):
        _statistics[(rows,)](
            logits,
            target,
            target if weight is None else weight,
            values,
            kept,
            num_classes,
            ignore_index,
            tuple(float(term.weight) for term in terms),
            **_constants(terms),
            TOWARDS_TOP=tuple(float(term.towards_top) for term in terms),
            FINDS_TOP=any(t.towards_top > 0 or t.function == "negative_learning" for t in terms),
            HAS_WEIGHT=weight is not None,
            BLOCK=block,
            num_warps=_warps(block),
        )
    return values, kept


def gradient(
    logits: Tensor, terms: tuple[Term, ...], target: Tensor, kept: Tensor, upstream: Tensor, result: Tensor
) -> None:
    """Write the gradient over the logits into ``result``, from the ``(N,)`` gradient over the values."""
    rows, num_classes = logits.shape
    block = min(triton.next_power_of_2(num_classes), LARGEST_GRADIENT_BLOCK)
    if rows == 0:
        return
    with _on_device_of(logits):
        _gradient[(rows, triton.cdiv(num_classes, block))](
            logits,
            target,
            kept,
            upstream,
            result,
            num_classes,
            upstream.stride(0),  # 0 where a sum has spread one number over all rows
            **_constants(terms),
            BLOCK=block,
            num_warps=_warps(block),
        )


def _on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the tensor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _constants(terms: tuple[Term, ...]) -> dict[str, Any]:
    return {
        "FUNCTION": tuple(FUNCTIONS[term.function] for term in terms),
        "PART": tuple(PARTS[term.part] for term in terms),
        # the number of terms of a Taylor series is a loop's
        "FIRST": tuple(int(t.first) if t.function == "taylor" else float(t.first) for t in terms),
        "SECOND": tuple(float(term.second) for term in terms),
    }


def _warps(block: int) -> int:
    return max(1, min(32, block // 256))


@triton.jit
def _statistics(
    logits,
    target,
    class_weight,
    values,
    kept,
    num_classes,
    ignore_index,
    weights,
    FUNCTION: tl.constexpr,
    PART: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    TOWARDS_TOP: tl.constexpr,
    FINDS_TOP: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(target + row).to(tl.int64)
    in_range = (y >= 0) & (y < num_classes)
    label = tl.where(in_range, y, 0)
    logits += row * num_classes

    top = -float("inf")
    total = 0.0
    sum_x = 0.0  # of z - top, so that a large common part of the logits costs no digits
    for start in range(0, num_classes, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < num_classes
        z = tl.load(logits + k, mask=inside, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(z, 0))
        base = tl.where(higher == -float("inf"), 0.0, higher)
        if start > 0:
            total *= tl.exp(top - base)
            sum_x += start * (top - base)
        x = z - base
        total += tl.sum(tl.where(inside, tl.exp(x), 0.0), 0)
        sum_x += tl.sum(tl.where(inside, x, 0.0), 0)
        top = higher
    log_total = tl.log(total)

    x = tl.load(logits + label).to(tl.float32) - top
    e = tl.exp(x)
    log_p = x - log_total
    p = e / total
    u = tl.maximum((total - e) / total, TINY)

    first_top = num_classes
    if FINDS_TOP:
        # the first of equal classes is the top one
        for start in range(0, num_classes, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < num_classes
            z = tl.load(logits + k, mask=inside, other=-float("inf")).to(tl.float32)
            first_top = tl.minimum(first_top, tl.min(tl.where(inside & (z == top), k, num_classes), 0))
    is_top = label == first_top

    value = 0.0
    of_label = 0.0
    of_p = 0.0
    of_all = 0.0
    factor = 1.0
    if HAS_WEIGHT:
        factor = tl.load(class_weight + label).to(tl.float32)
    factor = tl.where(y == ignore_index, 0.0, factor)
    kept += row * (OF_ROW + OF_TERM * len(FUNCTION))
    for i in tl.static_range(len(FUNCTION)):
        of_term = kept + OF_ROW + OF_TERM * i
        if FUNCTION[i] == BITEMPERED:
            h, spike, x_i, of_E = bitempered(
                logits, label, num_classes, top, log_total, FIRST[i], SECOND[i], BLOCK
            )
            value += weights[i] * h
            of_label -= weights[i] * spike
            tl.store(of_term, tl.where(factor == 0.0, 0.0, weights[i] * factor))
            tl.store(of_term + 1, x_i)
            tl.store(of_term + 2, of_E)
        elif FUNCTION[i] == NEGATIVE_LEARNING:
            h, slopes, log_others = negative_learning(
                logits, label, num_classes, top, log_total, first_top, BLOCK
            )
            value += weights[i] * h
            of_p -= weights[i] * slopes
            tl.store(of_term, tl.where(factor == 0.0, 0.0, weights[i] * factor))
            tl.store(of_term + 1, log_others)
            tl.store(of_term + 2, first_top.to(tl.float32, bitcast=True))
        else:
            l_i = log_p
            p_i = p
            u_i = u
            inner = 1.0
            if TOWARDS_TOP[i] > 0.0:
                # p' = (p + m e_top) / (m + 1), and the derivative of log p' in log p
                m = TOWARDS_TOP[i]
                inner = tl.where(is_top, p / (p + m), 1.0)
                p_i = tl.where(is_top, p + m, p) / (m + 1.0)
                u_i = tl.maximum(tl.where(is_top, u, u + m) / (m + 1.0), TINY)
                l_i = tl.where(is_top, log1p(-u / (m + 1.0)), log_p - log1p(log_p * 0.0 + m))
            h = value_of(l_i, p_i, u_i, FUNCTION[i], FIRST[i], SECOND[i])
            slope = slope_of(l_i, p_i, u_i, FUNCTION[i], FIRST[i], SECOND[i]) * inner
            of_slopes = 0.0
            if PART[i] == LABEL:
                value += weights[i] * h
                of_label += weights[i] * slope
                of_p -= weights[i] * slope
            else:
                all_h = 0.0
                all_slopes = 0.0
                if FUNCTION[i] == LOG:
                    all_h = num_classes * log_total - sum_x
                    all_slopes = -1.0 * num_classes
                elif FUNCTION[i] == GAP:
                    all_h = num_classes - 1.0
                else:
                    for start in range(0, num_classes, BLOCK):
                        k = start + tl.arange(0, BLOCK)
                        inside = k < num_classes
                        z = tl.load(logits + k, mask=inside, other=0.0).to(tl.float32)
                        log_p_k = z - top - log_total
                        p_k = tl.exp(log_p_k)
                        u_k = tl.maximum(1.0 - p_k, TINY)
                        h_k = value_of(log_p_k, p_k, u_k, FUNCTION[i], FIRST[i], SECOND[i])
                        slope_k = slope_of(log_p_k, p_k, u_k, FUNCTION[i], FIRST[i], SECOND[i])
                        all_h += tl.sum(tl.where(inside, h_k, 0.0), 0)
                        all_slopes += tl.sum(tl.where(inside, slope_k, 0.0), 0)
                of_sum = 0.0
                if PART[i] == SHARE:
                    value += weights[i] * h / all_h
                    of_label += weights[i] * slope / all_h
                    of_p -= weights[i] * slope / all_h
                    of_sum = -weights[i] * h / (all_h * all_h)
                else:
                    value += weights[i] * all_h
                    of_sum += weights[i]
                if FUNCTION[i] == LOG:
                    of_all -= of_sum
                elif FUNCTION[i] != GAP:
                    of_slopes = of_sum
                of_p -= of_sum * all_slopes
            tl.store(of_term, tl.where(factor == 0.0, 0.0, of_slopes * factor))
    value = tl.where(in_range | (y == ignore_index), value, float("nan"))
    tl.store(values + row, tl.where(factor == 0.0, 0.0, value * factor))
    tl.store(kept, top)
    tl.store(kept + 1, log_total)
    tl.store(kept + 2, tl.where(factor == 0.0, 0.0, of_label * factor))
    tl.store(kept + 3, tl.where(factor == 0.0, 0.0, of_p * factor))
    tl.store(kept + 4, tl.where(factor == 0.0, 0.0, of_all * factor))
    tl.store(kept + 5, factor)


@triton.jit
def _gradient(
    logits,
    target,
    kept,
    upstream,
    result,
    num_classes,
    upstream_stride,
    FUNCTION: tl.constexpr,
    PART: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = k < num_classes
    z = tl.load(logits + row * num_classes + k, mask=inside, other=0.0).to(tl.float32)
    label = tl.load(target + row)
    kept += row * (OF_ROW + OF_TERM * len(FUNCTION))
    top = tl.load(kept)
    log_total = tl.load(kept + 1)
    log_p = z - top - log_total
    p = tl.exp(log_p)
    slope = tl.load(kept + 3) * p + tl.load(kept + 4) + tl.where(k == label, tl.load(kept + 2), 0.0)
    for i in tl.static_range(len(FUNCTION)):
        of_term = kept + OF_ROW + OF_TERM * i
        if FUNCTION[i] == BITEMPERED:
            of_E = tl.load(of_term + 2)
            x_i = tl.load(of_term + 1)
            slope += tl.load(of_term) * bitempered_slope(z, top, log_total, x_i, of_E, FIRST[i], SECOND[i])
        elif FUNCTION[i] == NEGATIVE_LEARNING:
            first_top = tl.load(of_term + 2).to(tl.int32, bitcast=True)
            log_others = tl.load(of_term + 1)
            slope += tl.load(of_term) * negative_learning_slope(z - top, p, k, label, first_top, log_others)
        elif (PART[i] != LABEL) and (FUNCTION[i] > GAP):
            u = tl.maximum(1.0 - p, TINY)
            slope += tl.load(of_term) * slope_of(log_p, p, u, FUNCTION[i], FIRST[i], SECOND[i])
    # a row that counts nothing has no gradient, even where its probabilities are no numbers
    slope = tl.where(tl.load(kept + 5) == 0.0, 0.0, slope * tl.load(upstream + row * upstream_stride))
    tl.store(result + row * num_classes + k, slope.to(result.dtype.element_ty), mask=inside)
