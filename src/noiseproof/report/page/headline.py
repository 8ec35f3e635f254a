"""What a reader learns first: a few figures, each with the sentence that it stands for."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from noiseproof import noise
from noiseproof.noise import Noise
from noiseproof.report.claims import Judged
from noiseproof.report.results import Results, mean_curve
from noiseproof.report.tables import labels

BASELINE = "CE"
"""The loss that everybody uses, which others are set beside."""

MOST_KINDS = 3
"""Kinds of noise that a headline tells of."""


@dataclass(frozen=True)
class Finding:
    """A figure, and what it is, as the rest of a sentence."""

    figure: str
    meaning: str


def lead(results: Results) -> str:
    """Say in a sentence what was done."""
    return (
        f"{_number(results.losses, 'loss', 'losses')} on {results.data} under"
        f" {_number(results.noises, 'setting', 'settings')} of label noise: {results.length},"
        f" {results.runs_per_cell} seed{'' if results.runs_per_cell == 1 else 's'} each."
        " Accuracy is that on the test set after the last epoch."
    )


def findings(results: Results, judged: Sequence[Judged]) -> tuple[Finding, ...]:
    """Give the best loss under the most noise of each kind, what was memorized, claims and runs."""
    kinds = [kind for kind in results.kinds if kind != "none"][:MOST_KINDS] or results.kinds
    hardest = [setting for kind in kinds if (setting := _hardest(results, kind))]
    found = [_best(results, setting) for setting in hardest]
    memorized = [_memorized(results, setting) for setting in hardest]
    found += [each for each in memorized if each][:1]
    asked = [ours.answer for _, ours, _ in judged if ours.answer != "not enough data"]
    if asked:
        found.append(
            Finding(
                f"{asked.count('holds')} of {len(asked)}",
                "claims of the study that can be asked of these results hold",
            )
        )
    planned = results.runs_per_cell * len(results.losses) * len(results.noises)
    done = sum(len(cell.accuracies) for cell in results.cells.values())
    found.append(Finding(f"{done} of {planned}", "runs are finished"))
    return tuple(found)


def _hardest(results: Results, kind: str) -> Noise | None:
    """Give the setting of the highest rate; of those that have none, the one that losses do worst under."""
    known = [setting for setting in results.settings(kind) if _means(results, setting)]
    return max(known, key=lambda n: (n.rate, -statistics.fmean(_means(results, n).values())), default=None)


def _means(results: Results, setting: Noise) -> dict[str, float]:
    cells = {loss: results.cells.get((loss, setting)) for loss in results.losses}
    return {loss: cell.mean for loss, cell in cells.items() if cell is not None}


def _best(results: Results, setting: Noise) -> Finding:
    means = _means(results, setting)
    best = max(means, key=lambda loss: means[loss])
    beside = f"; {BASELINE} reaches {means[BASELINE]:.2f} %" if BASELINE in means and best != BASELINE else ""
    return Finding(f"{means[best]:.2f} %", f"accuracy of {best}, the best {_under(results, setting)}{beside}")


def _memorized(results: Results, setting: Noise) -> Finding | None:
    cells = {loss: results.cells.get((loss, setting)) for loss in results.losses}
    last = {
        loss: mean_curve(cell.by_epoch("memorized"))[-1]
        for loss, cell in cells.items()
        if cell is not None and cell.by_epoch("memorized")
    }
    if BASELINE not in last or len(last) == 1:
        return None
    least = min(last, key=lambda loss: last[loss])
    others = "the fewest of all losses" if least == BASELINE else f"{last[least]:.2f} % by {least}"
    return Finding(
        f"{last[BASELINE]:.2f} %",
        f"of the wrong labels {_under(results, setting)} are memorized by {BASELINE}, {others}",
    )


def _under(results: Results, setting: Noise) -> str:
    if setting.kind in ("none", noise.GIVEN):
        return f"with {labels(results.data, setting.kind)}"
    return f"under {setting}"


def _number(things: Sequence[object], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
