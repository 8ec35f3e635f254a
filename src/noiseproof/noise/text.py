"""Label noise as text: ``symmetric:0.4``, ``asymmetric:0.3``, ``pairflip:0.2``, ``none``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.noise.transition import Matrix, asymmetric, check_rate, pairflip, symmetric

KINDS: dict[str, Callable[[int, float, Mapping[int, int]], Matrix]] = {
    "symmetric": lambda num_classes, rate, _: symmetric(num_classes, rate),
    "asymmetric": asymmetric,
    "pairflip": lambda num_classes, rate, _: pairflip(num_classes, rate),
    "none": lambda num_classes, _rate, _map: symmetric(num_classes, 0.0),
}
"""Noise kinds by name: ``(num_classes, rate, class_map) -> transition matrix``."""


@dataclass(frozen=True, order=True)
class Noise:
    """A noise setting: a kind of `KINDS` and a rate in [0, 1]; ``str`` gives its text."""

    kind: str
    rate: float

    def transition_matrix(self, num_classes: int, class_map: Mapping[int, int]) -> Matrix:
        """Build the ``(K, K)`` matrix; ``class_map`` matters to asymmetric noise alone."""
        return KINDS[self.kind](num_classes, self.rate, class_map)

    def __str__(self) -> str:
        """``symmetric:0.4``, or ``none``."""
        if self.kind == "none":
            return self.kind
        return f"{self.kind}:{repr(abs(float(self.rate))).removesuffix('.0')}"


def parse(text: str) -> Noise:
    """Read a noise setting from its text; raises `NoiseproofError` with the nearest valid choice.

    >>> parse("symmetric:0.4")
    Noise(kind='symmetric', rate=0.4)
    >>> str(parse("none"))
    'none'
    >>> parse("pair:0.4")
    Traceback (most recent call last):
    noiseproof.errors.NoiseproofError: noise 'pair:0.4': unknown kind 'pair'; did you mean 'pairflip'?
    """
    if not isinstance(text, str):
        raise NoiseproofError(f"a noise text must be a string such as 'symmetric:0.4', got {text!r}")
    kind, colon, rate_text = (part.strip() for part in text.strip().partition(":"))
    kind = kind.lower()
    if kind not in KINDS:
        raise NoiseproofError(f"noise {text!r}: unknown kind {kind!r}; {did_you_mean(kind, KINDS)}")
    if kind == "none":
        if colon:
            raise NoiseproofError(f"noise {text!r}: 'none' takes no rate")
        return Noise("none", 0.0)
    try:
        rate = float(rate_text)
    except ValueError:
        raise NoiseproofError(
            f"noise {text!r}: expected a rate in [0, 1] after the colon, such as '{kind}:0.4'"
        ) from None
    try:
        check_rate(rate)
    except NoiseproofError as error:
        raise NoiseproofError(f"noise {text!r}: {error}") from None
    return Noise(kind, rate)
