"""Losses of a whole row: ``csrc/whole_rows.h``, which has their formulas, in Triton."""

from __future__ import annotations

import triton
import triton.language as tl

from noiseproof.losses.triton_terms import log1p, minus_expm1


@triton.jit
def bitempered(
    logits,
    label,
    num_classes,
    top,
    log_total,
    t1: tl.constexpr,
    t2: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The loss, E_y u_y^-t1, and what `bitempered_slope` needs: x of the partition and the factor of E."""
    x = log_total * 0.0
    if t2 != 1.0:
        x = _tempered_partition(logits, num_classes, top, x, t2, BLOCK)
    sum_E = 0.0
    sum_G = 0.0
    missing = 0.0
    for start in range(0, num_classes, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < num_classes
        z = tl.load(logits + k, mask=inside, other=0.0).to(tl.float32)
        log_u = _log_tempered(z, top, log_total, x, t2)
        E = tl.exp(t2 * log_u)
        sum_E += tl.sum(tl.where(inside, E, 0.0), 0)
        sum_G += tl.sum(tl.where(inside, _times_power(E, log_u, 1.0 - t1), 0.0), 0)
        if t1 != 1.0:
            of_k = tl.exp(log_u) * minus_expm1((1.0 - t1) * log_u)
            missing += tl.sum(tl.where(inside, of_k, 0.0), 0)

    log_u = _log_tempered(tl.load(logits + label).to(tl.float32), top, log_total, x, t2)
    value = -log_u
    if t1 != 1.0:
        value = minus_expm1((1.0 - t1) * log_u) / (1.0 - t1)
    spike = _times_power(log_total * 0.0 + 1.0, log_u, t2 - t1)
    return value - missing / (2.0 - t1), spike, x, (sum_G - spike) / sum_E


@triton.jit
def bitempered_slope(z, top, log_total, x, of_E, t1: tl.constexpr, t2: tl.constexpr):
    """The gradient over the logits but for the label's own part, -E_y u_y^-t1."""
    log_u = _log_tempered(z, top, log_total, x, t2)
    E = tl.exp(t2 * log_u)
    return _times_power(E, log_u, 1.0 - t1) - of_E * E


@triton.jit
def _tempered_partition(logits, num_classes, top, x, t2: tl.constexpr, BLOCK: tl.constexpr):
    off = x + 1.0
    step = 0
    while (off > 1e-4) & (step < 20):  # the error is squared by the step that was just done
        total = 0.0
        slope = 0.0
        for start in range(0, num_classes, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < num_classes
            z = tl.load(logits + k, mask=inside, other=-float("inf")).to(tl.float32)
            u = tl.exp(_log_tempered(z, top, x, x, t2))
            total += tl.sum(u, 0)
            slope += tl.sum(u / (1.0 + x + (t2 - 1.0) * (top - z)), 0)
        x -= total / slope * minus_expm1((t2 - 1.0) * tl.log(total))
        off = tl.abs(total - 1.0)
        step += 1
    return x


@triton.jit
def _log_tempered(z, top, log_total, x, t2: tl.constexpr):
    if t2 == 1.0:
        log_u = z - top - log_total
    else:
        t = x + (t2 - 1.0) * (top - z)
        log_u = tl.where(
            t == float("inf"), -float("inf"), log1p(tl.where(t == float("inf"), 0.0, t)) / (1.0 - t2)
        )
    return log_u


@triton.jit
def _times_power(factor, log_u, exponent: tl.constexpr):
    """factor u^exponent, where u = 0 has the 0th power 1."""
    return factor if exponent == 0.0 else factor * tl.exp(exponent * log_u)


@triton.jit
def negative_learning(logits, label, num_classes, top, log_total, first_top, BLOCK: tl.constexpr):
    """The loss; the sum of p_k / (1 - p_k) but for the label and the top class; and what the slope needs.

    That is the log of the sum of e^(z_k - top) but for the top class, of which 1 - p is made: the difference
    would have lost its digits.
    """
    value = 0.0
    slopes = 0.0
    second = -float("inf")
    others = 0.0
    for start in range(0, num_classes, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < num_classes
        z = tl.load(logits + k, mask=inside, other=-float("inf")).to(tl.float32)
        z = tl.where(k == first_top, -float("inf"), z)
        higher = tl.maximum(second, tl.max(z, 0))
        base = tl.where(higher == -float("inf"), 0.0, higher)
        others = others * tl.exp(second - base) + tl.sum(tl.exp(z - base), 0)
        second = higher
        p = tl.where(k == label, 0.0, tl.exp(z - top - log_total))
        value -= tl.sum(log1p(-p), 0)
        slopes += tl.sum(p / (1.0 - p), 0)
    log_others = second - top + tl.log(others)
    of_top = log_others - log1p(tl.exp(log_others))
    return value - tl.where(label == first_top, 0.0, of_top), slopes, log_others


@triton.jit
def negative_learning_slope(x, p, k, label, first_top, log_others):
    """The gradient over the logits but for -p_j sum_k p_k / (1 - p_k); x = z - top."""
    p_top = tl.where(label == first_top, 0.0, 1.0 / (1.0 + tl.exp(log_others)))
    p_k = tl.where((k == label) | (k == first_top), 0.0, p)
    return p_k / (1.0 - p_k) + p_top * tl.where(k == first_top, 1.0, -tl.exp(x - log_others))
