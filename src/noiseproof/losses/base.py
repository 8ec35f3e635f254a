"""What a loss is: per-sample values from log-probabilities, and what is known about it as data."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Unpack

import torch
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError, did_you_mean, shown
from noiseproof.losses.checks import Reduction, check_ignore_index, check_reduction, check_weight
from noiseproof.losses.evaluation import DEFAULTS, Options, evaluate_checked
from noiseproof.losses.formula import Formula, OnLabel, Plain

Kind = Literal["active", "passive"]


@dataclass(frozen=True)
class Properties:
    """What is known of a loss at a given number of classes and its hyperparameters.

    ``kind``: active if only the label's term is non-zero, passive if a term of another class is
    (Definitions 1-2 of the study, with the index that the definitions mean: ``l(f(x), k)``, k != y).
    ``lower``, ``upper``: bounds over all probabilities and labels; infimum and supremum themselves for the
    catalogue's own losses, while those of sums and corrections need not be attained. All of it is said of the
    loss without class weights.
    ``class_sum``: the constant that the loss sums to over all labels, or None if it is no constant.
    ``asymmetry``: the asymmetry ratio of Zhou et al., ICML 2021, of a loss ``l(p_y)``:
    ``inf (l(u) - l(u + v)) / (l(0) - l(v))`` over u, v >= 0, u + v <= 1; 1 makes it completely asymmetric;
    None for a loss that is no function of p_y alone.
    """

    kind: Kind
    lower: float
    upper: float
    class_sum: float | None
    asymmetry: float | None = None

    @property
    def robust(self) -> bool:
        """Tolerant of symmetric noise below (K-1)/K: the loss sums to a constant over labels (Lemma 1)."""
        return self.class_sum is not None


class NothingKnownError(NoiseproofError):
    """A loss tells nothing of itself."""


class Loss(nn.Module, ABC):
    """A loss on logits and class indices, a drop-in for `torch.nn.CrossEntropyLoss`.

    Shapes: logits ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``; target the same without ``C``; result a
    scalar, or the target's shape with ``reduction="none"``. The mean is over the labels that are not
    ``ignore_index``, and 0 if there are none. A loss whose definition is written for probabilities q (CE, FL,
    MAE, RCE, their normalized forms and sums, and others that say so) takes a floating-point target of the
    logits' shape too. ``weight`` ``(C,)`` multiplies each label's loss by its class's factor and divides the
    mean by the factors' sum; the sum over labels is then no constant, so a robust loss is no longer one.
    ``in_place`` makes the gradient in the logits' memory. `Options` says more.

    A new loss gives `per_sample`; to be in the catalogue, `properties` and the class variables too, and
    `formula` where one fused pass can evaluate it. Its hyperparameters are the keyword-only arguments of
    ``__init__`` and attributes of the same name. ``str(loss)`` is the text that `noiseproof.losses.parse`
    reads back.

    Raises:
        NoiseproofError: an option or hyperparameter is out of range.
    """

    name: ClassVar[str]
    """How the loss is written as text, such as ``nce``."""
    title: ClassVar[str]
    """The name in words, such as ``normalized cross entropy``."""
    equation: ClassVar[str]
    """The formula as one line of text."""
    source: ClassVar[str]
    """Paper and equation."""

    reduction: Reduction
    ignore_index: int
    weight: Tensor | None
    in_place: bool

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__()
        self.register_buffer("weight", None)
        self.configure(**options)

    def configure(
        self,
        *,
        reduction: Reduction = "mean",
        ignore_index: int = -100,
        weight: Tensor | None = None,
        in_place: bool = False,
        **unknown: object,
    ) -> None:
        """Set the `Options`; raises `NoiseproofError` for what they can't be, and for any other."""
        for name in unknown:
            valid = [*hyperparameter_defaults(type(self)), *DEFAULTS]
            raise NoiseproofError(f"{self.name} has no option {name!r}; {instead_of(name, valid)}")
        check_reduction(reduction)
        check_ignore_index(ignore_index)
        self.reduction, self.ignore_index, self.weight = reduction, ignore_index, weight
        self.in_place = in_place

    def __setattr__(self, name: str, value: Any) -> None:
        """Check class weights wherever they are set, so that no call has to."""
        if name == "weight" and value is not None:
            check_weight(value)
        super().__setattr__(name, value)

    @abstractmethod
    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each sample: shapes ``(..., C), (...) -> (...)``."""

    def properties(self, num_classes: int) -> Properties:
        """Tell what is known of the loss for ``num_classes`` classes; raises `NothingKnownError`, as here."""
        raise NothingKnownError(f"nothing is known of {type(self).__name__}; a certificate computes it")

    def per_class(self, log_p: Tensor) -> Tensor:
        """Give the loss for every class as the label: shapes ``(..., C) -> (..., C)``.

        This default asks `per_sample` once per class; losses with a cheaper form override it.
        """
        labels = log_p.new_zeros(log_p.shape[:-1], dtype=torch.long)
        return torch.stack([self.per_sample(log_p, labels + k) for k in range(log_p.shape[-1])], dim=-1)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the terms ``l(f(x), k)`` that the definition adds up: shapes ``(..., C), (...) -> (..., C)``.

        They tell active from passive. This default is that of an active loss: all of it in the label's term.
        """
        values = self.per_sample(log_p, target).unsqueeze(-1)
        return torch.zeros_like(log_p).scatter(-1, target.unsqueeze(-1), values)

    def formula(self) -> Formula:
        """Give what is evaluated: a `RowFormula` where the loss is one, else `per_sample` as it is."""
        return Plain(self.per_sample)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the reduced loss; raises `NoiseproofError` where shapes, dtypes or values do not fit."""
        return evaluate_checked(self.formula(), logits, target, **self.options)

    @property
    def options(self) -> Options:
        """What `configure` set."""
        return {
            "reduction": self.reduction,
            "ignore_index": self.ignore_index,
            "weight": self.weight,
            "in_place": self.in_place,
        }

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The loss's own numbers by the papers' symbols, such as ``{"gamma": 0.5}``."""
        return {name: getattr(self, name) for name in hyperparameter_defaults(type(self))}

    @property
    def label(self) -> str:
        """The name as tables print it, with the hyperparameters that differ from their defaults."""
        defaults = hyperparameter_defaults(type(self))
        return self.name.upper() + call_text(
            {name: value for name, value in self.hyperparameters.items() if value != defaults[name]}
        )

    def __str__(self) -> str:
        """The loss as text, every hyperparameter written out."""
        return self.name + call_text(self.hyperparameters)

    def __repr__(self) -> str:
        """Same as `str`: what `parse` reads back."""
        return str(self)


