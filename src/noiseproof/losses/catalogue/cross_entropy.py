"""Cross entropy (CE) and its normalized form (NCE)."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Normalized, OnLabel, Term
from noiseproof.losses.normalization import NormalizedLoss


def cross_entropy(logits: Tensor, target: Tensor, **options: Unpack[Options]) -> Tensor:
    """Cross entropy: ``CE = -sum_k q_k log p_k = -log p_y``, in [0, inf); active, not robust.

    Shapes, options and errors as for `noiseproof.losses.Loss`. Study eq. 1. Same values as
    `torch.nn.functional.cross_entropy`, except that a mean over no label at all is 0, not NaN.

    >>> import torch
    >>> round(cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # log 10
    2.3026
    """
    return evaluate(CROSS_ENTROPY, logits, target, **options)


def normalized_cross_entropy(logits: Tensor, target: Tensor, **options: Unpack[Options]) -> Tensor:
    """Normalized cross entropy: ``NCE = log p_y / sum_k log p_k``, in [0, 1]; active, robust.

    Shapes, options and errors as for `noiseproof.losses.Loss`. Ma et al., ICML 2020; study eq. 6, whose last
    form is a logarithm to the base ``prod_k p_k``: a quotient of logarithms, so their common base cancels.

    >>> import torch
    >>> round(normalized_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 1/K
    0.1
    """
    return evaluate(_NORMALIZED, logits, target, **options)


class CrossEntropy(ClasswiseLoss):
    """Cross entropy as a module; see `cross_entropy`.

    >>> CrossEntropy()
    ce
    """

    name = "ce"
    title = "cross entropy"
    equation = "-log p_y"
    source = "study eq. 1"

    def formula(self) -> OnLabel:
        """Give ``-log p``."""
        return CROSS_ENTROPY

    def properties(self, num_classes: int) -> Properties:
        """Active, unbounded, no constant sum."""
        return Properties("active", lower=0.0, upper=math.inf, class_sum=None, asymmetry=0.0)


class NormalizedCrossEntropy(NormalizedLoss):
    """Normalized cross entropy as a module; see `normalized_cross_entropy`.

    >>> NormalizedCrossEntropy()
    nce
    """

    name = "nce"
    title = "normalized cross entropy"
    equation = "log p_y / sum_k log p_k"
    source = "Ma et al., ICML 2020; study eq. 6"

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(CrossEntropy(), **options)

    def formula(self) -> Normalized:
        """Give eq. 5 of ``-log p``."""
        return _NORMALIZED


def _against(log_p: Tensor, q: Tensor) -> Tensor:
    # a class of probability 0 on both sides adds 0, not NaN, to value and gradient
    return -(q * torch.where(q == 0, 0, log_p)).sum(-1)


CROSS_ENTROPY = OnLabel(torch.neg, slope=-1.0, against=_against, known_as=(Term(1.0, "log"),))
"""``-log p``."""

# the sum is at least K log K > 0, so the quotient is always finite
_NORMALIZED = Normalized(CROSS_ENTROPY)
