"""Jensen-Shannon divergence (JS) as a loss, between cross entropy and MAE."""

from __future__ import annotations

import math
from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import OnLabel, Term, minus_expm1, one_hot


def jensen_shannon(logits: Tensor, target: Tensor, *, pi: float = 0.5, **options: Unpack[Options]) -> Tensor:
    """Jensen-Shannon divergence: ``JS = (pi KL(q || m) + (1 - pi) KL(p || m)) / Z``; bounded, passive.

    ``m = pi q + (1 - pi) p``, ``Z = -(1 - pi) log(1 - pi)``, ``0 < pi < 1``: towards 0 it becomes cross
    entropy, towards 1 half of MAE; in between not robust. Shapes, options and errors as for
    `noiseproof.losses.Loss`. Englesson and Azizpour, NeurIPS 2021; the generalized divergence GJS needs
    several views of each image and is no loss of logits and a target.

    >>> import torch
    >>> round(jensen_shannon(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    1.5166
    """
    _check_pi(pi)
    return evaluate(_jensen_shannon(pi), logits, target, **options)


class JensenShannon(ClasswiseLoss):
    """Jensen-Shannon divergence as a module; see `jensen_shannon`.

    >>> JensenShannon()
    js(pi=0.5)
    """

    name = "js"
    title = "Jensen-Shannon"
    equation = "(pi KL(q || m) + (1 - pi) KL(p || m)) / -(1 - pi) log(1 - pi), m = pi q + (1 - pi) p"
    source = "Englesson and Azizpour, NeurIPS 2021"

    def __init__(self, *, pi: float = 0.5, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_pi(pi)
        self.pi = pi

    def formula(self) -> OnLabel:
        """Give the divergence from a label, a function of its probability."""
        return _jensen_shannon(self.pi)

    def properties(self, num_classes: int) -> Properties:
        """Passive; greatest where p and the label have no class in common."""
        pi = self.pi
        upper = 1 + pi * math.log(pi) / ((1 - pi) * math.log1p(-pi))
        return Properties("passive", lower=0.0, upper=upper, class_sum=None, asymmetry=0.0)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the terms of both divergences."""
        q = one_hot(target, log_p)
        return _divergence_terms(log_p, q, self.pi)


def _jensen_shannon(pi: float) -> OnLabel:
    return OnLabel(
        value=partial(_value, pi=pi),
        slope=partial(_slope, pi=pi),
        against=lambda log_p, q: _divergence_terms(log_p, q, pi).sum(-1),
        known_as=(Term(1.0, "jensen_shannon", pi),),
    )


def _log_m(log_p: Tensor, pi: float) -> Tensor:
    return torch.log1p((pi - 1) * minus_expm1(log_p))


def _value(log_p: Tensor, pi: float) -> Tensor:
    # the classes beside the label add (1 - pi) (1 - p_y) log(1/(1 - pi))
    p, log_m, log_rest = log_p.exp(), _log_m(log_p, pi), math.log1p(-pi)
    divergence = (1 - pi) * (p * (log_p - log_m) - minus_expm1(log_p) * log_rest) - pi * log_m
    return divergence / (-(1 - pi) * log_rest)


def _slope(log_p: Tensor, pi: float) -> Tensor:
    return -log_p.exp() * (1 + (log_p - _log_m(log_p, pi)) / math.log1p(-pi))


def _divergence_terms(log_p: Tensor, q: Tensor, pi: float) -> Tensor:
    p = log_p.exp()
    m = pi * q + (1 - pi) * p
    # x log(x/m) is 0 at x = 0, also where m is 0 too
    log_m = torch.where(m > 0, m, 1).log()
    of_q = torch.xlogy(q, q) - q * log_m
    of_p = p * (torch.where(p > 0, log_p, 0) - log_m)
    return (pi * of_q + (1 - pi) * of_p) / (-(1 - pi) * math.log1p(-pi))


def _check_pi(pi: float) -> None:
    check_hyperparameter("js", "pi", pi, expected="a number in (0, 1)", valid=0 < pi < 1)
