"""Label noise as text: ``symmetric:0.4``, ``asymmetric:0.3``, ``instance:0.4``, ``human:worst``, ``none``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from noiseproof.errors import NoiseproofError, did_you_mean, shown
from noiseproof.noise.instance import check_instance_rate
from noiseproof.noise.transition import Matrix, asymmetric, check_rate, pairflip, symmetric

MATRICES: dict[str, Callable[[int, float, Mapping[int, int]], Matrix]] = {
    "symmetric": lambda num_classes, rate, _: symmetric(num_classes, rate),
    "asymmetric": asymmetric,
    "pairflip": lambda num_classes, rate, _: pairflip(num_classes, rate),
    "none": lambda num_classes, _rate, _map: symmetric(num_classes, 0.0),
}
"""Kinds that are a transition matrix: ``(num_classes, rate, class_map) -> matrix``."""

INSTANCE = "instance"
"""Noise by the image (Xia et al. 2020), which is no matrix."""

HUMAN = "human"
"""Noise by people (Wei et al. 2022), which is no matrix."""

GIVEN = "given"
"""Noise as the data has it, which is no matrix."""

KINDS = (*MATRICES, INSTANCE, HUMAN, GIVEN)
"""Every kind of noise."""

HUMAN_LABELS = ("aggregate", "random1", "random2", "random3", "worst", "noisy")
"""Sets of labels that people gave: the first five for CIFAR-10, the last for CIFAR-100 (Wei et al. 2022)."""


LONGEST_TEXT = 100
"""Characters; a rate to the last bit has two dozen."""


@dataclass(frozen=True, order=True)
class Noise:
    """A noise setting: a kind of `KINDS` and its rate in [0, 1] or its variant; ``str`` gives its text.

    ``rate`` is 0 for the kinds that have none, ``variant`` is one of `HUMAN_LABELS` for ``human``, else
    empty.
    """

    kind: str
    rate: float = 0.0
    variant: str = ""

    @property
    def level(self) -> str:
        """What tells settings of one kind apart: ``0.4``, ``worst``, or nothing."""
        if self.kind in (HUMAN, GIVEN, "none"):
            return self.variant
        return repr(abs(float(self.rate))).removesuffix(".0")

    def transition_matrix(self, num_classes: int, class_map: Mapping[int, int]) -> Matrix:
        """Build the ``(K, K)`` matrix; ``class_map`` matters to asymmetric noise alone.

        Raises `NoiseproofError` for noise that is no transition matrix, or if ``class_map`` is empty where it
        matters.
        """
        if self.kind not in MATRICES:
            raise NoiseproofError(
                f"{self} noise has no transition matrix; expected one of {_quoted(MATRICES)}"
            )
        if self.kind == "asymmetric" and not class_map:
            raise NoiseproofError(
                f"{self} noise needs to know which class is mistaken for which, and nothing says so here;"
                " 'pairflip' takes the next class, 'symmetric' any"
            )
        return MATRICES[self.kind](num_classes, self.rate, class_map)

    def __str__(self) -> str:
        """``symmetric:0.4``, ``human:worst``, or ``none``."""
        return f"{self.kind}:{self.level}" if self.level else self.kind


def parse(text: str) -> Noise:
    """Read a noise setting from its text; raises `NoiseproofError` with the nearest valid choice.

    >>> parse("symmetric:0.4")
    Noise(kind='symmetric', rate=0.4, variant='')
    >>> str(parse("none"))
    'none'
    >>> parse("pair:0.4")
    Traceback (most recent call last):
    noiseproof.errors.NoiseproofError: noise 'pair:0.4': unknown kind 'pair'; did you mean 'pairflip'?
    """
    if not isinstance(text, str):
        raise NoiseproofError(f"a noise text must be a string such as 'symmetric:0.4', got {shown(text)}")
    if len(text) > LONGEST_TEXT:
        raise NoiseproofError(
            f"a noise text may have at most {LONGEST_TEXT} characters, got {len(text)}: {text[:40]!r}..."
        )
    kind, colon, level = (part.strip() for part in text.strip().partition(":"))
    kind = kind.lower()
    if kind not in KINDS:
        raise NoiseproofError(f"noise {text!r}: unknown kind {kind!r}; {did_you_mean(kind, KINDS)}")
    if kind in ("none", GIVEN):
        if colon:
            raise NoiseproofError(f"noise {text!r}: {kind!r} takes no rate")
        return Noise(kind)
    if kind == HUMAN:
        variant = level.lower()
        if variant not in HUMAN_LABELS:
            offer = did_you_mean(variant, HUMAN_LABELS)
            raise NoiseproofError(f"noise {text!r}: unknown human labels {variant!r}; {offer}")
        return Noise(kind, variant=variant)
    try:
        rate = float(level)
    except ValueError:
        raise NoiseproofError(
            f"noise {text!r}: expected a rate in [0, 1] after the colon, such as '{kind}:0.4'"
        ) from None
    try:
        check_rate(rate)
        if kind == INSTANCE:
            check_instance_rate(rate)
    except NoiseproofError as error:
        raise NoiseproofError(f"noise {text!r}: {error}") from None
    return Noise(kind, rate)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
