"""Losses as formulas of a row's few statistics: what lets one fused pass evaluate any sum of them.

A row is one sample: its log-probabilities ``l_k = log p_k`` and its label y. Every formula here is a function
of ``l_y`` and of sums ``S = sum_k h(l_k)``, so its gradient over the logits needs no more than the slopes
``dL/dl_y`` and ``dL/dS`` of each row, and ``h'``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Linearized:
    """A formula at given statistics: its value, its slopes in ``l_y`` and in each sum; all ``(N, 1)``."""

    value: Tensor
    of_label: Tensor
    of_sums: tuple[Tensor, ...] = ()


class RowFormula(ABC):
    """A loss of one row as a function of ``l_y`` and of sums over the classes.

    Callable as ``(log_p, target) -> values`` in plain differentiable PyTorch: shapes ``(..., C), (...) ->
    (...)``; `linearized` is the same with derivatives in closed form.
    """

    summed: tuple[OnLabel, ...] = ()
    """The elementwise functions h whose sums over the classes the formula needs."""

    @abstractmethod
    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Give value and slopes from ``l_y`` and the sums of `summed`, each ``(N, 1)``."""

    @abstractmethod
    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the values of ``log_p`` ``(..., C)`` at ``target`` ``(...)``."""


@dataclass(frozen=True)
class OnLabel(RowFormula):
    """``h(l_y)``: a loss that depends on the label's probability alone.

    ``slope`` is ``h'``, elementwise too, or the number that it is everywhere; without it autograd finds it.
    """

    value: Elementwise
    slope: Elementwise | float | None = None

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Give ``h`` and ``h'`` at the label."""
        return Linearized(self.value(label), self.slopes(label))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Evaluate h at the label only, so that the other classes cost nothing."""
        return self.value(at_label(log_p, target))

    def slopes(self, log_p: Tensor) -> Tensor:
        """Give ``h'``, elementwise."""
        if isinstance(self.slope, float):
            return torch.full_like(log_p, self.slope)
        if self.slope is not None:
            return self.slope(log_p)
        with torch.enable_grad():
            at = log_p.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(self.value(at).sum(), at)
        return slopes


@dataclass(frozen=True)
class Normalized(RowFormula):
    """``h(l_y) / sum_k h(l_k)``, study eq. 5."""

    inner: OnLabel

    @property
    def summed(self) -> tuple[OnLabel, ...]:  # type: ignore[override]
        """The one sum that normalizes."""
        return (self.inner,)

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Apply the quotient rule."""
        (total,) = sums
        value = self.inner.value(label) / total
        return Linearized(value, self.inner.slopes(label) / total, (-value / total,))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give eq. 5 as it stands."""
        values = self.inner.value(log_p)
        return at_label(values, target) / values.sum(-1)


@dataclass(frozen=True)
class Weighted(RowFormula):
    """``sum_i w_i L_i`` of formulas, on one set of statistics."""

    weights: tuple[float, ...]
    terms: tuple[RowFormula, ...]

    @property
    def summed(self) -> tuple[OnLabel, ...]:  # type: ignore[override]
        """The terms' sums, one after the other."""
        return tuple(h for term in self.terms for h in term.summed)

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Add up values and slopes."""
        start, values, of_label, of_sums = 0, [], [], []
        for weight, term in zip(self.weights, self.terms, strict=True):
            stop = start + len(term.summed)
            part = term.linearized(label, sums[start:stop], num_classes)
            values.append(part.value if weight == 1 else weight * part.value)
            of_label.append(part.of_label if weight == 1 else weight * part.of_label)
            of_sums += [weight * slope for slope in part.of_sums]
            start = stop
        return Linearized(_added(values), _added(of_label), tuple(of_sums))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Sum the terms' values."""
        return _added([w * term(log_p, target) for w, term in zip(self.weights, self.terms, strict=True)])


def at_label(values: Tensor, target: Tensor) -> Tensor:
    """Pick ``values[..., target]``: shapes ``(..., C), (...) -> (...)``."""
    return values.gather(-1, target.unsqueeze(-1)).squeeze(-1)


def _added(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
