"""The certificate of a loss: everything that can be computed about it, in one piece of data."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from noiseproof.certificates.asymmetry import Slope, asymmetry_ratio, depends_on_label_alone
from noiseproof.certificates.experiment import Experiment, asymmetric_experiment, symmetric_experiment
from noiseproof.certificates.extremes import Extreme, extremes, not_a_number
from noiseproof.certificates.gradients import Gradients, gradients
from noiseproof.certificates.tolerance import asymmetric_rate, symmetric_rate
from noiseproof.certificates.values import (
    AnyLoss,
    Values,
    in_double,
    label_factors,
    random_logits,
    values_by_label,
)
from noiseproof.errors import NoiseproofError
from noiseproof.losses import Loss, NothingKnownError, WeightedSum, parse
from noiseproof.losses.base import Kind
from noiseproof.losses.formula import OnLabel

CANCELLED = 1e-4
"""Digits that a sum over labels may lose beyond rounding, as a share of what is added up."""

FLAT = 1e-9
"""A loss that ranges over no more, relative to its size, is a constant."""

AT_LABEL = 1e-6
"""How much worse than the least value one may be that still counts as least."""


@dataclass(frozen=True)
class Certificate:
    """What computation says of a loss at a number of classes K; ``str`` is a page of text.

    ``lower``, ``upper``: its extreme values, over all logits and labels. ``least_sum``, ``greatest_sum``:
    those of its sum over all labels. ``constant_sum``: whether that is constant, so that the loss is
    symmetric, robust by Lemma 1. ``least_at_label``: whether it is least where its label is the likeliest
    class; if not, nothing is promised, for its minimiser is wrong without any noise. ``kind``: active or
    passive by the terms that its definition adds up, None if it has not told them. ``label_alone``: whether
    it is a function of p_y. ``asymmetry``: its asymmetry ratio if so. ``symmetric_rate``,
    ``asymmetric_rate``: up to where the lemmas promise noise tolerance, 0 for no promise. ``symmetric``,
    ``asymmetric``: what an exact experiment shows. ``gradients``: its forces on the true class.
    ``not_a_number``: logits at which it gives no number for some label, None if none were met.
    """

    loss: str
    num_classes: int
    lower: Extreme
    upper: Extreme
    least_sum: Extreme
    greatest_sum: Extreme
    constant_sum: bool
    least_at_label: bool
    kind: Kind | None
    label_alone: bool
    asymmetry: float | None
    symmetric_rate: float
    asymmetric_rate: float
    symmetric: Experiment
    asymmetric: Experiment
    gradients: Gradients
    not_a_number: tuple[float, ...] | None

    @property
    def sum_spread(self) -> float:
        """How far the sum over labels is from constant: greatest minus least, infinite if it is unbounded."""
        unbounded = self.least_sum.unbounded or self.greatest_sum.unbounded
        return float("inf") if unbounded else self.greatest_sum.value - self.least_sum.value

    @property
    def size(self) -> float:
        """About how large the loss's values are, to tell what is small beside them."""
        ends = (self.lower, self.upper, self.least_sum, self.greatest_sum)
        known = [abs(end.value) for end in ends if not end.unbounded] + [self._greatest_force]
        return max((value for value in known if math.isfinite(value)), default=1.0)

    @property
    def _greatest_force(self) -> float:
        forces = self.gradients.right + self.gradients.wrong
        return max((abs(force) for force in forces if math.isfinite(force)), default=1.0)

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain data; a number that JSON lacks is None."""
        found = asdict(self) | {"sum_spread": self.sum_spread}
        return {name: _finite(value) for name, value in found.items()}

    def as_json(self) -> str:
        """Give `as_dict` as JSON."""
        return json.dumps(self.as_dict(), indent=2)

    def __str__(self) -> str:
        """Everything as text."""
        lines = (f"  {name:<20}{value}" for name, value in self.lines())
        return "\n".join([f"{self.loss}, {self.num_classes} classes", *lines])

    def lines(self) -> list[tuple[str, str]]:
        """Give what `str` shows, as pairs of a name and a sentence."""
        if self.constant_sum:
            sum_text = _text(self.least_sum.value, self.size)
            total = f"{sum_text}, whatever the logits (spread {self.sum_spread:.0e})"
        else:
            total = f"not constant: {self._end(self.least_sum)} to {self._end(self.greatest_sum)}"
        kind = "not known, no terms are given" if self.kind is None else self.kind
        forces = [self.gradients.at(p) for p in (1 / self.num_classes, 0.5, 0.95)]
        right, wrong = (
            ", ".join(_text(force, self._greatest_force, 3) for force in side)
            for side in zip(*forces, strict=True)
        )
        places = f"p_y = {1 / self.num_classes:.2g}, 0.5, 0.95"
        pairs = [
            ("range", f"{self._end(self.lower)} to {self._end(self.upper)}"),
            ("sum over labels", total),
            ("kind", kind),
            ("depends on", "p_y alone" if self.label_alone else "the other probabilities too"),
        ]
        if not self.constant_sum:
            pairs.append(("worst logits", _logits_text(self.greatest_sum.logits)))
        if self.asymmetry is not None:
            complete = ", completely asymmetric" if self.asymmetry > 1 - 1e-6 else ""
            pairs.append(("asymmetry ratio", f"{_text(self.asymmetry, digits=3)}{complete}"))
        if not self.least_at_label:
            pairs.append(("minimum", "at a wrong class: what it is least for is no right answer"))
        if self.not_a_number is not None:
            pairs.append(("not a number", f"at the logits {_logits_text(self.not_a_number)}"))
        return [
            *pairs,
            ("symmetric noise", _noise_text(self.symmetric_rate, self.symmetric)),
            ("asymmetric noise", _noise_text(self.asymmetric_rate, self.asymmetric)),
            ("right label pulls", f"{right} at {places}"),
            ("wrong label pushes", f"{wrong} at {places}"),
        ]

    def _end(self, extreme: Extreme) -> str:
        if extreme.unbounded:
            return "infinity" if extreme.value > 0 else "-infinity"
        return _text(extreme.value, self.size)


def certify(loss: AnyLoss | str, num_classes: int = 10) -> Certificate:
    """Certify a loss: its range, symmetry, asymmetry, promised and observed noise tolerance, and gradients.

    ``loss``: a `noiseproof.losses.Loss` or its text, or any ``(logits, target) -> values`` in PyTorch, such
    as your own `torch.nn.Module`, of one value a sample or of one number. ``num_classes`` K from 2 to 1000.
    In float64 on the CPU; the same answer each time. An infimum or supremum is the best that an optimiser
    found from extreme and random logits: the true one may lie further out, so a claimed bound
    may be refuted for certain, but never proved.

    Raises:
        NoiseproofError: the text is no loss, K is out of range, or the loss gives no numbers.

    >>> certificate = certify("nce + mae", num_classes=10)
    >>> certificate.constant_sum, round(certificate.upper.value, 3), certificate.kind
    (True, 3.0, 'passive')
    >>> certify(torch.nn.functional.cross_entropy).constant_sum
    False
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or not 2 <= num_classes <= 1000:
        raise NoiseproofError(f"num_classes must be a whole number from 2 to 1000, got {num_classes!r}")
    given = parse(loss) if isinstance(loss, str) else loss
    if isinstance(given, type):
        raise NoiseproofError(f"a loss must be made before it is certified: write {given.__name__}()")
    if not callable(given):
        raise NoiseproofError(f"a loss must be callable as loss(logits, target), got {type(given).__name__}")
    # whatever the caller does without gradients, or on another device
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu"):
        return _certificate(given, num_classes)


