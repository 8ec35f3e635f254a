"""Write what a search has found: a page, a table and figures in ``report/``, from its files alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from noiseproof import noise
from noiseproof.errors import NoiseproofError
from noiseproof.files import csv_text, make_folder, write_atomically
from noiseproof.losses.base import number_text
from noiseproof.report.figures import FORMATS, render
from noiseproof.report.provenance import origin
from noiseproof.tuning.figures import figures
from noiseproof.tuning.folder import Folder
from noiseproof.tuning.search import Search
from noiseproof.tuning.trial import Trial

SHOWN = 10
"""The best trials, which a table shows."""


@dataclass(frozen=True)
class Findings:
    """What a search has found so far; ``trials``: by score, the best first, of equal ones the earliest."""

    folder: Path
    search: Search
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial of the highest score."""
        return self.trials[0]

    @property
    def defaults(self) -> Trial | None:
        """The trial of the loss at its defaults, which is the first of all."""
        return next((trial for trial in self.trials if trial.values == self.search.defaults), None)

    @property
    def shown(self) -> tuple[Trial, ...]:
        """The best trials, and the defaults to compare them with."""
        return tuple(t for rank, t in enumerate(self.trials) if rank < SHOWN or t is self.defaults)

    @property
    def standard_error(self) -> float:
        """How far chance in the held-out labels moves the best score, as a fraction."""
        return math.sqrt(self.best.score * (1 - self.best.score) / self.best.run.data.test_size)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know: what the score is, how far to trust it, and under which noise."""
        held, chance = self.best.run.data.test_size, 100 * self.standard_error
        notes = [
            f"Score: the share of the {held} held-out noisy labels that the network predicts after its last"
            f" epoch, give or take {chance:.1f} points by chance, and the best of many was lucky too. It is"
            " no test accuracy; the test set was not looked at."
        ]
        if not self._ranks_as_clean_labels_would():
            notes.append(
                f"Under {self.search.noise} noise the score need not rank losses as clean labels would: a"
                " network that makes the labels' own mistakes is rewarded for it."
            )
        diverged = sum(trial.run.status == "diverged" for trial in self.trials)
        if diverged:
            notes.append(f"Diverged (a loss that was not finite): {diverged} trials.")
        return tuple(notes)

    def _ranks_as_clean_labels_would(self) -> bool:
        """Whether, but for chance, the score rises with the accuracy on clean labels."""
        setting = noise.parse(self.search.noise)
        if setting.kind == "symmetric":
            num_classes = len(self.best.run.data.class_names or ())
            return setting.rate * num_classes < num_classes - 1
        return setting.kind == "none"


def find(folder: Path | str) -> Findings:
    """Read what a search has found; raises `NoiseproofError` if there is no search or no trial."""
    folder = Path(folder)
    there = Folder(folder)
    search, trials = there.search(), there.finished().values()
    if not trials:
        raise NoiseproofError(f"{str(folder)!r} holds no finished trial")
    return Findings(folder, search, tuple(sorted(trials, key=lambda trial: (-trial.score, trial.number))))


def write_report(folder: Path | str) -> Findings:
    """Rebuild ``folder/report/`` from the trials in ``folder/trials/``; errors as for `find`."""
    findings = find(folder)
    target = make_folder(findings.folder / "report")
    by_number = sorted(findings.trials, key=lambda trial: trial.number)
    write_atomically(target / "trials.csv", _csv(findings.search, by_number))
    names = []
    for name, figure in figures(findings.search, by_number):
        names.append(name)
        for form in FORMATS:
            write_atomically(target / f"{name}.{form}", render(figure, form))
    write_atomically(target / "tune.md", _markdown(findings, names))
    return findings


def _csv(search: Search, trials: Sequence[Trial]) -> str:
    def row(trial: Trial) -> list[object]:
        values = [number_text(trial.values[name]) for name in search.ranges]
        return [trial.number, trial.score, trial.run.status, *values, trial.loss]

    return csv_text(["trial", "score", "status", *search.ranges, "loss"], map(row, trials))


def _markdown(findings: Findings, figure_names: Sequence[str]) -> str:
    search, best, defaults = findings.search, findings.best, findings.defaults
    compared = "" if defaults is None else f"; at the defaults {100 * defaults.score:.2f} %"
    parts = [
        f"# {search.loss} on {best.run.config.data} under {search.noise} noise\n",
        f"The best of {len(findings.trials)} trials, {100 * best.score:.2f} %{compared}:\n",
        f"    {best.loss}\n",
        "\n".join(f"{note}\n" for note in findings.notes),
        f"| trial | score (%) | {' | '.join(search.ranges)} | loss |",
        f"| ---: | ---: | {'---: | ' * len(search.ranges)}--- |",
    ]
    for trial in findings.shown:
        values = " | ".join(number_text(trial.values[name]) for name in search.ranges)
        parts.append(f"| {trial.number} | {100 * trial.score:.2f} | {values} | `{trial.loss}` |")
    parts.append("\nAll of them are in `trials.csv`.\n")
    parts += [f"![{name}]({name}.png)\n" for name in figure_names]
    parts.append("## What was searched\n")
    parts += [f"- {name}: {range}" for name, range in search.ranges.items()]
    parts.append(f"- held out: {search.holdout:g} of the training set, by its noisy labels")
    parts.append(f"- trials proposed together: {search.batch}\n")
    parts.append("## Provenance\n")
    parts += [f"- {name}: {value}" for name, value in origin([t.run for t in findings.trials]).items()]
    return "\n".join(parts) + "\n"
