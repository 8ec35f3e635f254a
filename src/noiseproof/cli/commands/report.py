"""``noiseproof report``: tables, figures and claims from the records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noiseproof.errors import NoiseproofError


def report(folder: Annotated[Path, typer.Argument(help="What --out was.")]) -> None:
    """Rebuild and print every table, figure and claim from the records alone."""
    from noiseproof.tuning.folder import Folder

    if Folder(folder).plan.exists() and not (folder / "runs").exists():
        raise NoiseproofError(
            f"{str(folder)!r} holds a search, not a study: the 'noiseproof tune' that made it, given again,"
            " writes and prints its report"
        )
    page = write_and_show(folder)
    typer.echo(f"report in {folder / 'report'}")
    typer.echo(f"to look at: {page}")


def write_and_show(folder: Path) -> Path:
    """Write the report of a folder and print it; returns its page to look at."""
    from noiseproof.cli.display import show_report
    from noiseproof.report import write_report

    written = write_report(folder)
    show_report(written)
    return written.page
