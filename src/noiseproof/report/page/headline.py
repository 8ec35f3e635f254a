"""What a reader learns first: a few figures, each with the sentence that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noiseproof.noise import Noise
from noiseproof.report.claims import Claim, Verdict
from noiseproof.report.results import Results

BASELINE = "CE"
"""The loss that everybody uses, which others are set beside."""


@dataclass(frozen=True)
class Finding:
    """A figure, and what it is, as the rest of a sentence."""

    figure: str
    meaning: str


def lead(results: Results) -> str:
    """Say in a sentence what was done."""
    return (
        f"{_number(results.losses, 'loss', 'losses')} on {results.data} under"
        f" {_number(results.noises, 'setting', 'settings')} of label noise: {results.epochs} epochs,"
        f" {results.runs_per_cell} seed{'' if results.runs_per_cell == 1 else 's'} each."
        " Accuracy is that on the test set after the last epoch."
    )


def findings(results: Results, judged: Sequence[tuple[Claim, Verdict, Verdict]]) -> tuple[Finding, ...]:
    """Give the best loss under the most noise of each kind, what was memorized, claims and runs."""
    hardest = [setting for kind in results.kinds if (setting := _hardest(results, kind))]
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
    known = {setting for _, setting in results.cells if setting.kind == kind}
    return max(known, default=None)


def _best(results: Results, setting: Noise) -> Finding:
    means = {
        loss: results.cells[loss, setting].mean for loss in results.losses if (loss, setting) in results.cells
    }
    best = max(means, key=lambda loss: means[loss])
    beside = f"; {BASELINE} reaches {means[BASELINE]:.2f} %" if BASELINE in means and best != BASELINE else ""
    return Finding(f"{means[best]:.2f} %", f"accuracy of {best}, the best under {setting}{beside}")


def _memorized(results: Results, setting: Noise) -> Finding | None:
    last = {
        loss: sum(curve[-1] for curve in curves) / len(curves)
        for loss in results.losses
        if (loss, setting) in results.cells
        and all(curves := results.cells[loss, setting].memorized)
        and curves
    }
    if BASELINE not in last or len(last) == 1:
        return None
    least = min(last, key=lambda loss: last[loss])
    return Finding(
        f"{last[BASELINE]:.2f} %",
        f"of the wrong labels under {setting} are memorized by {BASELINE}, {last[least]:.2f} % by {least}",
    )


def _number(things: Sequence[object], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
