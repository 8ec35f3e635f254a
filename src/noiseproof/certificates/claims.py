"""What a loss claims about itself, held against its certificate."""

from __future__ import annotations

import math

from noiseproof.certificates.certificate import Certificate
from noiseproof.losses.base import Properties

PASSED = 1e-9
"""How far beyond a claimed bound, relative to the loss's size, rounding may explain."""

BOUND = 1e-3
"""Distance from a claimed bound, relative to that size, at which the search counts as having found it."""

RATIO = 5e-3
"""Distance from a claimed asymmetry ratio; as much counts as none."""


def refuted_claims(claimed: Properties, certificate: Certificate, *, tight: bool = True) -> list[str]:
    """Give a sentence for each claim that the computation refutes, or does not bear out; none if all hold.

    ``tight``: whether bounds and asymmetry claim to be exact, as a single loss's do; those of a sum or of a
    corrected loss only promise not to be passed. What the search passed is refuted, "claimed 1.0, computed
    2"; what it did not come near may still be true, "claimed 3.0, the search reached only 2".
    """
    slack = PASSED * certificate.size
    found: list[str] = []

    def refute(what: str, claim: object, computed: object) -> None:
        shown = f"{computed:.6g}" if isinstance(computed, float) else computed
        found.append(f"{what}: claimed {claim}, computed {shown}")

    def not_reached(what: str, claim: object, computed: float) -> None:
        found.append(f"{what}: claimed {claim}, the search reached only {computed:.6g}")

    if certificate.kind is not None and certificate.kind != claimed.kind:
        refute("kind", claimed.kind, certificate.kind)
    for what, claim, extreme, sign in (
        ("lower bound", claimed.lower, certificate.lower, -1),
        ("upper bound", claimed.upper, certificate.upper, 1),
    ):
        computed = sign * math.inf if extreme.unbounded else extreme.value
        if sign * (computed - claim) > slack:
            refute(what, claim, computed)
        elif tight and not _close(computed, claim, certificate.size):
            not_reached(what, claim, computed)
    if claimed.class_sum is None and certificate.constant_sum:
        not_reached("sum over labels", "not constant", certificate.least_sum.value)
    if claimed.class_sum is not None:
        for extreme in (certificate.least_sum, certificate.greatest_sum):
            if extreme.unbounded or abs(extreme.value - claimed.class_sum) > 100 * slack:
                refute("sum over labels", claimed.class_sum, extreme.value)
                break
    if claimed.asymmetry is not None:
        if certificate.asymmetry is None:
            refute("asymmetry", claimed.asymmetry, "no function of p_y alone")
        elif certificate.asymmetry < claimed.asymmetry - RATIO:
            refute("asymmetry", claimed.asymmetry, certificate.asymmetry)
        elif tight and certificate.asymmetry > claimed.asymmetry + RATIO:
            not_reached("asymmetry", claimed.asymmetry, certificate.asymmetry)
    return found


def _close(computed: float, claim: float, size: float) -> bool:
    if math.isinf(computed) or math.isinf(claim):
        return computed == claim
    return abs(computed - claim) <= BOUND * size
