"""The command line's entry: every command, and errors and warnings as one line each."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from noiseproof import __version__
from noiseproof.cli.commands.audit import audit
from noiseproof.cli.commands.certify import certify
from noiseproof.cli.commands.compare import compare
from noiseproof.cli.commands.losses import losses
from noiseproof.cli.commands.report import report
from noiseproof.cli.commands.run import run
from noiseproof.cli.commands.train import train
from noiseproof.cli.commands.tune import tune
from noiseproof.errors import NoiseproofError, one_line

COMMANDS: tuple[Callable[..., None], ...] = (run, train, tune, report, compare, losses, certify, audit)
"""In the order in which ``--help`` lists them."""

app = typer.Typer(
    name="noiseproof",
    help="Losses for PyTorch that tolerate wrong labels, and the bench that proves them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in COMMANDS:
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"noiseproof {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    warnings.showwarning = _show_warning
    try:
        app()
    except NoiseproofError as error:
        _fail(str(error), code=2)
    except OSError as error:  # a full disk, a folder removed meanwhile: what is recorded stays whole
        reason = error.strerror or str(error)
        _fail(f"{reason}: {error.filename}" if error.filename else reason, code=1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"warning: {message}", err=True)


def _fail(message: str, *, code: int) -> None:
    typer.echo(f"error: {one_line(message)}", err=True)
    sys.exit(code)
