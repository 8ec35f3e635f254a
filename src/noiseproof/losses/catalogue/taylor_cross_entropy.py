"""Taylor cross entropy (TCE): the first terms of cross entropy's series."""

from __future__ import annotations

import math
from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import OnLabel, Term, minus_expm1

MOST_TERMS = 1000
"""Of the series; each costs two operations."""


def taylor_cross_entropy(
    logits: Tensor, target: Tensor, *, t: float = 2, **options: Unpack[Options]
) -> Tensor:
    """Taylor cross entropy: ``TCE = sum_{i=1..t} (1 - p_y)^i / i``, in [0, 1 + 1/2 + ... + 1/t]; active.

    ``t`` a whole number >= 1: 1 gives half of MAE, which is robust; more terms lead to cross entropy. Shapes,
    options and errors as for `noiseproof.losses.Loss`; class indices only. Feng et al., IJCAI 2020.

    >>> import torch
    >>> round(taylor_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 0.9 + 0.81/2
    1.305
    """
    _check_t(t)
    return evaluate(_taylor(int(t)), logits, target, **options)


class TaylorCrossEntropy(ClasswiseLoss):
    """Taylor cross entropy as a module; see `taylor_cross_entropy`.

    >>> TaylorCrossEntropy(t=6)
    tce(t=6)
    """

    name = "tce"
    title = "Taylor cross entropy"
    equation = "sum_{i=1..t} (1 - p_y)^i / i"
    source = "Feng et al., IJCAI 2020"

    def __init__(self, *, t: float = 2, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_t(t)
        self.t = int(t)

    def formula(self) -> OnLabel:
        """Give the series in 1 - p."""
        return _taylor(self.t)

    def properties(self, num_classes: int) -> Properties:
        """Active, bounded; of one term proportional to MAE, of more convex in p, so not symmetric."""
        return Properties(
            "active",
            lower=0.0,
            upper=math.fsum(1 / i for i in range(1, self.t + 1)),
            class_sum=float(num_classes - 1) if self.t == 1 else None,
            asymmetry=1 / self.t,
        )


def _taylor(t: int) -> OnLabel:
    return OnLabel(value=partial(_value, t=t), slope=partial(_slope, t=t), known_as=(Term(1.0, "taylor", t),))


def _value(log_p: Tensor, t: int) -> Tensor:
    u = minus_expm1(log_p)
    value = u / t  # by Horner's scheme
    for i in range(t - 1, 0, -1):
        value = u * (value + 1 / i)
    return value


def _slope(log_p: Tensor, t: int) -> Tensor:
    # -p (1 + u + ... + u^(t-1)), a geometric series in u = 1 - p: u^t - 1
    return torch.expm1(t * torch.log1p(-log_p.exp()))


def _check_t(t: float) -> None:
    valid = 1 <= t <= MOST_TERMS and float(t).is_integer()
    check_hyperparameter("tce", "t", t, expected=f"a whole number from 1 to {MOST_TERMS}", valid=valid)
