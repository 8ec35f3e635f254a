"""Functions of one log p, each with its derivative: ``csrc/terms.h`` in Triton."""

from __future__ import annotations

import triton
import triton.language as tl

LOG = tl.constexpr(0)
GAP = tl.constexpr(1)
FOCAL = tl.constexpr(2)
POWER = tl.constexpr(3)
ONE = tl.constexpr(4)
NEGATIVE = tl.constexpr(5)
SHIFTED = tl.constexpr(6)
EXPONENTIAL = tl.constexpr(7)
TAYLOR = tl.constexpr(8)
BITEMPERED = tl.constexpr(10)
NEGATIVE_LEARNING = tl.constexpr(11)
LABEL = tl.constexpr(0)
SHARE = tl.constexpr(1)
"""Numbers of functions and parts as formula.py has them; jensen_shannon and sum are what is left."""

TINY = tl.constexpr(1.42e-14)
"""eps^2, far below any 1 - p that rounding leaves."""


@triton.jit
def power_of(u, exponent: tl.constexpr):
    """u^exponent."""
    if exponent == 0.0:
        result = u * 0.0 + 1.0
    elif exponent == 0.5:
        result = tl.sqrt(u)
    elif exponent == 1.0:
        result = u
    elif exponent == 2.0:
        result = u * u
    else:
        result = tl.exp(exponent * tl.log(u))
    return result


@triton.jit
def minus_expm1(x):
    """1 - e^x, by its series near 0, where the difference would lose its digits."""
    series = -x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0)))))
    return tl.where(tl.abs(x) < 0.25, series, 1.0 - tl.exp(x))


@triton.jit
def log1p(x):
    """log(1 + x), which has its digits near 0 too, where the rounding of 1 + x cancels."""
    u = 1.0 + x
    return tl.where(u == 1.0, x, tl.log(u) * (x / tl.where(u == 1.0, 1.0, u - 1.0)))


@triton.jit
def value_of(log_p, p, u, function: tl.constexpr, first: tl.constexpr, second: tl.constexpr):
    """h, from log p, p and u = 1 - p."""
    if function == LOG:
        value = -log_p
    elif function == GAP:
        value = u
    elif function == FOCAL:
        value = -log_p * power_of(u, first)
    elif function == POWER:
        value = minus_expm1(first * log_p) / first
    elif function == ONE:
        value = log_p * 0.0 + 1.0
    elif function == NEGATIVE:
        value = second + log_p * power_of(u, first)
        value = tl.where(value < 0.0, 0.0, value)  # no number stays none
    elif function == SHIFTED:
        value = minus_expm1(second * log1p(-u / (first + 1.0))) / second
        value *= (first + 1.0) ** second if first > 0.0 else -((-first - 1.0) ** second)
    elif function == EXPONENTIAL:
        value = tl.exp(p / -first)
    elif function == TAYLOR:
        value = u * 0.0
        for i in range(0, first):
            value = u * (value + 1.0 / (first - i))
    else:
        log_m = log1p(u * (first - 1.0))
        log_rest = log1p(u * 0.0 - first)
        of_p = tl.where(p == 0.0, 0.0, p * (log_p - log_m))
        value = ((1.0 - first) * (of_p - u * log_rest) - first * log_m) / ((first - 1.0) * log_rest)
    return value


@triton.jit
def slope_of(log_p, p, u, function: tl.constexpr, first: tl.constexpr, second: tl.constexpr):
    """The derivative of h in log p."""
    if function == LOG:
        slope = log_p * 0.0 - 1.0
    elif function == GAP:
        slope = -p
    elif function == FOCAL:
        slope = first * tl.where(p == 0.0, 0.0, log_p * p) * power_of(u, first) / u - power_of(u, first)
    elif function == POWER:
        slope = -tl.exp(first * log_p)
    elif function == ONE:
        slope = log_p * 0.0
    elif function == NEGATIVE:
        slope = power_of(u, first) - first * tl.where(p == 0.0, 0.0, log_p * p) * power_of(u, first) / u
        slope = tl.where(second + log_p * power_of(u, first) <= 0.0, 0.0, slope)
    elif function == SHIFTED:
        slope = -p * tl.exp((second - 1.0) * log1p(-u / (first + 1.0)))
        slope *= (first + 1.0 if first > 0.0 else -first - 1.0) ** (second - 1.0)
    elif function == EXPONENTIAL:
        slope = p / -first * tl.exp(p / -first)
    elif function == TAYLOR:
        power = u * 0.0 + 1.0
        for _ in range(0, first):
            power = power * u
        slope = power - 1.0
    else:
        log_m = log1p(u * (first - 1.0))
        of_p = tl.where(p == 0.0, 0.0, p * (log_p - log_m))
        slope = -p - of_p / log1p(u * 0.0 - first)
    return slope