def _certificate(loss: AnyLoss, num_classes: int) -> Certificate:
    given = in_double(loss)
    values = values_by_label(given, num_classes)
    _check_numbers(values, num_classes)
    size = values.size(num_classes)
    unit = values.times(1 / size)
    facts = _facts(given, unit, num_classes)
    symmetric, asymmetric = _promised_rates(given, facts, num_classes)
    return Certificate(
        loss=str(given) if isinstance(given, Loss) else _name(given),
        num_classes=num_classes,
        lower=_times(size, facts.lower),
        upper=_times(size, facts.upper),
        least_sum=_times(size, facts.least_sum),
        greatest_sum=_times(size, facts.greatest_sum),
        constant_sum=facts.constant_sum,
        least_at_label=facts.least_at_label,
        kind=_kind(given, num_classes) if isinstance(given, Loss) else None,
        label_alone=facts.label_alone,
        asymmetry=facts.asymmetry,
        symmetric_rate=symmetric,
        asymmetric_rate=asymmetric,
        symmetric=symmetric_experiment(unit, num_classes),
        asymmetric=asymmetric_experiment(unit, num_classes),
        gradients=gradients(values, num_classes),
        not_a_number=not_a_number(values, num_classes),
    )


def _times(size: float, extreme: Extreme) -> Extreme:
    return replace(extreme, value=size * extreme.value)


@dataclass(frozen=True)
class _Facts:
    """What the lemmas ask of a loss whose values range over about 1; fields as in `Certificate`."""

    lower: Extreme
    upper: Extreme
    least_sum: Extreme
    greatest_sum: Extreme
    constant_sum: bool
    least_at_label: bool
    label_alone: bool
    asymmetry: float | None


def _facts(loss: AnyLoss, values: Values, num_classes: int) -> _Facts:
    alone = depends_on_label_alone(values, num_classes)
    lower, upper = extremes(values, num_classes)
    least, greatest = extremes(lambda logits: values(logits).sum(1, keepdim=True), num_classes)
    return _Facts(
        lower,
        upper,
        least,
        greatest,
        constant_sum=_is_constant(values, least, greatest),
        least_at_label=_least_at_label(values, lower),
        label_alone=alone,
        asymmetry=asymmetry_ratio(values, num_classes, _slope(loss)) if alone else None,
    )


