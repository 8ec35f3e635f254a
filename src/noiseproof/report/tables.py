"""Tables in the study's form: a row for each loss, a column for each noise setting, the top two in bold."""

from __future__ import annotations

from dataclasses import dataclass

from noiseproof.files import csv_text
from noiseproof.noise import Noise
from noiseproof.report.results import TIE, Results

TOP = 2
"""How many of a column are set in bold, as in the study."""

CAPTIONS = {
    "none": "clean labels",
    "instance": "instance-dependent label noise",
    "human": "labels that people gave",
    "given": "labels as they are given",
}
"""What the kinds of noise are called, where not by their own name."""

LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "%_&#${}"}
    | {"±": r"$\pm$", "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
)
"""What LaTeX would read as something else."""


@dataclass(frozen=True)
class Entry:
    """One cell as a table shows it; ``mean`` is None if no run of it is finished."""

    mean: float | None
    std: float | None
    runs: int
    diverged: int
    study: float | None
    is_top: bool
    out_of_memory: int = 0


@dataclass(frozen=True)
class Table:
    """Test accuracies (%) under one kind of noise; ``entries[i][j]`` is loss i under setting j."""

    name: str
    caption: str
    losses: tuple[str, ...]
    settings: tuple[Noise, ...]
    entries: tuple[tuple[Entry, ...], ...]
    runs_per_cell: int
    has_unverified: bool = False

    @property
    def headers(self) -> list[str]:
        """The settings as columns are headed: ``0.4``, ``worst``, ``given``."""
        return [setting.level or setting.kind for setting in self.settings]

    @property
    def rows(self) -> list[tuple[str, tuple[Entry, ...]]]:
        """Each loss with its entries."""
        return list(zip(self.losses, self.entries, strict=True))

    @property
    def notes(self) -> list[str]:
        """What a reader must know: missing and diverged runs, and what the figures are."""
        entries = [entry for row in self.entries for entry in row]
        notes = ["Test accuracy (%) after the last epoch; bold: the top two of a column."]
        if self.runs_per_cell > 1:
            notes[0] += f" Mean ± standard deviation over {self.runs_per_cell} seeds."
        if any(entry.study is not None for entry in entries):
            notes.append("In brackets: the published value.")
        planned, there = self.runs_per_cell * len(entries), sum(entry.runs for entry in entries)
        unfit = sum(entry.out_of_memory for entry in entries)
        if there + unfit < planned:
            notes.append(f"Missing: {planned - there - unfit} of {planned} runs.")
        if unfit:
            notes.append(f"Out of memory: {unfit} run{'' if unfit == 1 else 's'}, in no mean.")
        diverged = sum(entry.diverged for entry in entries)
        if diverged:
            notes.append(
                f"Diverged (a loss that was not finite): {diverged} run{'' if diverged == 1 else 's'}."
            )
        if self.has_unverified:
            notes.append(
                "The clean labels are not known: what was memorized cannot be said, and the test labels are"
                " taken as they are."
            )
        return notes


def table(results: Results, kind: str, *, name: str, study: Results | None = None) -> Table:
    """Make the table of a kind of noise; ``study`` stands beside if it is of the same data set."""
    settings = results.settings(kind)
    comparable = study if study is not None and study.data == results.data else None
    columns = [_column(results, setting, comparable) for setting in settings]
    return Table(
        name=name,
        caption=f"{results.data} with {labels(results.data, kind)}, {results.length}",
        losses=results.losses,
        settings=tuple(settings),
        entries=tuple(zip(*columns, strict=True)),
        runs_per_cell=results.runs_per_cell,
        has_unverified=not results.unverified.isdisjoint(settings),
    )


def to_csv(table: Table) -> str:
    """Columns ``loss``, then ``0.2``, ``0.2_std``, ... in percent; empty where missing."""

    def row(loss: str, entries: tuple[Entry, ...]) -> list[str]:
        values = (value for entry in entries for value in (entry.mean, entry.std))
        return [loss, *("" if value is None else f"{value:.2f}" for value in values)]

    header = ["loss", *(name for header in table.headers for name in (header, f"{header}_std"))]
    return csv_text(header, (row(loss, entries) for loss, entries in table.rows))


def to_markdown(table: Table) -> str:
    """A pipe table with its caption and notes."""
    lines = [
        f"**{table.caption}**",
        "",
        "| loss | " + " | ".join(table.headers) + " |",
        "| --- |" + " ---: |" * len(table.headers),
    ]
    for loss, entries in table.rows:
        cells = [f"**{text}**" if e.is_top else text for e in entries for text in [entry_text(table, e)]]
        lines.append("| " + " | ".join([loss.replace("*", r"\*"), *cells]) + " |")
    return "\n".join([*lines, "", *table.notes]) + "\n"


def to_latex(table: Table) -> str:
    """A booktabs table environment."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.caption)}. {_latex(' '.join(table.notes))}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.headers)}}}",
        r"\toprule",
        "Loss & " + " & ".join(table.headers) + r" \\",
        r"\midrule",
    ]
    for loss, entries in table.rows:
        texts = [(entry, _latex(entry_text(table, entry))) for entry in entries]
        cells = [rf"\textbf{{{text}}}" if entry.is_top else text for entry, text in texts]
        lines.append(f"{_latex(loss)} & " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def entry_text(table: Table, entry: Entry) -> str:
    """One cell in words, such as ``84.95 ± 0.31 (84.12)``, ``missing`` or ``out of memory``."""
    if entry.mean is None:
        text = "out of memory" if entry.out_of_memory else "missing"
    else:
        text = f"{entry.mean:.2f}" + ("" if entry.std is None else f" ± {entry.std:.2f}")
        if entry.runs < table.runs_per_cell:
            text += f" [{entry.runs} of {table.runs_per_cell}]"
        if entry.diverged:
            text += " [diverged]"
        if entry.out_of_memory:
            text += " [out of memory]"
    return text if entry.study is None else f"{text} ({entry.study:.2f})"


def labels(data: str, kind: str) -> str:
    """What the training labels are under a kind of noise, such as ``symmetric label noise``.

    >>> labels("digits", "none"), labels("folder:photos@64", "none")
    ('clean labels', 'labels as they are')
    """
    if kind == "none" and ":" in data:  # of data of one's own nobody knows that they are clean
        return "labels as they are"
    return CAPTIONS.get(kind, f"{kind} label noise")


def _column(results: Results, setting: Noise, study: Results | None) -> list[Entry]:
    cells = {
        loss: results.cells[loss, setting] for loss in results.losses if (loss, setting) in results.cells
    }
    means = {loss: cell.mean for loss, cell in cells.items()}
    least = min(sorted(means.values(), reverse=True)[:TOP], default=0.0) - TIE
    column = []
    for loss in results.losses:
        cell = cells.get(loss)
        published = study.cells.get((loss, setting)) if study else None
        column.append(
            Entry(
                mean=cell.mean if cell else None,
                std=cell.std if cell else None,
                runs=len(cell.accuracies) if cell else 0,
                diverged=cell.diverged if cell else 0,
                study=published.mean if published else None,
                is_top=loss in means and means[loss] >= least,
                out_of_memory=results.out_of_memory.get((loss, setting), 0),
            )
        )
    return column


def _latex(text: str) -> str:
    return text.translate(LATEX)
