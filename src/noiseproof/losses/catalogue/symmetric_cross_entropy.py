"""Symmetric cross entropy (SCE): cross entropy and its reverse."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.catalogue.cross_entropy import CROSS_ENTROPY, CrossEntropy
from noiseproof.losses.catalogue.reverse_cross_entropy import ReverseCrossEntropy, reverse
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import OnLabel, Term


def symmetric_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    A: float = -4.0,
    **options: Unpack[Options],
) -> Tensor:
    """Symmetric cross entropy: ``SCE = alpha CE + beta RCE``, in [0, inf); passive, not robust.

    ``alpha, beta > 0``; ``A < 0`` stands for log 0 in RCE. Symmetric in p and q, which is not the symmetry
    over labels that makes a loss robust. Shapes, options and errors as for `noiseproof.losses.Loss`. Wang et
    al., ICCV 2019.

    >>> import torch
    >>> round(symmetric_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 0.23 + 3.6
    3.8303
    """
    _check(alpha, beta, A)
    return evaluate(_symmetric(alpha, beta, A), logits, target, **options)


class SymmetricCrossEntropy(ClasswiseLoss):
    """Symmetric cross entropy as a module; see `symmetric_cross_entropy`.

    >>> SymmetricCrossEntropy(alpha=6, beta=0.1)
    sce(alpha=6, beta=0.1, A=-4)
    """

    name = "sce"
    title = "symmetric cross entropy"
    equation = "-alpha log p_y - beta A (1 - p_y)"
    source = "Wang et al., ICCV 2019"

    def __init__(
        self, *, alpha: float = 0.1, beta: float = 1.0, A: float = -4.0, **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        _check(alpha, beta, A)
        self.alpha, self.beta, self.A = alpha, beta, A

    def formula(self) -> OnLabel:
        """Give ``-alpha log p - beta A (1 - p)``."""
        return _symmetric(self.alpha, self.beta, self.A)

    def properties(self, num_classes: int) -> Properties:
        """Passive for its RCE, unbounded and without a constant sum for its CE."""
        return Properties("passive", lower=0.0, upper=math.inf, class_sum=None, asymmetry=0.0)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the terms of CE and RCE."""
        ce, rce = CrossEntropy(), ReverseCrossEntropy(A=self.A)
        return self.alpha * ce.class_terms(log_p, target) + self.beta * rce.class_terms(log_p, target)


def _symmetric(alpha: float, beta: float, A: float) -> OnLabel:
    rce = reverse(A)
    return OnLabel(
        value=lambda log_p: beta * rce.value(log_p) - alpha * log_p,
        slope=lambda log_p: beta * A * torch.exp(log_p) - alpha,
        against=lambda log_p, q: alpha * CROSS_ENTROPY.soft(log_p, q) + beta * rce.soft(log_p, q),
        known_as=(Term(alpha, "log"), Term(-beta * A, "gap")),
    )


def _check(alpha: float, beta: float, A: float) -> None:
    check_hyperparameter("sce", "alpha", alpha, expected="a number > 0", valid=alpha > 0)
    check_hyperparameter("sce", "beta", beta, expected="a number > 0", valid=beta > 0)
    check_hyperparameter("sce", "A", A, expected="a number < 0 (it stands for log 0)", valid=A < 0)
