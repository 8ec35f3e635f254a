"""What a loss claims about itself, held against its certificate."""

from __future__ import annotations

import math

from noiseproof.certificates.certificate import Certificate
from noiseproof.losses.base import Properties

BOUND = 1e-3
"""Relative distance from a claimed bound within which the search counts as having found it."""

RATIO = 5e-3
"""Distance from a claimed asymmetry ratio; as much counts as none."""


def refuted_claims(claimed: Properties, certificate: Certificate, *, tight: bool = True) -> list[str]:
    """Give a sentence for each claim that the computation refutes; none if all hold.

    ``tight``: whether bounds and asymmetry claim to be exact, as a single loss's do; those of a sum or of a
    corrected loss only promise not to be passed.
    """
    found: list[str] = []

    def refute(what: str, claim: object, computed: object) -> None:
        shown = f"{computed:.6g}" if isinstance(computed, float) else computed
        found.append(f"{what}: claimed {claim}, computed {shown}")

    if certificate.kind is not None and certificate.kind != claimed.kind:
        refute("kind", claimed.kind, certificate.kind)
    for what, claim, extreme, sign in (
        ("lower bound", claimed.lower, certificate.lower, -1),
        ("upper bound", claimed.upper, certificate.upper, 1),
    ):
        computed = sign * math.inf if extreme.unbounded else extreme.value
        passed = sign * (computed - claim) > 1e-9 * max(1.0, abs(claim))
        missed = tight and not _close(computed, claim)
        if passed or missed:
            refute(what, claim, computed)
    if claimed.class_sum is None and certificate.constant_sum:
        refute("sum over labels", "not constant", certificate.least_sum.value)
    if claimed.class_sum is not None:
        for extreme in (certificate.least_sum, certificate.greatest_sum):
            if extreme.unbounded or abs(extreme.value - claimed.class_sum) > 1e-7 * max(
                1.0, claimed.class_sum
            ):
                refute("sum over labels", claimed.class_sum, extreme.value)
                break
    if claimed.asymmetry is not None:
        if certificate.asymmetry is None:
            refute("asymmetry", claimed.asymmetry, "no function of p_y alone")
        elif certificate.asymmetry < claimed.asymmetry - RATIO or (
            tight and certificate.asymmetry > claimed.asymmetry + RATIO
        ):
            refute("asymmetry", claimed.asymmetry, certificate.asymmetry)
    return found


def _close(computed: float, claim: float) -> bool:
    if math.isinf(computed) or math.isinf(claim):
        return computed == claim
    return abs(computed - claim) <= BOUND * max(1.0, abs(claim))
