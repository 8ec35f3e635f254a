"""``noiseproof audit``: the noise that was asked for, and what came of it."""

from __future__ import annotations

from typing import Annotated

import typer

from noiseproof.cli.options import NOISES, Data, DataDir
from noiseproof.errors import NoiseproofError


def audit(
    noise: Annotated[str, typer.Argument(help=NOISES)],
    data: Data = "digits",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Draw label noise and show the matrix asked for beside the one achieved."""
    from noiseproof import data as data_sets
    from noiseproof import noise as label_noise
    from noiseproof.study.labels import training_labels

    setting = label_noise.parse(noise)
    dataset = data_sets.load(data, data_dir)
    labels = training_labels(setting, dataset, seed=seed, data_dir=data_dir)
    if labels.audit is None:
        raise NoiseproofError(
            f"{dataset.name} has one label for each image and none beside it, so there is nothing to audit"
        )
    typer.echo(str(labels.audit))
