"""Asymmetric losses: unhinged (AUL), generalized cross entropy (AGCE), exponential (AEL).

Where clean labels outweigh wrong ones by enough, their noisy risk has the same minimiser as the clean one,
without a constant sum over the labels (Zhou et al., ICML 2021).
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import OnLabel, Term, minus_expm1


def asymmetric_unhinged_loss(
    logits: Tensor, target: Tensor, *, a: float = 5.5, q: float = 3.0, **options: Unpack[Options]
) -> Tensor:
    """Asymmetric unhinged loss: ``AUL = ((a - p_y)^q - (a - 1)^q) / q``, bounded, active.

    ``a > 1``, ``q > 0``. Completely asymmetric for q <= 1, else at the ratio ``((a - 1) / a)^(q - 1)``;
    robust for q = 1, where it is half of MAE. Shapes, options and errors as for `noiseproof.losses.Loss`;
    class indices only. Zhou et al., ICML 2021.

    >>> import torch
    >>> round(asymmetric_unhinged_loss(torch.zeros(1, 10), torch.tensor([3]), a=2, q=2).item(), 4)
    1.305
    """
    _check_unhinged(a, q)
    return evaluate(_unhinged(a, q), logits, target, **options)


def asymmetric_generalized_cross_entropy(
    logits: Tensor, target: Tensor, *, a: float = 0.6, q: float = 0.6, **options: Unpack[Options]
) -> Tensor:
    """Asymmetric GCE: ``AGCE = ((a + 1)^q - (a + p_y)^q) / q``, bounded, active.

    ``a > 0``, ``q > 0``. Completely asymmetric for q >= 1, else at the ratio ``(a / (a + 1))^(1 - q)``;
    robust for q = 1, where it is half of MAE. Shapes, options and errors as for `noiseproof.losses.Loss`;
    class indices only. Zhou et al., ICML 2021.

    >>> import torch
    >>> round(asymmetric_generalized_cross_entropy(torch.zeros(1, 10), torch.tensor([3]), a=1, q=2).item(), 4)
    1.395
    """
    _check_generalized(a, q)
    return evaluate(_generalized(a, q), logits, target, **options)


def asymmetric_exponential_loss(
    logits: Tensor, target: Tensor, *, a: float = 2.5, **options: Unpack[Options]
) -> Tensor:
    """Asymmetric exponential loss: ``AEL = exp(-p_y / a)``, in [exp(-1/a), 1]; active.

    ``a > 0``. Asymmetric at the ratio ``exp(-1/a)``. Shapes, options and errors as for
    `noiseproof.losses.Loss`; class indices only. Zhou et al., ICML 2021.

    >>> import torch
    >>> round(asymmetric_exponential_loss(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # exp(-0.04)
    0.9608
    """
    _check_exponential(a)
    return evaluate(_exponential(a), logits, target, **options)


class AsymmetricUnhingedLoss(ClasswiseLoss):
    """Asymmetric unhinged loss as a module; see `asymmetric_unhinged_loss`.

    >>> AsymmetricUnhingedLoss()
    aul(a=5.5, q=3)
    """

    name = "aul"
    title = "asymmetric unhinged loss"
    equation = "((a - p_y)^q - (a - 1)^q) / q"
    source = "Zhou et al., ICML 2021"

    def __init__(self, *, a: float = 5.5, q: float = 3.0, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_unhinged(a, q)
        self.a, self.q = a, q

    def formula(self) -> OnLabel:
        """Give ``((a - p)^q - (a - 1)^q) / q``."""
        return _unhinged(self.a, self.q)

    def properties(self, num_classes: int) -> Properties:
        """Active, bounded; completely asymmetric unless convex in p."""
        a, q = self.a, self.q
        return Properties(
            "active",
            lower=0.0,
            upper=(a**q - (a - 1) ** q) / q,
            class_sum=float(num_classes - 1) if q == 1 else None,
            asymmetry=((a - 1) / a) ** max(q - 1, 0),
        )


class AsymmetricGeneralizedCrossEntropy(ClasswiseLoss):
    """Asymmetric generalized cross entropy as a module; see `asymmetric_generalized_cross_entropy`.

    >>> AsymmetricGeneralizedCrossEntropy()
    agce(a=0.6, q=0.6)
    """

    name = "agce"
    title = "asymmetric generalized cross entropy"
    equation = "((a + 1)^q - (a + p_y)^q) / q"
    source = "Zhou et al., ICML 2021"

    def __init__(self, *, a: float = 0.6, q: float = 0.6, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_generalized(a, q)
        self.a, self.q = a, q

    def formula(self) -> OnLabel:
        """Give ``((a + 1)^q - (a + p)^q) / q``."""
        return _generalized(self.a, self.q)

    def properties(self, num_classes: int) -> Properties:
        """Active, bounded; completely asymmetric unless convex in p."""
        a, q = self.a, self.q
        return Properties(
            "active",
            lower=0.0,
            upper=((a + 1) ** q - a**q) / q,
            class_sum=float(num_classes - 1) if q == 1 else None,
            asymmetry=(a / (a + 1)) ** max(1 - q, 0),
        )


class AsymmetricExponentialLoss(ClasswiseLoss):
    """Asymmetric exponential loss as a module; see `asymmetric_exponential_loss`.

    >>> AsymmetricExponentialLoss()
    ael(a=2.5)
    """

    name = "ael"
    title = "asymmetric exponential loss"
    equation = "exp(-p_y / a)"
    source = "Zhou et al., ICML 2021"

    def __init__(self, *, a: float = 2.5, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_exponential(a)
        self.a = a

    def formula(self) -> OnLabel:
        """Give ``exp(-p / a)``."""
        return _exponential(self.a)

    def properties(self, num_classes: int) -> Properties:
        """Active, bounded, convex in p."""
        ratio = math.exp(-1 / self.a)
        return Properties("active", lower=ratio, upper=1.0, class_sum=None, asymmetry=ratio)


# Each power is taken relative to its value at p = 1, so that the loss keeps its digits near there.


def _unhinged(a: float, q: float) -> OnLabel:
    def log_ratio(log_p: Tensor) -> Tensor:  # of a - p to a - 1
        return torch.log1p(minus_expm1(log_p) / (a - 1))

    return OnLabel(
        value=lambda log_p: (a - 1) ** q / q * torch.expm1(q * log_ratio(log_p)),
        slope=lambda log_p: -((a - 1) ** (q - 1)) * torch.exp(log_p + (q - 1) * log_ratio(log_p)),
        known_as=(Term(1.0, "shifted", -a, q),),
    )


def _generalized(a: float, q: float) -> OnLabel:
    def log_ratio(log_p: Tensor) -> Tensor:  # of a + p to a + 1
        return torch.log1p(-minus_expm1(log_p) / (a + 1))

    return OnLabel(
        value=lambda log_p: -((a + 1) ** q) / q * torch.expm1(q * log_ratio(log_p)),
        slope=lambda log_p: -((a + 1) ** (q - 1)) * torch.exp(log_p + (q - 1) * log_ratio(log_p)),
        known_as=(Term(1.0, "shifted", a, q),),
    )


def _exponential(a: float) -> OnLabel:
    return OnLabel(
        value=lambda log_p: torch.exp(torch.exp(log_p) / -a),
        slope=lambda log_p: torch.exp(log_p - torch.exp(log_p) / a) / -a,
        known_as=(Term(1.0, "exponential", a),),
    )


LARGEST_POWER = 1e30
"""Of a + 1; beyond, single precision would overflow."""


def _check_unhinged(a: float, q: float) -> None:
    check_hyperparameter("aul", "a", a, expected="a number > 1", valid=a > 1)
    _check_power("aul", a, q)


def _check_generalized(a: float, q: float) -> None:
    check_hyperparameter("agce", "a", a, expected="a number > 0", valid=a > 0)
    _check_power("agce", a, q)


def _check_exponential(a: float) -> None:
    check_hyperparameter("ael", "a", a, expected="a number > 0", valid=a > 0)


def _check_power(loss: str, a: float, q: float) -> None:
    check_hyperparameter(loss, "q", q, expected="a number > 0", valid=q > 0)
    if q * math.log(a + 1) > math.log(LARGEST_POWER):
        raise NoiseproofError(f"a = {a:g} and q = {q:g} of {loss} must keep (a + 1)^q <= {LARGEST_POWER:g}")
