"""Bi-tempered logistic loss: a bounded logarithm of a heavy-tailed softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import FormulaLoss, Properties, check_hyperparameter
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Formula, Term, at_label, one_hot


def bitempered_logistic_loss(
    logits: Tensor, target: Tensor, *, t1: float = 0.8, t2: float = 1.2, **options: Unpack[Options]
) -> Tensor:
    """Bi-tempered logistic loss: ``-log_t1 u_y - (1 - sum_k u_k^(2-t1)) / (2 - t1)``, u the tempered softmax.

    ``log_t x = (x^(1-t) - 1) / (1 - t)``; ``u_k = exp_t2(z_k - lambda)``, lambda such that ``sum_k u_k = 1``.
    ``0 <= t1 <= 1`` (below 1 the loss is bounded by 1/(1 - t1)), ``t2 >= 1`` (above 1 the softmax has heavy
    tails); both 1 give cross entropy. Passive, not robust. Shapes, options and errors as for
    `noiseproof.losses.Loss`. Amid et al., NeurIPS 2019.

    >>> import torch
    >>> round(bitempered_logistic_loss(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    1.5377
    """
    _check(t1, t2)
    return evaluate(Bitempered(t1, t2), logits, target, **options)


class BitemperedLogisticLoss(FormulaLoss):
    """Bi-tempered logistic loss as a module; see `bitempered_logistic_loss`.

    >>> BitemperedLogisticLoss()
    bitempered(t1=0.8, t2=1.2)
    """

    name = "bitempered"
    title = "bi-tempered logistic loss"
    equation = "-log_t1 u_y - (1 - sum_k u_k^(2-t1)) / (2 - t1), u_k = exp_t2(z_k - lambda)"
    source = "Amid et al., NeurIPS 2019"

    def __init__(self, *, t1: float = 0.8, t2: float = 1.2, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check(t1, t2)
        self.t1, self.t2 = t1, t2

    def formula(self) -> Formula:
        """Give the divergence of the tempered softmax from the label."""
        return Bitempered(self.t1, self.t2)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Evaluate it for every class as the label, of one tempered softmax."""
        log_u = log_tempered_softmax(log_p, self.t2)
        return -_log_t(log_u, self.t1) - _missing(log_u, self.t1).unsqueeze(-1)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the terms of the divergence."""
        q = one_hot(target, log_p)
        return _divergence_terms(log_p, q, self.t1, self.t2)

    def properties(self, num_classes: int) -> Properties:
        """Passive; bounded for t1 < 1."""
        upper = math.inf if self.t1 == 1 else 1 / (1 - self.t1)
        return Properties("passive", lower=0.0, upper=upper, class_sum=None)


def log_tempered_softmax(logits: Tensor, t: float) -> Tensor:
    """Give ``log exp_t(z_k - lambda)``, ``exp_t(x) = (1 + (1 - t) x)^(1/(1-t))``, whose sum over k is 1.

    ``t >= 1``; shapes ``(..., C) -> (..., C)``.
    """
    if t == 1:
        return logits.log_softmax(-1)
    s = t - 1
    depth = s * (logits.amax(-1, keepdim=True) - logits)  # >= 0; u_k = (1 + x + depth_k)^(-1/s)
    with torch.no_grad():
        x = torch.zeros_like(depth[..., :1])
        for _ in range(NEWTON_STEPS):
            x = _newton_step(x, depth, s)
    # the last two, differentiated, make the first and second derivatives those of the exact solution
    for _ in range(2):
        x = _newton_step(x, depth, s)
    return torch.log1p(x + depth) / -s


NEWTON_STEPS = 6
"""To full double precision from x = 0, for 2 to 100,000 classes and t up to 10: convergence is quadratic."""


def _newton_step(x: Tensor, depth: Tensor, s: float) -> Tensor:
    # on (sum_k (1 + x + depth_k)^(-1/s))^-s = 1, whose left side is concave in x: no step overshoots
    log_terms = torch.log1p(x + depth) / -s
    log_sum = log_terms.logsumexp(-1, keepdim=True)
    log_slope = ((1 + s) * log_terms).logsumexp(-1, keepdim=True)
    return x + torch.exp(log_sum - log_slope) * torch.expm1(s * log_sum)


LARGEST_LOG_PARTITION = 80.0


@dataclass(eq=False)
class Bitempered(Formula):
    """The divergence of the tempered softmax from the target."""

    t1: float
    t2: float

    def terms(self, num_classes: int) -> tuple[Term, ...] | None:
        """Give the loss itself, where single precision can hold the normalization, up to ``K^(t2 - 1)``."""
        if (self.t2 - 1) * math.log(num_classes) > LARGEST_LOG_PARTITION:
            return None
        return (Term(1.0, "bitempered", self.t1, self.t2),)

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the values; log p serves as logits, whose common part does not count."""
        log_u = log_tempered_softmax(log_p, self.t2)
        return -_log_t(at_label(log_u, target), self.t1) - _missing(log_u, self.t1)

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Give the divergence from probabilities."""
        return _divergence_terms(log_p, q, self.t1, self.t2).sum(-1)


def _missing(log_u: Tensor, t1: float) -> Tensor:
    return (1 - torch.exp((2 - t1) * log_u).sum(-1)) / (2 - t1)


def _divergence_terms(log_p: Tensor, q: Tensor, t1: float, t2: float) -> Tensor:
    log_u = log_tempered_softmax(log_p, t2)
    powers = (q ** (2 - t1) - torch.exp((2 - t1) * log_u)) / (2 - t1)
    log_q = torch.where(q > 0, q, torch.ones_like(q)).log()
    return q * (_log_t(log_q, t1) - _log_t(torch.where(q > 0, log_u, 0), t1)) - powers


def _log_t(log_x: Tensor, t: float) -> Tensor:
    """Give ``log_t x`` from ``log x``."""
    return log_x if t == 1 else torch.expm1((1 - t) * log_x) / (1 - t)


def _check(t1: float, t2: float) -> None:
    check_hyperparameter("bitempered", "t1", t1, expected="a number in [0, 1]", valid=0 <= t1 <= 1)
    check_hyperparameter("bitempered", "t2", t2, expected="a number >= 1", valid=t2 >= 1)
