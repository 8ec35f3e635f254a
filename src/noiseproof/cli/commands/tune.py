"""``noiseproof tune``: the numbers in a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from noiseproof.cli.conducting import finish
from noiseproof.cli.durations import parse_duration
from noiseproof.cli.options import (
    DATA,
    NOISES,
    STUDIES,
    DataDir,
    Device,
    Epochs,
    Settings,
    TimeBudget,
    parse_settings,
)
from noiseproof.cli.suiting import study_on
from noiseproof.errors import NoiseproofError


def tune(
    loss: Annotated[
        str, typer.Option(help="A loss text with names where numbers stand, such as 'alpha*nce + beta*mae'.")
    ],
    study: Annotated[
        str | None,
        typer.Argument(help=f"Data, network and recipe: a study ({', '.join(STUDIES)}) or a .toml file."),
    ] = None,
    data: Annotated[str | None, typer.Option(help=f"In place of a study, what train takes: {DATA}")] = None,
    noise: Annotated[
        str | None,
        typer.Option(help=f"{NOISES} The study's by default, if it has but one; none with --data."),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", help="Where a name is searched, such as alpha=0.1:10:log; may be repeated."),
    ] = None,
    epochs: Epochs = None,
    trials: Annotated[int, typer.Option(help="Trials in all, those that are done included.")] = 50,
    holdout: Annotated[
        float, typer.Option(help="Share of the training set whose noisy labels give the scores.")
    ] = 0.2,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides noise, split, initial weights, batches and search.")
    ] = 0,
    batch: Annotated[int, typer.Option(help="Trials proposed, and trained, together.")] = 8,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for trials and report; one of its own under out/tune by default."),
    ] = None,
    settings: Settings = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    time_budget: TimeBudget = None,
) -> None:
    """Search the numbers in a loss by held-out noisy labels, then print and write what was found."""
    from noiseproof import data as data_sets
    from noiseproof import noise as label_noise
    from noiseproof import tuning
    from noiseproof.cli.display import show_findings
    from noiseproof.cli.progress import ProgressDisplay
    from noiseproof.interruption import Interruption
    from noiseproof.losses import Template
    from noiseproof.study import load_study

    budget = None if time_budget is None else parse_duration(time_budget)
    if trials < 1:
        raise NoiseproofError(f"--trials must be at least 1, got {trials}")
    changes: dict[str, Any] = {}
    options = {"losses": "--loss", "seeds": "--seed"}
    if data is not None:
        options |= {"data": "--data", "noises": "--noise"}
    if noise is not None:
        options["noises"] = "--noise"
    if epochs is not None:
        changes["recipe.epochs"] = epochs
        options["recipe.epochs"] = "--epochs"
    changes |= parse_settings(settings, options)
    dataset = None
    if data is None and study is not None:
        chosen, name = load_study(study, changes), study
    elif data is not None and study is None:
        # a slip in a text need not wait for the data
        Template(loss)
        noise = str(label_noise.parse(noise or "none"))
        chosen, dataset = study_on(data, data_dir, changes)
        name = data_sets.label(data).replace(":", "-")
    else:
        raise NoiseproofError(
            "tune takes a study, such as digits, or --data, such as folder:PATH, and"
            f" {'not both' if study else 'got neither'}; --set data=... changes the data of a study"
        )
    search = tuning.Search.of(
        chosen,
        loss,
        noise=noise,
        ranges=dict(_range(text) for text in ranges or ()),
        seed=seed,
        holdout=holdout,
        batch=batch,
    )
    name = f"{Path(name).stem}_{search.noise.replace(':', '-')}_{search.hash}"
    folder = out or Path("out") / "tune" / name
    with Interruption() as interruption, ProgressDisplay() as display:
        outcome = tuning.tune(
            search,
            folder,
            trials=trials,
            device=device,
            data_dir=data_dir,
            dataset=dataset,
            time_budget=budget,
            interrupted=interruption.requested,
            on_progress=display.show,
        )
    if outcome.runs_done:
        show_findings(tuning.write_report(folder))
    finish(outcome, folder)


def _range(text: str) -> tuple[str, str]:
    name, equals, range = (part.strip() for part in text.partition("="))
    if not equals:
        raise NoiseproofError(f"--range must be NAME=LOW:HIGH or NAME=LOW:HIGH:log, got {text!r}")
    return name, range
