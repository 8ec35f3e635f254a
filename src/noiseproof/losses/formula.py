"""Losses as formulas of a row: its log-probabilities ``l_k = log p_k`` and its label y, or probabilities q.

Most are functions of ``l_y`` and of sums ``S = sum_k h(l_k)`` alone (`RowFormula`), so that the gradient over
the logits needs no more than the slopes ``dL/dl_y`` and ``dL/dS`` of each row, and ``h'``: what lets one
fused pass evaluate any sum of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError

LEAST_POWER = 0.5
"""Below, single precision would leave too few digits of the sum of ``1 - p^q``."""

Elementwise = Callable[[Tensor], Tensor]
PerSample = Callable[[Tensor, Tensor], Tensor]
"""``(log_p, target) -> values``: shapes ``(..., C), (...) -> (...)``; ``(..., C)`` also for a soft target."""


class Term(NamedTuple):
    """A summand as the compiled kernels know it: ``weight`` times a function h of l, or its share or sum.

    ``function``, of ``first`` a and ``second`` b: log ``-l``, gap ``1 - p``, focal ``-(1 - p)^a l``, power
    ``(1 - p^a) / a``, one ``1``, negative ``max(b + (1 - p)^a l, 0)``, shifted ``sign(a) (|a + 1|^b -
    |a + p|^b) / b``, exponential ``exp(-p/a)``, taylor ``sum_{i=1..a} (1 - p)^i / i``, jensen_shannon the
    divergence of a label at pi = a; of the whole row bitempered, at t1 = a and t2 = b, and negative_learning
    ``-sum_{k != y} log(1 - p_k)``. ``part``: label takes ``h(l_y)``, share ``h(l_y) / sum_k h(l_k)``, sum
    ``sum_k h(l_k)``; the last two of `SUMMABLE` functions only. ``towards_top``: the m of the
    epsilon-softmax, at whose ``l_y`` a label's term then is.
    """

    weight: float
    function: str
    first: float = 0.0
    second: float = 0.0
    part: str = "label"
    towards_top: float = 0.0

    def times(self, factor: float) -> Term:
        """Give the term with its weight times ``factor``."""
        return Term(factor * self.weight, self.function, self.first, self.second, self.part, self.towards_top)


FUNCTIONS = {
    "log": 0,
    "gap": 1,
    "focal": 2,
    "power": 3,
    "one": 4,
    "negative": 5,
    "shifted": 6,
    "exponential": 7,
    "taylor": 8,
    "jensen_shannon": 9,
    "bitempered": 10,
    "negative_learning": 11,
}
PARTS = {"label": 0, "share": 1, "sum": 2}
"""Numbers of a term's function and part, by which the kernels go."""

SUMMABLE = ("log", "gap", "focal", "power", "negative")
"""Functions that the kernels sum over the classes."""


class Formula(ABC):
    """A loss of one row, in plain differentiable PyTorch.

    Formulas compare by identity (``eq=False``): PyTorch's compiler before 2.13 hashes them while tracing,
    before their fields are set. They are not frozen: one is made at every call, and freezing would cost a
    noticeable part of it at ten classes.
    """

    @abstractmethod
    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the values of ``log_p`` ``(..., C)`` at the labels ``target`` ``(...)``."""

    def terms(self, num_classes: int) -> tuple[Term, ...] | None:
        """Give the formula as a sum of what the compiled kernels know, None if it is no such sum."""
        return None

    def on_rows(self) -> RowFormula | None:
        """Give the formula as one of a row's statistics, None if it is none."""
        return None

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Give the values of ``log_p`` ``(..., C)`` against the probabilities ``q`` ``(..., C)``.

        Raises `NoiseproofError` where the loss's definition knows labels only.
        """
        raise NoiseproofError(
            "this loss is defined for class indices only, got a target of probabilities; weigh its values"
            " for the classes instead, such as lam * loss(logits, a) + (1 - lam) * loss(logits, b)"
        )


@dataclass(eq=False)
class Plain(Formula):
    """Any loss of a row, from its function of labels and, if it has one, of probabilities."""

    of_label: PerSample
    of_probabilities: PerSample | None = None

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give what the function gives."""
        return self.of_label(log_p, target)

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Give what the function of probabilities gives."""
        return (self.of_probabilities or super().soft)(log_p, q)


@dataclass(frozen=True)
class Linearized:
    """A formula at given statistics: its value, its slopes in ``l_y`` and in each sum; all ``(N, 1)``."""

    value: Tensor
    of_label: Tensor
    of_sums: tuple[Tensor, ...] = ()


class RowFormula(Formula):
    """A loss of one row as a function of ``l_y`` and of sums over the classes.

    `linearized` is the same as a call, with derivatives in closed form.
    """

    summed: tuple[OnLabel, ...] = ()
    """The elementwise functions h whose sums over the classes the formula needs."""

    def on_rows(self) -> RowFormula:
        """Give itself."""
        return self

    @abstractmethod
    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Give value and slopes from ``l_y`` and the sums of `summed`, each ``(N, 1)``."""


