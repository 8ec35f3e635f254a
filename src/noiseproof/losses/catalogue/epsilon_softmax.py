"""Losses on the epsilon-softmax, which moves a prediction towards the one-hot vector of its top class."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import FormulaLoss, Properties, check_hyperparameter
from noiseproof.losses.catalogue.cross_entropy import CROSS_ENTROPY
from noiseproof.losses.catalogue.focal import check_gamma, focal
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Formula, OnLabel, Term, at_label, minus_expm1


def epsilon_softmax_cross_entropy(
    logits: Tensor, target: Tensor, *, m: float = 1e5, **options: Unpack[Options]
) -> Tensor:
    """Epsilon-softmax CE: ``CE_eps = -log p'_y``, ``p' = (p + m e_top) / (m + 1)``; active, unbounded.

    ``top`` is the class of greatest p, ``m >= 0``; 0 gives cross entropy. Once the label is the top class the
    loss is nearly 0: the sample is left alone. Shapes, options and errors as for `noiseproof.losses.Loss`.
    Wang et al., NeurIPS 2024, who add MAE: ``0.01*ce_eps(m=1e5) + 5*mae`` under symmetric noise on CIFAR-10.

    >>> import torch
    >>> round(epsilon_softmax_cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), m=1).item(), 4)
    0.0615
    """
    _check_m("ce_eps", m)
    return evaluate(OnEpsilonSoftmax(CROSS_ENTROPY, m), logits, target, **options)


def epsilon_softmax_focal_loss(
    logits: Tensor, target: Tensor, *, m: float = 1e5, gamma: float = 0.1, **options: Unpack[Options]
) -> Tensor:
    """Epsilon-softmax FL: ``FL_eps = -(1 - p'_y)^gamma log p'_y``, p' as in CE_eps; active, unbounded.

    ``m >= 0``, ``gamma >= 0``. The focal factor is differentiated, as everywhere here; the authors' code
    keeps it constant. Shapes, options and errors as for `noiseproof.losses.Loss`. Wang et al., NeurIPS 2024.

    >>> import torch
    >>> round(epsilon_softmax_focal_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), m=1).item(), 4)
    0.0464
    """
    _check_m("fl_eps", m)
    check_gamma("fl_eps", gamma)
    return evaluate(OnEpsilonSoftmax(focal(gamma), m), logits, target, **options)


class EpsilonSoftmaxLoss(FormulaLoss):
    """A loss on the epsilon-softmax."""

    def __init__(self, *, m: float = 1e5, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_m(self.name, m)
        self.m = m

    @abstractmethod
    def on_epsilon_softmax(self) -> OnLabel:
        """Give the loss as a function of log p'."""

    def formula(self) -> Formula:
        """Give the loss of p'."""
        return OnEpsilonSoftmax(self.on_epsilon_softmax(), self.m)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Evaluate the loss of p' for every class as the label."""
        return self.on_epsilon_softmax().value(_moved(log_p, _is_top(log_p), self.m))

    def properties(self, num_classes: int) -> Properties:
        """Active, unbounded, no constant sum; no function of p_y alone but for m = 0."""
        asymmetry = 0.0 if self.m == 0 else None
        return Properties("active", lower=0.0, upper=math.inf, class_sum=None, asymmetry=asymmetry)


class EpsilonSoftmaxCrossEntropy(EpsilonSoftmaxLoss):
    """Epsilon-softmax cross entropy as a module; see `epsilon_softmax_cross_entropy`.

    >>> EpsilonSoftmaxCrossEntropy(m=1000)
    ce_eps(m=1000)
    """

    name = "ce_eps"
    title = "epsilon-softmax cross entropy"
    equation = "-log p'_y, p' = (p + m e_top) / (m + 1)"
    source = "Wang et al., NeurIPS 2024"

    def on_epsilon_softmax(self) -> OnLabel:
        """Give cross entropy."""
        return CROSS_ENTROPY


class EpsilonSoftmaxFocalLoss(EpsilonSoftmaxLoss):
    """Epsilon-softmax focal loss as a module; see `epsilon_softmax_focal_loss`.

    >>> EpsilonSoftmaxFocalLoss()
    fl_eps(m=100000, gamma=0.1)
    """

    name = "fl_eps"
    title = "epsilon-softmax focal loss"
    equation = "-(1 - p'_y)^gamma log p'_y, p' = (p + m e_top) / (m + 1)"
    source = "Wang et al., NeurIPS 2024"

    def __init__(self, *, m: float = 1e5, gamma: float = 0.1, **options: Unpack[Options]) -> None:
        super().__init__(m=m, **options)
        check_gamma("fl_eps", gamma)
        self.gamma = gamma

    def on_epsilon_softmax(self) -> OnLabel:
        """Give the focal loss."""
        return focal(self.gamma)


@dataclass(eq=False)
class OnEpsilonSoftmax(Formula):
    """``h(log p'_y)``, ``p' = (p + m e_top) / (m + 1)``."""

    loss: OnLabel
    m: float

    def terms(self, num_classes: int) -> tuple[Term, ...]:
        """Give the loss's terms, at the moved label."""
        return tuple(term._replace(towards_top=self.m) for term in self.loss.known_as)

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Evaluate h at the label only."""
        label = at_label(log_p, target)
        return self.loss.value(_moved(label, log_p.argmax(-1) == target, self.m))

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Give the loss of p' against probabilities."""
        return self.loss.soft(_moved(log_p, _is_top(log_p), self.m), q)


def _is_top(log_p: Tensor) -> Tensor:
    top = log_p.argmax(-1, keepdim=True)
    return torch.zeros_like(log_p, dtype=torch.bool).scatter(-1, top, True)


def _moved(log_p: Tensor, is_top: Tensor, m: float) -> Tensor:
    """Give log p'; that of the top class from 1 - p, which keeps its digits near 0."""
    of_top = torch.where(is_top, log_p, 0)  # elsewhere the logarithm's slope could be infinite
    return torch.where(is_top, torch.log1p(-minus_expm1(of_top) / (m + 1)), log_p - math.log1p(m))


def _check_m(loss: str, m: float) -> None:
    check_hyperparameter(loss, "m", m, expected="a number >= 0", valid=m >= 0)
