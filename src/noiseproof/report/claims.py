"""The study's claims as functions of results: each holds, fails, or has not enough data, with its figures.

They are asked of our records and of the study's own tables alike, so that a claim which its own numbers
do not bear out is visible. What counts as a fall, as near, as high stands below, once for all results.

They are about the study's eight losses, at noise rates in its range. Whatever other losses and rates a study
of one's own has, no claim holds or fails for them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from noiseproof.report.results import TIE, Curve, MissingResultError, Results

FALL = 1.0
"""Points of accuracy that a curve must lose from its peak to count as overfitting."""

NEAR = 5.0
"""Points within which accuracies count as similar, or as near the best."""

HIGH = 50.0
"""Percent from which on accuracies that are near the best count as high: half of the test samples are right.

The study calls 80.69 and more high, on CIFAR-10; on CIFAR-100 the best of its losses reach 65 at that noise.
"""

SMOOTHED = 5
"""Epochs that a curve is averaged over before its peak is sought, or a lucky epoch would be the peak."""

STUDY_EPOCHS = 50

SYMMETRIC, ASYMMETRIC = "symmetric", "asymmetric"
NORMALIZED_FORM = {"CE": "NCE", "FL": "NFL"}
MAE_PAIRS = ("NFL+MAE", "NCE+MAE")
RCE_PAIRS = ("NFL+RCE", "NCE+RCE")
LOSSES = (*NORMALIZED_FORM, *NORMALIZED_FORM.values(), *MAE_PAIRS, *RCE_PAIRS)

RANGE = {SYMMETRIC: (0.2, 0.8), ASYMMETRIC: (0.1, 0.4)}
"""The lowest and the highest noise rate of the study."""

NOT_ASKED = "The study's claims are about symmetric and asymmetric noise, of which there is none here."

Answer = Literal["holds", "fails", "not enough data"]


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, and the figures that say so."""

    answer: Answer
    evidence: str


@dataclass(frozen=True)
class Claim:
    """A statement of the study, in our words, and where it makes it."""

    statement: str
    section: str
    check: Callable[[Results], tuple[bool, str]]

    def judge(self, results: Results) -> Verdict:
        """Ask the claim of ``results``."""
        try:
            holds, evidence = self.check(results)
        except MissingResultError as missing:
            return Verdict("not enough data", f"missing: {missing}")
        return Verdict("holds" if holds else "fails", evidence)


class Judged(NamedTuple):
    """A claim, with what our results and what the study's own say of it."""

    claim: Claim
    ours: Verdict
    study: Verdict


CLAIMS: list[Claim] = []
"""Every claim, in the order in which the study makes them."""


def claim(section: str, statement: str) -> Callable[[Callable[[Results], tuple[bool, str]]], Claim]:
    """Register a function of results as the check of a claim."""

    def register(check: Callable[[Results], tuple[bool, str]]) -> Claim:
        CLAIMS.append(Claim(statement, section, check))
        return CLAIMS[-1]

    return register


@claim("3.1", "CE and FL overfit at every symmetric rate: test accuracy falls from its peak")
def overfitting(results: Results) -> tuple[bool, str]:
    """The smoothed curve ends at least FALL below its peak."""
    falls = {loss: _falls(results, loss, SYMMETRIC) for loss in NORMALIZED_FORM}
    return all(fall >= FALL for row in falls.values() for fall in row), _by_rate("fall", falls)


@claim("3.1", "CE and FL begin to overfit about half-way through training")
def overfitting_begins_half_way(results: Results) -> tuple[bool, str]:
    """The smoothed curve peaks between 0.3 and 0.7 of the epochs, at every symmetric rate."""
    peaks = {loss: [_peak(curve) for curve in _curves(results, loss, SYMMETRIC)] for loss in NORMALIZED_FORM}
    return (
        all(0.3 <= peak <= 0.7 for row in peaks.values() for peak in row),
        _by_rate("peak at this fraction of the epochs", peaks),
    )


@claim("3.1", "The more symmetric noise, the more CE and FL overfit")
def overfitting_grows(results: Results) -> tuple[bool, str]:
    """The fall from the peak grows from each rate to the next."""
    falls = {loss: _falls(results, loss, SYMMETRIC) for loss in NORMALIZED_FORM}
    return all(_ascending(row) for row in falls.values()), _by_rate("fall", falls)


@claim("3.1", "NCE and NFL do not overfit at any symmetric rate")
def normalized_do_not_overfit(results: Results) -> tuple[bool, str]:
    """The smoothed curve ends less than FALL below its peak."""
    falls = {loss: _falls(results, loss, SYMMETRIC) for loss in NORMALIZED_FORM.values()}
    return all(fall < FALL for row in falls.values() for fall in row), _by_rate("fall", falls)


