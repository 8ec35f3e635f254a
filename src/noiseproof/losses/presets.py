"""The hyperparameters that the authors of the losses used, by data set: ``presets.toml``, with sources."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Unpack

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.losses.base import Loss
from noiseproof.losses.evaluation import Options
from noiseproof.losses.text import parse
from noiseproof.noise import KINDS
from noiseproof.noise import parse as parse_noise


@dataclass(frozen=True)
class Preset:
    """A method's loss on a data set.

    ``noise``: the kind, or kind and rate, that the numbers were chosen for; empty for any. ``l1``: factor of
    the L1 norm of all parameters that the authors add to the loss. ``paper`` and ``code``: where it is from.
    """

    method: str
    dataset: str
    noise: str
    loss: str
    l1: float
    paper: str
    code: str


def preset(method: str, dataset: str, noise: str = "", **options: Unpack[Options]) -> Loss:
    """Give the loss with the hyperparameters that its authors used; `find_preset` gives them as data.

    ``method``: such as ``nce+agce``; ``dataset``: such as ``cifar10``; ``noise``: such as ``symmetric:0.4``,
    needed where the authors chose by noise. Options as for `Loss`.

    Raises:
        NoiseproofError: there is no such preset; the message names those that there are.

    >>> preset("nce+agce", "cifar10")
    nce + 4*agce(a=6, q=1.5)
    >>> preset("js", "cifar10", "symmetric:0.4")
    js(pi=0.7)
    """
    return parse(find_preset(method, dataset, noise).loss, **options)


def find_preset(method: str, dataset: str, noise: str = "") -> Preset:
    """Give a preset as data; arguments and errors as for `preset`.

    >>> find_preset("anl-ce", "cifar10").l1
    5e-05
    """
    method, dataset, noise = (text.lower().replace(" ", "") for text in (method, dataset, noise))
    of_method = [p for p in presets() if p.method == method]
    if not of_method:
        methods = dict.fromkeys(p.method for p in presets())
        raise NoiseproofError(f"no preset for {method!r}; {did_you_mean(method, methods)}")
    of_dataset = [p for p in of_method if p.dataset == dataset]
    if not of_dataset:
        known = dict.fromkeys(p.dataset for p in of_method)
        raise NoiseproofError(f"no preset for {method} on {dataset!r}; {did_you_mean(dataset, known)}")
    if noise and noise not in KINDS:
        noise = str(parse_noise(noise))
    kind = noise.partition(":")[0]
    for fitting in (noise, kind, ""):
        for found in of_dataset:
            if found.noise == fitting:
                return found
    known = dict.fromkeys(p.noise for p in of_dataset)
    asked = f"noise {noise!r}" if noise else "it depends on the noise, which was not given"
    raise NoiseproofError(f"no preset for {method} on {dataset}: {asked}; known are {', '.join(known)}")


@cache
def presets() -> tuple[Preset, ...]:
    """Give every preset, in the order of the file."""
    text = resources.files("noiseproof.losses").joinpath("presets.toml").read_text(encoding="utf-8")
    file = tomllib.loads(text)
    sources = {source["name"]: source for source in file["source"]}
    return tuple(
        Preset(
            method=entry["method"],
            dataset=entry["dataset"],
            noise=entry.get("noise", ""),
            loss=entry["loss"],
            l1=entry.get("l1", 0.0),
            paper=sources[entry["source"]]["paper"],
            code=sources[entry["source"]]["code"],
        )
        for entry in file["preset"]
    )