class FormulaLoss(Loss):
    """A loss that is given by its formula."""

    @abstractmethod
    def formula(self) -> Formula:
        """Give what is evaluated."""

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Evaluate the formula at the labels."""
        return self.formula()(log_p, target)


class ClasswiseLoss(FormulaLoss):
    """A loss that depends on the label's probability alone: ``L(f(x), y) = h(log p_y)``."""

    @abstractmethod
    def formula(self) -> OnLabel:
        """Give h, and its derivative if it has a closed form."""

    def per_class(self, log_p: Tensor) -> Tensor:
        """Evaluate h at every class."""
        return self.formula().value(log_p)


def hyperparameter_defaults(loss: type[Loss]) -> dict[str, float]:
    """Read a loss's hyperparameters and defaults off its constructor."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(loss).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in Options.__annotations__
    }


def known_properties(loss: Loss) -> Properties | None:
    """Give what is known of a loss at any number of classes that it fits; None if it fits none of these."""
    # a correction by a matrix fits its own number only
    for num_classes in (10, 100, *range(2, 102), 1000):
        try:
            return loss.properties(num_classes)
        except NothingKnownError:
            return None
        except NoiseproofError:
            continue
    return None


def check_part(part: Loss, whole: Loss) -> None:
    """Raise `NoiseproofError` if a loss within another would weigh labels, or leave them out, on its own."""
    for name in ("ignore_index", "weight", "in_place"):
        own = getattr(part, name)
        if not (_same(own, DEFAULTS[name]) or _same(own, getattr(whole, name))):
            raise NoiseproofError(f"give {name} to the whole loss, not to {part} within it")


def check_is_loss(given: object, *, to_be: str) -> None:
    """Raise `NoiseproofError` unless ``given`` is a `Loss`, with what would make it one.

    >>> check_is_loss(3, to_be="summed")
    Traceback (most recent call last):
    noiseproof.errors.NoiseproofError: only a noiseproof Loss can be summed, got int
    """
    if isinstance(given, Loss):
        return
    what = type(given).__name__
    if isinstance(given, str):
        what = f"the text {shown(given)}; losses.parse({shown(given)}) reads it"
    elif isinstance(given, type) and issubclass(given, Loss):
        what = f"the class {given.__name__}; {given.__name__}() makes a loss"
    raise NoiseproofError(f"only a noiseproof Loss can be {to_be}, got {what}")


def _same(own: object, other: object) -> bool:
    if isinstance(own, Tensor) and isinstance(other, Tensor):
        return torch.equal(own, other)
    return own is other or (not isinstance(own, Tensor) and own == other)


def instead_of(option: str, valid: Iterable[str]) -> str:
    """Offer what there is in place of an option that there is not."""
    if option == "label_smoothing":
        return "label smoothing is a loss here, 'ls(epsilon=0.1)'"
    return did_you_mean(option, valid)


def call_text(hyperparameters: dict[str, float]) -> str:
    """Write hyperparameters as ``(gamma=0.5)``, or nothing if there are none."""
    if not hyperparameters:
        return ""
    return "(" + ", ".join(f"{name}={number_text(value)}" for name, value in hyperparameters.items()) + ")"


def number_text(value: float) -> str:
    """Write a number so that it reads back as the same number, without a trailing ``.0``.

    >>> number_text(-4.0), number_text(0.1)
    ('-4', '0.1')
    """
    return repr(float(value)).removesuffix(".0")


def check_hyperparameter(loss: str, name: str, value: float, *, expected: str, valid: bool) -> None:
    """Raise `NoiseproofError` unless ``valid``; NaN, infinities and tensors are never valid."""
    if isinstance(value, Tensor):
        given = f"got a {type(value).__name__} {tuple(value.shape)}; it is not learned"
        raise NoiseproofError(f"{name} of {loss} must be {expected}, {given}")
    if isinstance(value, bool) or not (abs(value) < float("inf")) or not valid:
        raise NoiseproofError(f"{name} of {loss} must be {expected}, got {value!r}")
