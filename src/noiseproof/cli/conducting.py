"""Training in front of the user: a live line, Ctrl-C, and how it ended."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from noiseproof.errors import NoiseproofError, did_you_mean

if TYPE_CHECKING:
    from noiseproof.data import Dataset
    from noiseproof.study import OnEpoch, Outcome, Study

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""

PLACES = ("here", "ray")
"""Where a study's runs are trained."""


def conduct_live(
    study: Study,
    out: Path,
    device: str,
    data_dir: Path | None,
    budget: float | None,
    *,
    dataset: Dataset | None = None,
    on: str = "here",
    tensorboard: Path | None = None,
    keep_networks: bool = False,
) -> Outcome:
    """Conduct a study with a live line; Ctrl-C saves and stops it."""
    if on not in PLACES:
        raise NoiseproofError(f"--on must be a place to train, got {on!r}; {did_you_mean(on, PLACES)}")

    from noiseproof.cli.progress import ProgressDisplay
    from noiseproof.cluster import conduct_on_ray
    from noiseproof.interruption import Interruption
    from noiseproof.study import conduct
    from noiseproof.tracking import TensorBoard

    on_epoch: OnEpoch = (lambda *_: None) if tensorboard is None else TensorBoard(tensorboard)
    conduct_there = (
        conduct_on_ray if on == "ray" else partial(conduct, dataset=dataset, keep_networks=keep_networks)
    )
    with Interruption() as interruption, ProgressDisplay() as display:
        return conduct_there(
            study,
            out,
            device=device,
            data_dir=data_dir,
            time_budget=budget,
            interrupted=interruption.requested,
            on_progress=display.show,
            on_epoch=on_epoch,
        )


def finish(outcome: Outcome, folder: Path, page: Path | None = None) -> None:
    """Print what was done, where it is and how to go on; after Ctrl-C, end with its exit code."""
    done = f"{outcome.runs_done} of {outcome.runs_total} runs done"
    typer.echo(f"{done}, {outcome.training_seconds:.0f} s of training; everything is in {folder}")
    if page is not None:
        typer.echo(f"to look at: {page}")
    if outcome.ended != "finished":
        typer.echo(f"{outcome.ended}: the same command goes on from here")
    if outcome.ended == "interrupted":
        raise typer.Exit(INTERRUPTED)