def _promised_rates(
    loss: AnyLoss, facts: _Facts, num_classes: int, within: Loss | None = None
) -> tuple[float, float]:
    """Give the rates of symmetric and of asymmetric noise below which a lemma promises tolerance."""
    flat = facts.upper.value - facts.lower.value <= FLAT
    if flat or not facts.least_at_label:  # what learns nothing, or what is wrong, has nothing to be kept
        return 0.0, 0.0
    constant = facts.constant_sum
    rates = (
        symmetric_rate(num_classes, constant_sum=constant, asymmetry=facts.asymmetry),
        asymmetric_rate(
            num_classes,
            class_sum=facts.least_sum.value if constant else None,
            lower=facts.lower.value,
            upper=float("inf") if facts.upper.unbounded else facts.upper.value,
            asymmetry=facts.asymmetry,
        ),
    )
    if not isinstance(loss, WeightedSum):
        return rates
    whole = within or loss
    # Lemma 3: a sum tolerates what all of its terms do
    of_terms = []
    for _, term in loss.weighted:
        values = values_by_label(term, num_classes, within=whole)
        unit = values.times(1 / values.size(num_classes))
        of_terms.append(_promised_rates(term, _facts(term, unit, num_classes), num_classes, whole))
    symmetric, asymmetric = (min(side) for side in zip(*of_terms, strict=True))
    return max(rates[0], symmetric), max(rates[1], asymmetric)


def _slope(loss: AnyLoss) -> Slope | None:
    """Give dl/d(log p) in closed form, where the loss has one: exact even where p nearly vanishes."""
    formula = loss.formula() if isinstance(loss, Loss) else None
    return formula.slopes if isinstance(formula, OnLabel) else None


def _is_constant(values: Values, least: Extreme, greatest: Extreme) -> bool:
    """Tell whether rounding explains the spread of the sum, where great losses may cancel each other too."""
    if least.unbounded or greatest.unbounded:
        return False
    added = values(torch.tensor([least.logits, greatest.logits], dtype=torch.float64)).abs().sum(1).max()
    slack = max(1.0, abs(greatest.value)) + CANCELLED * added.item()
    return greatest.value - least.value <= values.rounding * slack


def _least_at_label(values: Values, lower: Extreme) -> bool:
    """Tell whether the least value stays as low where the label is the likeliest class.

    Its logit and the greatest one change places; both may be least, so which the search met says nothing.
    """
    swapped = torch.tensor([lower.logits], dtype=torch.float64)
    top = int(swapped.argmax())
    swapped[0, [lower.column, top]] = swapped[0, [top, lower.column]]
    at_label = values(swapped)[0, lower.column].item()
    return at_label <= lower.value + AT_LABEL * max(1.0, abs(lower.value))


def _kind(loss: Loss, num_classes: int) -> Kind | None:
    """Ask the definition's terms (Definitions 1-2, with the index that they mean: l(f(x), k), k != y)."""
    try:
        loss.properties(num_classes)
    except NothingKnownError:  # then nobody has told its terms either
        return None
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, num_classes, generator=generator, dtype=torch.float64)
    target = torch.randint(num_classes, (64,), generator=generator)
    terms = loss.class_terms(logits.log_softmax(-1), target)
    factors = label_factors(loss, num_classes)
    if factors is not None:
        terms = factors[target].unsqueeze(-1) * terms
    others: Tensor = terms.scatter(-1, target.unsqueeze(-1), 0.0)
    return "passive" if bool((others != 0).any()) else "active"


def _check_numbers(values: Values, num_classes: int) -> None:
    logits = random_logits(num_classes)
    given = values(logits)
    if not bool(given.isfinite().all()):
        row, label = divmod(int((~given.isfinite()).flatten().nonzero()[0]), num_classes)
        raise NoiseproofError(
            f"the loss is {given[row, label].item()} at the logits {_logits_text(logits[row].tolist())},"
            f" label {label}; a certificate needs numbers"
        )


def _name(loss: AnyLoss) -> str:
    name = getattr(loss, "__name__", None)
    return str(name) if isinstance(name, str) else type(loss).__name__


def _noise_text(promised: float, experiment: Experiment) -> str:
    promise = f"tolerant below {_text(promised, digits=3)}" if promised > 0 else "no promise"
    return (
        f"{promise}; in the experiment the minimiser stays up to {_text(experiment.agrees_up_to, digits=3)}"
    )


def _text(value: float, size: float = 1.0, digits: int = 4) -> str:
    return "0" if abs(value) <= 1e-6 * size else f"{value:.{digits}g}"


def _logits_text(logits: tuple[float, ...] | list[float]) -> str:
    shown = ", ".join(f"{z:.3g}" for z in logits[:10])
    return f"({shown}{', ...' if len(logits) > 10 else ''})"


def _finite(value: Any) -> Any:
    """Replace what JSON can't hold."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and value - value != 0 else value