@claim("3.1", "NCE and NFL underfit under symmetric noise: less accurate than CE and FL at every rate")
def normalized_underfit_symmetric(results: Results) -> tuple[bool, str]:
    """The final accuracy is below that of the loss that was normalized."""
    return _normalized_are_lower(results, SYMMETRIC)


@claim("3.1", "NCE and NFL underfit under asymmetric noise too, at every rate")
def normalized_underfit_asymmetric(results: Results) -> tuple[bool, str]:
    """The final accuracy is below that of the loss that was normalized."""
    return _normalized_are_lower(results, ASYMMETRIC)


@claim("3.2", "All four APL losses converge to high accuracies at symmetric 0.2")
def apl_converge_at_low_noise(results: Results) -> tuple[bool, str]:
    """Each reaches HIGH, and is within NEAR of the best loss at that rate."""
    at = {loss: results.accuracy(loss, SYMMETRIC, 0.2) for loss in LOSSES}
    best = max(at.values())
    return (
        all(at[loss] >= max(HIGH, best - NEAR) for loss in MAE_PAIRS + RCE_PAIRS),
        f"best {best:.2f}; " + ", ".join(f"{loss} {at[loss]:.2f}" for loss in MAE_PAIRS + RCE_PAIRS),
    )


@claim("3.2", "As symmetric noise grows, the RCE pairs lose more than the MAE pairs")
def rce_pairs_degrade_more(results: Results) -> tuple[bool, str]:
    """From the lowest to the highest rate each RCE pair loses more than both MAE pairs."""
    lost = {loss: _lost(results, loss, SYMMETRIC) for loss in RCE_PAIRS + MAE_PAIRS}
    holds = min(lost[loss] for loss in RCE_PAIRS) > max(lost[loss] for loss in MAE_PAIRS)
    return holds, "points lost: " + ", ".join(f"{loss} {value:.2f}" for loss, value in lost.items())


@claim("3.2", "The MAE pairs beat CE and its normalized form, NCE, at every symmetric rate")
def mae_pairs_beat_ce(results: Results) -> tuple[bool, str]:
    """Both are more accurate than both."""
    rows = {loss: _accuracies(results, loss, SYMMETRIC) for loss in (*MAE_PAIRS, "CE", "NCE")}
    columns = list(zip(*rows.values(), strict=True))
    return all(min(column[:2]) > max(column[2:]) for column in columns), _by_rate("accuracy", rows)


@claim("3.2", "All four APL losses converge to similar accuracies at asymmetric rates below 0.4")
def apl_similar_below_asymmetric_04(results: Results) -> tuple[bool, str]:
    """The four lie within NEAR of each other."""
    rates = [rate for rate in _rates(results, ASYMMETRIC) if rate < 0.4]
    spreads = []  # of one rate at least, for there are two up to 0.4
    for rate in rates:
        accuracies = [results.accuracy(loss, ASYMMETRIC, rate) for loss in MAE_PAIRS + RCE_PAIRS]
        spreads.append(max(accuracies) - min(accuracies))
    return all(spread <= NEAR for spread in spreads), "spread at " + ", ".join(
        f"{rate:g}: {spread:.2f}" for rate, spread in zip(rates, spreads, strict=True)
    )


@claim("3.2", "At asymmetric 0.4 the RCE pairs fall behind the MAE pairs")
def rce_pairs_fall_at_asymmetric_04(results: Results) -> tuple[bool, str]:
    """Each RCE pair is below both MAE pairs at 0.4, and lost more than both since 0.3."""
    at = {loss: results.accuracy(loss, ASYMMETRIC, 0.4) for loss in RCE_PAIRS + MAE_PAIRS}
    lost = {loss: results.accuracy(loss, ASYMMETRIC, 0.3) - at[loss] for loss in at}
    holds = max(at[loss] for loss in RCE_PAIRS) < min(at[loss] for loss in MAE_PAIRS)
    holds &= min(lost[loss] for loss in RCE_PAIRS) > max(lost[loss] for loss in MAE_PAIRS)
    return holds, ", ".join(f"{loss} {at[loss]:.2f} ({-lost[loss]:+.2f} since 0.3)" for loss in at)


@claim("Table 1", "The MAE pairs are the top two at every symmetric rate")
def mae_pairs_lead_symmetric(results: Results) -> tuple[bool, str]:
    """They are the two most accurate losses of each column."""
    return _lead(results, MAE_PAIRS, SYMMETRIC)


@claim("Table 2", "CE and FL are the top two at every asymmetric rate")
def ce_and_fl_lead_asymmetric(results: Results) -> tuple[bool, str]:
    """They are the two most accurate losses of each column."""
    return _lead(results, tuple(NORMALIZED_FORM), ASYMMETRIC)


