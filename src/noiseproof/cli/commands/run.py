"""``noiseproof run``: a whole study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noiseproof.cli.commands.report import write_and_show
from noiseproof.cli.conducting import conduct_live, finish
from noiseproof.cli.durations import parse_duration
from noiseproof.cli.options import (
    STUDIES,
    DataDir,
    Device,
    Settings,
    TensorBoardDir,
    TimeBudget,
    parse_settings,
)
from noiseproof.errors import NoiseproofError


def run(
    study: Annotated[
        str, typer.Argument(help=f"A built-in study ({', '.join(STUDIES)}) or a .toml file.")
    ] = "digits",
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and report; out/<study> by default.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds 0 to N-1 in place of the study's own.")] = None,
    settings: Settings = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    time_budget: TimeBudget = None,
    on: Annotated[str, typer.Option(help="here, or ray: as tasks over a Ray cluster.")] = "here",
    tensorboard: TensorBoardDir = None,
) -> None:
    """Conduct a study: train every run that has no record yet, then print and write the report."""
    from noiseproof.study import load_study
    from noiseproof.study.study import MOST_RUNS

    budget = None if time_budget is None else parse_duration(time_budget)
    changes = parse_settings(settings, {} if seeds is None else {"seeds": "--seeds"})
    if seeds is not None:
        if seeds < 1:
            raise NoiseproofError(f"--seeds must be at least 1, got {seeds}")
        if seeds > MOST_RUNS:
            raise NoiseproofError(f"--seeds must be at most {MOST_RUNS}, got {seeds}")
        changes["seeds"] = list(range(seeds))
    chosen = load_study(study, changes)
    folder = out or Path("out") / Path(study).stem
    outcome = conduct_live(chosen, folder, device, data_dir, budget, on=on, tensorboard=tensorboard)
    page = write_and_show(folder) if outcome.runs_done else None
    finish(outcome, folder, page)
