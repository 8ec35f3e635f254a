"""Normalization (study eq. 5): divide a loss by its sum over all classes, and it becomes robust."""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses.base import Loss, Properties, check_is_loss, check_part, known_properties
from noiseproof.losses.evaluation import Options
from noiseproof.losses.formula import Formula, Normalized, OnLabel, Plain, at_label


class NormalizedLoss(Loss):
    """Any loss, normalized: ``L_norm(f(x), y) = L(f(x), y) / sum_j L(f(x), j)``, in [0, 1]; robust.

    Args:
        loss: the `Loss` to normalize. Its values must be non-negative, and not all zero, for every
            class, so a loss that is known to fall below 0 is refused; its own ``reduction`` is not used.
        options: reduction, ignore_index, weight; see `Loss`.

    Ma et al., ICML 2020; study eq. 5. NCE, NFL, NMAE and NRCE are this, with cheaper closed forms.

    >>> import torch
    >>> from noiseproof.losses import CrossEntropy, NormalizedCrossEntropy
    >>> logits, target = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([1])
    >>> generic = NormalizedLoss(CrossEntropy())
    >>> generic
    normalized(ce)
    >>> torch.equal(generic(logits, target), NormalizedCrossEntropy()(logits, target))
    True
    """

    name = "normalized"
    title = "normalization of any loss"
    equation = "L(f(x), y) / sum_k L(f(x), k)"
    source = "Ma et al., ICML 2020; study eq. 5"

    def __init__(self, loss: Loss, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_normalizable(loss)
        check_part(loss, self)
        self.loss = loss

    def relative_values(self, log_p: Tensor) -> Tensor:
        """Give the loss of every class, up to a factor that a sample's classes share: it cancels."""
        return self.loss.per_class(log_p)

    def formula(self) -> Formula:
        """Give eq. 5 on the row's statistics, where the loss's value for a class depends on its p alone."""
        inner = self.loss.formula()
        return Normalized(inner) if isinstance(inner, OnLabel) else Plain(self.per_sample, self._soft)

    def _soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        return self.loss.formula().soft(log_p, q) / self.loss.per_class(log_p).sum(-1)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the loss's terms over its sum over all labels."""
        return self.loss.class_terms(log_p, target) / self.loss.per_class(log_p).sum(-1, keepdim=True)

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give eq. 5 as it stands, from the loss of every class."""
        values = self.relative_values(log_p)
        return at_label(values, target) / values.sum(-1)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Give eq. 5 for every class as the label."""
        values = self.relative_values(log_p)
        return values / values.sum(-1, keepdim=True)

    def properties(self, num_classes: int) -> Properties:
        """Keep the kind; sum to 1; scale the bounds where the loss's own sum is a constant.

        Else, of a function of p_y alone that falls, and is convex or concave, they are exact too.
        """
        inner = self.loss.properties(num_classes)
        scale = inner.class_sum
        lower, upper = 0.0, 1.0
        if scale is not None:
            lower, upper = inner.lower / scale, inner.upper / scale
        elif math.isfinite(inner.upper) and isinstance(formula := self.loss.formula(), OnLabel):
            lower, upper = _share_bounds(formula, num_classes)
        # divided by a constant, it stays what it was
        asymmetry = None if scale is None else inner.asymmetry
        return Properties(inner.kind, lower=lower, upper=upper, class_sum=1.0, asymmetry=asymmetry)

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The hyperparameters of the loss that is normalized."""
        return self.loss.hyperparameters

    @property
    def label(self) -> str:
        """The name as tables print it."""
        return super().label if type(self) is not NormalizedLoss else f"NORMALIZED({self.loss.label})"

    def __str__(self) -> str:
        """``normalized(ce)``; the named forms print as ``nce``."""
        return super().__str__() if type(self) is not NormalizedLoss else f"{self.name}({self.loss})"


def _check_normalizable(loss: Any) -> None:
    check_is_loss(loss, to_be="normalized")
    # NMAE's and NRCE's own sum is 1 already; normalizing twice would change nothing but the cost
    if isinstance(loss, NormalizedLoss):
        raise NoiseproofError(f"{loss} is normalized already")
    known = known_properties(loss)
    if known is not None and known.lower < 0:
        raise NoiseproofError(
            f"only a loss that is nowhere negative can be normalized, but {loss} may fall to {known.lower:g}:"
            " its sum over the classes, which is divided by, might vanish"
        )


GRID = 60
"""Steps from p = 0 to 1, few enough that PyTorch leaves them to one thread: a process that is forked after
several were at work would wait for them in vain."""

LEAST_LOG_P = -1e300
"""In place of minus infinity, which 0 times would be no number."""


def _share_bounds(formula: OnLabel, num_classes: int) -> tuple[float, float]:
    """Give the infimum and supremum of ``h(p_y) / sum_k h(p_k)``, h being bounded.

    Of an h that falls both are where the label's class is certain, and where it is impossible and the others
    have the least sum they can: all alike if h is convex, one of them certain if it is concave. Of any other
    h these bounds are 0 and 1.
    """
    p = torch.linspace(0, 1, GRID + 1, dtype=torch.float64)
    level = formula.value(p.log().clamp(min=LEAST_LOG_P))
    greatest, least = level[0].item(), level[-1].item()
    falls = bool((level.diff() <= 0).all()) and least >= 0
    if not falls or greatest == least:
        return 0.0, 1.0
    others = num_classes - 1
    lower = least / (least + others * greatest)
    bend, slack = level.diff(n=2), 1e-12 * greatest
    if bool((bend >= -slack).all()):
        alike = formula.value(torch.tensor(1 / others, dtype=torch.float64).log()).item()
        return lower, greatest / (greatest + others * alike)
    if bool((bend <= slack).all()):
        return lower, greatest / (least + others * greatest)
    return lower, 1.0