@dataclass(eq=False)
class OnLabel(RowFormula):
    """``h(l_y)``: a loss that depends on the label's probability alone.

    ``slope`` is ``h'``, elementwise too, or the number that it is everywhere; without it autograd finds it.
    ``against`` is the loss against probabilities, where it is defined; at a one-hot q it is ``h(l_y)``.
    ``known_as`` is h as the sum of functions that the compiled kernels know, empty if it is none.
    """

    value: Elementwise
    slope: Elementwise | float | None = None
    against: PerSample | None = None
    known_as: tuple[Term, ...] = ()

    def terms(self, num_classes: int) -> tuple[Term, ...] | None:
        """Give `known_as`."""
        return self.known_as or None

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Give ``h`` and ``h'`` at the label."""
        return Linearized(self.value(label), self.slopes(label))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Evaluate h at the label only, so that the other classes cost nothing."""
        return self.value(at_label(log_p, target))

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Give the loss against probabilities."""
        return (self.against or super().soft)(log_p, q)

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


@dataclass(eq=False)
class Normalized(RowFormula):
    """``h(l_y) / sum_k h(l_k)``, study eq. 5."""

    inner: OnLabel

    @property
    def summed(self) -> tuple[OnLabel, ...]:  # type: ignore[override]
        """The one sum that normalizes."""
        return (self.inner,)

    def terms(self, num_classes: int) -> tuple[Term, ...] | None:
        """Give the share of what h is known as, if that is a single function."""
        if len(self.inner.known_as) != 1:
            return None
        (known,) = self.inner.known_as
        if known.function not in SUMMABLE or (known.function == "power" and known.first < LEAST_POWER):
            return None
        return (Term(1.0, known.function, known.first, known.second, "share"),)

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Apply the quotient rule."""
        (total,) = sums
        value = self.inner.value(label) / total
        return Linearized(value, self.inner.slopes(label) / total, (-value / total,))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give eq. 5 as it stands."""
        values = self.inner.value(log_p)
        return at_label(values, target) / values.sum(-1)

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Divide the loss against q by the sum over all labels, as eq. 5 does."""
        return self.inner.soft(log_p, q) / self.inner.value(log_p).sum(-1)


@dataclass(eq=False)
class Weighted(Formula):
    """``sum_i w_i L_i`` of any formulas."""

    weights: tuple[float, ...]
    formulas: tuple[Formula, ...]

    def terms(self, num_classes: int) -> tuple[Term, ...] | None:
        """Give the terms of all, weighted, if each has some."""
        found: list[Term] = []
        for weight, formula in zip(self.weights, self.formulas, strict=True):
            terms = formula.terms(num_classes)
            if terms is None:
                return None
            found += terms if weight == 1 else [t.times(weight) for t in terms]
        return tuple(found)

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Sum the terms' values."""
        return _added([w * h(log_p, target) for w, h in zip(self.weights, self.formulas, strict=True)])

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Sum the terms' values."""
        return _added([w * h.soft(log_p, q) for w, h in zip(self.weights, self.formulas, strict=True)])

    def on_rows(self) -> RowFormula | None:
        """Give the sum on one set of statistics, if every term is a function of them."""
        each = [formula.on_rows() for formula in self.formulas]
        rows = tuple(row for row in each if row is not None)
        return _WeightedRows(self.weights, rows) if len(rows) == len(each) else None


@dataclass(eq=False)
class _WeightedRows(RowFormula):
    weights: tuple[float, ...]
    formulas: tuple[RowFormula, ...]

    @property
    def summed(self) -> tuple[OnLabel, ...]:  # type: ignore[override]
        """The terms' sums, one after the other."""
        return tuple(h for formula in self.formulas for h in formula.summed)

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Add up values and slopes."""
        start, values, of_label, of_sums = 0, [], [], []
        for weight, formula in zip(self.weights, self.formulas, strict=True):
            stop = start + len(formula.summed)
            part = formula.linearized(label, sums[start:stop], num_classes)
            values.append(part.value if weight == 1 else weight * part.value)
            of_label.append(part.of_label if weight == 1 else weight * part.of_label)
            of_sums += [weight * slope for slope in part.of_sums]
            start = stop
        return Linearized(_added(values), _added(of_label), tuple(of_sums))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Sum the terms' values."""
        return Weighted(self.weights, self.formulas)(log_p, target)


def minus_expm1(x: Tensor) -> Tensor:
    """Give ``1 - e^x``, with all digits of the value near 0 and of its derivative far below 0.

    The derivative of `torch.expm1` is made from its value, in which a small ``e^x`` has lost its digits.
    """
    power = x.exp()
    return power.detach() - power - torch.expm1(x).detach()


def at_label(values: Tensor, target: Tensor) -> Tensor:
    """Pick ``values[..., target]``: shapes ``(..., C), (...) -> (...)``."""
    return values.gather(-1, target.unsqueeze(-1)).squeeze(-1)


def one_hot(target: Tensor, log_p: Tensor) -> Tensor:
    """Give the labels as probabilities, of the classes and dtype of ``log_p``: ``(...) -> (..., C)``."""
    return torch.nn.functional.one_hot(target, log_p.shape[-1]).to(log_p.dtype)


def _added(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
