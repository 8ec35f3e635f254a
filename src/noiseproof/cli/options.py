"""What several commands can be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noiseproof.errors import NoiseproofError

if TYPE_CHECKING:
    from noiseproof.losses import Loss

STUDIES = sorted(
    entry.name.removesuffix(".toml")
    for entry in resources.files("noiseproof").joinpath("study", "library").iterdir()
    if entry.name.endswith(".toml")
)
"""The studies that come with the package, by the names of their files: reading them would import torch."""

NOISES = "symmetric:0.4, asymmetric:0.3, pairflip:0.2, instance:0.4, human:worst, given or none."

DATA = "digits, cifar10, cifar100, mnist, fashion-mnist, folder:PATH, folder:PATH@SIZE or npz:FILE."

Data = Annotated[str, typer.Option(help=DATA)]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the data set's files; without it they are downloaded.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Classes = Annotated[int, typer.Option(help="Number of classes K.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs; by default those of the data set's study, or 50.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting, such as recipe.epochs=5; may be repeated."),
]
TimeBudget = Annotated[
    str | None, typer.Option(help="Save everything and stop after this long, such as 9m, 90s or 1h30m.")
]
TensorBoardDir = Annotated[
    Path | None, typer.Option("--tensorboard", help="Folder for TensorBoard: each run's epochs.")
]


def parse_settings(texts: Iterable[str] | None, options: Mapping[str, str]) -> dict[str, Any]:
    """Read what ``--set`` was given, values as TOML; ``options`` names the option that sets a place already.

    Raises `NoiseproofError` where there is no ``=``, and for what would set such a place too.

    >>> parse_settings(["recipe.epochs=5", "losses = ['ce']", "title=no quotes"], {"seeds": "--seeds"})
    {'recipe.epochs': 5, 'losses': ['ce'], 'title': 'no quotes'}
    """
    settings = dict(_setting(text) for text in texts or ())
    for name in settings:
        for place, option in options.items():
            if f"{place}.".startswith(f"{name}."):  # itself, or the table that holds it
                raise NoiseproofError(f"--set {name} and {option} both set {place}; give {option} alone")
    return settings


def parse_loss(text: str) -> Loss:
    """Read a loss; raises `NoiseproofError`, which for ``alpha*nce`` says that ``tune`` searches alpha."""
    from noiseproof.losses import Template, parse

    try:
        return parse(text)
    except NoiseproofError as error:
        try:
            names = list(Template(text).roles)
        except NoiseproofError:
            raise error from None
        one, it = ("is a free name", "it") if len(names) == 1 else ("are free names", "them")
        listed = ", ".join(map(repr, names))
        raise NoiseproofError(f"{error} ({listed} {one}: `noiseproof tune` searches {it})") from None


def _setting(text: str) -> tuple[str, Any]:
    import tomllib

    name, equals, value = text.partition("=")
    if not equals:
        raise NoiseproofError(f"--set must be NAME=VALUE, such as recipe.epochs=5, got {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML, so a text
        return name.strip(), value.strip()
