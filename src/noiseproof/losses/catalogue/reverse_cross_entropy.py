"""Reverse cross entropy (RCE) and its normalized form (NRCE)."""

from __future__ import annotations

from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.catalogue.mean_absolute_error import NormalizedGap
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import OnLabel, Term, minus_expm1
from noiseproof.losses.normalization import NormalizedLoss


def reverse_cross_entropy(
    logits: Tensor, target: Tensor, *, A: float = -4.0, **options: Unpack[Options]
) -> Tensor:
    """Reverse cross entropy: ``RCE = -sum_k p_k log q_k = -A (1 - p_y)``, in [0, -A]; passive, robust.

    ``A < 0`` stands for log 0: -4 here as in the study's text; some published code has ln 1e-4 = -9.21.
    Shapes, options and errors as for `noiseproof.losses.Loss`; of probabilities q, ``log q_k`` below A counts
    as A. Wang et al., ICCV 2019; study eq. 3.

    >>> import torch
    >>> round(reverse_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    3.6
    """
    _check_A("rce", A)
    return evaluate(reverse(A), logits, target, **options)


def normalized_reverse_cross_entropy(
    logits: Tensor, target: Tensor, *, A: float = -4.0, **options: Unpack[Options]
) -> Tensor:
    """Normalized RCE: ``NRCE = (1 - p_y) / (K - 1) = RCE / (-A (K - 1))``, in [0, 1/(K-1)]; passive, robust.

    ``A`` cancels for labels; it is accepted so that RCE and NRCE are called alike. Shapes, options and errors
    as for `noiseproof.losses.Loss`. Ma et al., ICML 2020; study eq. 8, whose last form lacks the minus before
    A: with it, as the definition gives, the loss is positive.

    >>> import torch
    >>> round(normalized_reverse_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    0.1
    """
    _check_A("nrce", A)
    return evaluate(_normalized_reverse(A), logits, target, **options)


class ReverseCrossEntropy(ClasswiseLoss):
    """Reverse cross entropy as a module; see `reverse_cross_entropy`.

    >>> ReverseCrossEntropy()
    rce(A=-4)
    """

    name = "rce"
    title = "reverse cross entropy"
    equation = "-A (1 - p_y)"
    source = "Wang et al., ICCV 2019; study eq. 3"

    def __init__(self, *, A: float = -4.0, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_A("rce", A)
        self.A = A

    def formula(self) -> OnLabel:
        """Give ``-A (1 - p)``."""
        return reverse(self.A)

    def properties(self, num_classes: int) -> Properties:
        """Passive, in [0, -A], sums to -A (K - 1)."""
        class_sum = -self.A * (num_classes - 1)
        return Properties("passive", lower=0.0, upper=-self.A, class_sum=class_sum, asymmetry=1.0)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give ``-p_k log q_k``."""
        log_q = torch.full_like(log_p, self.A).scatter(-1, target.unsqueeze(-1), 0.0)
        return -log_p.exp() * log_q


class NormalizedReverseCrossEntropy(NormalizedLoss):
    """Normalized reverse cross entropy as a module; see `normalized_reverse_cross_entropy`.

    >>> NormalizedReverseCrossEntropy()
    nrce(A=-4)
    """

    name = "nrce"
    title = "normalized reverse cross entropy"
    equation = "(1 - p_y) / (K - 1)"
    source = "Ma et al., ICML 2020; study eq. 8"

    def __init__(self, *, A: float = -4.0, **options: Unpack[Options]) -> None:
        _check_A("nrce", A)
        super().__init__(ReverseCrossEntropy(A=A), **options)
        self.A = A

    def formula(self) -> NormalizedGap:
        """Give the closed form, at the label only."""
        return _normalized_reverse(self.A)


def reverse(A: float) -> OnLabel:
    """Give ``-A (1 - p)``."""
    return OnLabel(
        value=lambda log_p: -A * minus_expm1(log_p),
        slope=lambda log_p: A * torch.exp(log_p),
        against=partial(_against, A=A),
        known_as=(Term(-A, "gap"),),
    )


def _normalized_reverse(A: float) -> NormalizedGap:
    return NormalizedGap(against=lambda log_p, q: _against(log_p, q, A) / -A)


def _against(log_p: Tensor, q: Tensor, A: float) -> Tensor:
    log_q = torch.where(q > 0, torch.where(q > 0, q, 1).log(), A).clamp(min=A)
    return -(log_p.exp() * log_q).sum(-1)


def _check_A(loss: str, A: float) -> None:
    check_hyperparameter(loss, "A", A, expected="a number < 0 (it stands for log 0)", valid=A < 0)
