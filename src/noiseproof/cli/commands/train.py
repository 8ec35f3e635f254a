"""``noiseproof train``: one network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from noiseproof.cli.conducting import conduct_live, finish
from noiseproof.cli.durations import parse_duration
from noiseproof.cli.options import (
    NOISES,
    Data,
    DataDir,
    Device,
    Epochs,
    Settings,
    TensorBoardDir,
    TimeBudget,
    parse_loss,
    parse_settings,
)
from noiseproof.cli.suiting import study_on


def train(
    loss: Annotated[
        str,
        typer.Option(
            help="A loss text, such as 'nce+mae' or '2*nfl(gamma=0.5)+rce'; of your own, my_losses:MyLoss."
        ),
    ],
    data: Data = "digits",
    noise: Annotated[str, typer.Option(help=NOISES)] = "none",
    epochs: Epochs = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="mlp, cnn4, cnn8, resnet18, resnet34, or a function of your own such as my_nets:make."
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Channels of a ResNet's first stage.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides noise, initial weights and batches.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for record and network; one of its own under out/train by default."),
    ] = None,
    settings: Settings = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    time_budget: TimeBudget = None,
    tensorboard: TensorBoardDir = None,
) -> None:
    """Train one network with one loss under one noise, and keep it: load_network reads it in Python."""
    from noiseproof import noise as label_noise

    budget = None if time_budget is None else parse_duration(time_budget)
    # a slip in a text need not wait for the data
    parse_loss(loss)
    label_noise.parse(noise)
    changes: dict[str, Any] = {"losses": [loss], "noises": [noise], "seeds": [seed]}
    options = {"data": "--data", "losses": "--loss", "noises": "--noise", "seeds": "--seed"}
    if model is not None:
        network = {"name": "factory", "path": model} if ":" in model else {"name": model}
        changes["model"] = network
        options |= {f"model.{field}": "--model" for field in network}
    if width is not None:
        changes["model.width"] = width
        options["model.width"] = "--width"
    if epochs is not None:
        changes["recipe.epochs"] = epochs
        options["recipe.epochs"] = "--epochs"
    changes |= parse_settings(settings, options)
    study, dataset = study_on(data, data_dir, changes)
    study = study.pinned()
    (config,) = study.runs()
    folder = out or Path("out") / "train" / f"{config.id}_{config.hash}"
    outcome = conduct_live(
        study, folder, device, data_dir, budget, dataset=dataset, tensorboard=tensorboard, keep_networks=True
    )
    if outcome.ended == "finished":
        from noiseproof.cli.display import show_run
        from noiseproof.study import Archive

        archive = Archive(folder)
        record, kept = archive.finished()[config.id], archive.network(config.id)
        show_run(record, folder / "runs" / f"{config.id}.json", kept if kept.is_file() else None)
    finish(outcome, folder)
