"""What commands print: tables, claims, one run, the list of losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from noiseproof.certificates import Certificate
from noiseproof.losses import CATALOGUE
from noiseproof.report import Comparison, Report, Table
from noiseproof.report.claims import NOT_ASKED, none_can_be_asked
from noiseproof.report.tables import entry_text
from noiseproof.study import Record
from noiseproof.tuning import Findings

PLAIN_WIDTH = 120
"""Columns where the output is no terminal: no cell is cut short."""

STYLES = {"holds": "green", "fails": "red", "not enough data": "dim"}


def show_report(report: Report) -> None:
    """Print the tables and the claims."""
    console = _console()
    for table in report.tables:
        console.print(f"[bold]{table.name}[/]: {escape(table.caption)}", highlight=False)
        console.print(_grid(table))
        for note in table.notes:
            console.print(f"[dim]{escape(note)}[/]", highlight=False)
        console.print()
    if not report.claims:
        console.print(f"[dim]{NOT_ASKED}[/]", highlight=False, soft_wrap=True)
        return
    if none_can_be_asked(report.claims):
        missing = (
            f"No claim of the study can be asked of these results; {report.folder / 'claims.csv'} says why."
        )
        console.print(f"[dim]{escape(missing)}[/]", highlight=False, soft_wrap=True)
        return
    claims = Grid("the study's claims", "ours", "study")
    for claim, ours, study in report.claims:
        verdicts = [f"[{STYLES[verdict.answer]}]{verdict.answer}[/]" for verdict in (ours, study)]
        claims.add_row(f"{claim.statement} ({claim.section})", *verdicts)
    console.print(claims)
    behind = escape(f"The figures behind each verdict: {report.folder / 'claims.csv'}")
    console.print(f"[dim]{behind}[/]", highlight=False, soft_wrap=True)


def show_run(record: Record, path: Path, network: Path | None) -> None:
    """Print what came of one run, and where it is: its record, and its network if there is one."""
    history = record.history
    if record.test_accuracy is None or record.best is None:
        lines = [f"out of memory after {len(history)} epochs: the run does not fit the device"]
    else:
        lines = [
            f"test accuracy {100 * record.test_accuracy:.2f} % after epoch {len(history)} (best, for"
            f" comparison: {100 * record.best.test_accuracy:.2f} % after epoch {record.best.epoch})"
        ]
    if record.config.noise == "none":
        # whether any was wrong before, nobody says of data of one's own
        lines.append("no label was made wrong")
    elif record.noise.achieved_rate is None:
        lines.append("wrong labels: not known, since the clean ones are not")
    else:
        lines.append(f"wrong labels: {100 * record.noise.achieved_rate:.2f} % of {record.data.train_size}")
    if history.memorized and history.memorized[-1] is not None and history.recovered[-1] is not None:
        lines.append(
            f"of these, {100 * history.memorized[-1]:.2f} % were memorized and"
            f" {100 * history.recovered[-1]:.2f} % predicted as what they really are"
        )
    if record.status == "diverged":
        lines.append("the run diverged: its loss was not finite")
    lines.append(f"record in {path}")
    if network is not None:
        lines.append(f"network in {network}, for noiseproof.models.load_network")
    text = "\n".join(lines)
    _console().print(text, highlight=False, markup=False, soft_wrap=True)


def show_losses(num_classes: int) -> None:
    """Print the catalogue of losses with the properties for ``num_classes`` classes."""
    grid = Grid()
    grid.add_column("name", no_wrap=True)
    for header in ("loss", "kind", "robust", "range", f"sum over {num_classes}", "source"):
        grid.add_column(header)
    for cls in CATALOGUE.values():
        loss = cls()
        known = loss.properties(num_classes)
        grid.add_row(
            str(loss),
            cls.title,
            known.kind,
            "yes" if known.robust else "no",
            f"{known.lower:g} to {known.upper:.4g}",
            "not constant" if known.class_sum is None else f"{known.class_sum:g}",
            cls.source,
        )
    console = _console()
    console.print(grid)
    console.print("Combine them as text: 'nce+mae', '2*nfl(gamma=0.5) + 0.5*rce(A=-4)', 'normalized(fl)'.")


def show_certificate(certificate: Certificate, refuted: Sequence[str] | None) -> None:
    """Print a certificate, and whether it bears out what the loss claims; None if it claims nothing."""
    console = _console()
    console.print(str(certificate), highlight=False, markup=False, soft_wrap=True)
    claims = f"[red]not borne out:[/] {escape('; '.join(refuted))}" if refuted else "[green]all borne out[/]"
    if refuted is None:
        claims = "none made"
    console.print(f"  {'claims':<20}{claims}", highlight=False, soft_wrap=True)
    console.print()


def show_nearest(ranked: Sequence[tuple[str, Comparison]]) -> None:
    """Print results by their distance from the study, the nearest first."""
    grid = Grid("results", "cells", "mean absolute difference", "mean rank correlation")
    for name, comparison in ranked:
        rank = comparison.mean_rank_correlation
        known = comparison.num_cells > 0
        grid.add_row(
            escape(name),
            str(comparison.num_cells),
            f"{comparison.mean_absolute_difference:.2f}" if known else "no cell in common",
            "" if rank is None else f"{rank:.2f}",
        )
    _console().print(grid)


def show_findings(findings: Findings) -> None:
    """Print the best trials of a search, and the best loss as a line to paste."""
    console = _console()
    grid = Grid("trial", title=escape(f"{findings.search.loss}, {findings.search.noise}"))
    grid.add_column("score (%)", justify="right")
    grid.add_column("loss")
    for trial in findings.shown:
        mark = " (the defaults)" if trial is findings.defaults else ""
        grid.add_row(str(trial.number), f"{100 * trial.score:.2f}", escape(trial.loss + mark))
    console.print(grid)
    for note in findings.notes:
        console.print(f"[dim]{escape(note)}[/]", highlight=False)
    console.print(f"best: {findings.best.loss}", highlight=False, markup=False, soft_wrap=True)


def _grid(table: Table) -> Grid:
    grid = Grid("loss")
    for header in table.headers:
        grid.add_column(header, justify="right")
    for loss, entries in table.rows:
        texts = [(entry, escape(entry_text(table, entry))) for entry in entries]
        grid.add_row(escape(loss), *(f"[bold]{text}[/]" if entry.is_top else text for entry, text in texts))
    return grid


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