@claim("Table 2", "As asymmetric noise grows, the MAE pairs lose less than CE and FL")
def mae_pairs_lose_least(results: Results) -> tuple[bool, str]:
    """From the lowest to the highest rate each MAE pair loses less than both; all eight are ranked."""
    lost = {loss: _lost(results, loss, ASYMMETRIC) for loss in (*MAE_PAIRS, *NORMALIZED_FORM)}
    for other in LOSSES:
        with suppress(MissingResultError):  # no part of the claim, only of the ranking
            lost[other] = _lost(results, other, ASYMMETRIC)
    holds = max(lost[loss] for loss in MAE_PAIRS) < min(lost[loss] for loss in NORMALIZED_FORM)
    ranked = sorted(lost.items(), key=lambda item: item[1])
    return holds, "points lost: " + ", ".join(f"{loss} {value:.2f}" for loss, value in ranked)


@claim("Table 2", "Trained longer, the MAE pairs overtake CE and FL under asymmetric noise")
def mae_pairs_overtake_later(results: Results) -> tuple[bool, str]:
    """Asked of CIFAR-10 runs of more epochs than the study's: the MAE pairs lead at every rate."""
    if results.data != "cifar10" or results.epochs <= STUDY_EPOCHS:
        raise MissingResultError(f"runs on CIFAR-10 of more than {STUDY_EPOCHS} epochs")
    rows = {loss: _accuracies(results, loss, ASYMMETRIC) for loss in (*MAE_PAIRS, *NORMALIZED_FORM)}
    columns = list(zip(*rows.values(), strict=True))
    return all(min(column[:2]) > max(column[2:]) for column in columns), _by_rate("accuracy", rows)


def judge(results: Results, study: Results) -> tuple[Judged, ...]:
    """Ask every claim of ours and of the study's results; none if there is no noise that they are about."""
    if not {SYMMETRIC, ASYMMETRIC}.intersection(results.kinds):
        return ()
    return tuple(Judged(claim, claim.judge(results), claim.judge(study)) for claim in CLAIMS)


def none_can_be_asked(judged: Iterable[Judged]) -> bool:
    """Tell whether our results have not enough data for any claim."""
    return all(ours.answer == "not enough data" for _, ours, _ in judged)


def _rates(results: Results, kind: str) -> list[float]:
    lowest, highest = RANGE[kind]
    rates = [rate for rate in results.rates(kind) if lowest <= rate <= highest]
    if len(rates) < 2:
        raise MissingResultError(f"two or more {kind} rates from {lowest:g} to {highest:g}")
    return rates


def _accuracies(results: Results, loss: str, kind: str) -> list[float]:
    return [results.accuracy(loss, kind, rate) for rate in _rates(results, kind)]


def _curves(results: Results, loss: str, kind: str) -> list[Curve]:
    curves = [_smooth(results.curve(loss, kind, rate)) for rate in _rates(results, kind)]
    if not all(curves):
        raise MissingResultError(f"curves of at least {SMOOTHED} epochs")
    return curves


def _smooth(curve: Curve) -> Curve:
    return tuple(statistics.fmean(curve[i : i + SMOOTHED]) for i in range(len(curve) - SMOOTHED + 1))


def _peak(smoothed: Curve) -> float:
    """Where a smoothed curve is highest, as a fraction of the epochs: the middle of those averaged there."""
    epochs = len(smoothed) + SMOOTHED - 1
    return (smoothed.index(max(smoothed)) + (SMOOTHED + 1) / 2) / epochs


def _falls(results: Results, loss: str, kind: str) -> list[float]:
    return [max(curve) - curve[-1] for curve in _curves(results, loss, kind)]


def _lost(results: Results, loss: str, kind: str) -> float:
    lowest, *_, highest = _rates(results, kind)
    return results.accuracy(loss, kind, lowest) - results.accuracy(loss, kind, highest)


def _ascending(values: list[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def _normalized_are_lower(results: Results, kind: str) -> tuple[bool, str]:
    rows = {loss: _accuracies(results, loss, kind) for pair in NORMALIZED_FORM.items() for loss in pair}
    holds = all(
        low < high
        for loss, normalized in NORMALIZED_FORM.items()
        for low, high in zip(rows[normalized], rows[loss], strict=True)
    )
    return holds, _by_rate("accuracy", rows)


def _lead(results: Results, leaders: tuple[str, ...], kind: str) -> tuple[bool, str]:
    holds, found = True, []
    for rate in _rates(results, kind):
        at = {loss: results.accuracy(loss, kind, rate) for loss in LOSSES}
        ranked = sorted(at, key=lambda loss: -at[loss])
        top = ranked[: len(leaders)]
        holds &= min(at[loss] for loss in leaders) >= at[top[-1]] - TIE
        found.append(f"{rate:g}: " + ", ".join(f"{loss} {at[loss]:.2f}" for loss in top))
    return holds, "top at " + "; ".join(found)


def _by_rate(what: str, rows: dict[str, list[float]]) -> str:
    return f"{what} by rate: " + "; ".join(
        f"{loss} " + ", ".join(f"{value:.2f}" for value in row) for loss, row in rows.items()
    )
