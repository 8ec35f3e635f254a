"""Data sets with clean labels, by name. A new one is a loader in its own file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from noiseproof.data.cifar10 import load_cifar10
from noiseproof.data.dataset import Dataset
from noiseproof.data.digits import load_digits
from noiseproof.errors import NoiseproofError, did_you_mean

DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
}
"""Loaders by the name that studies use; each takes the folder to read from, or None."""


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Load a data set by name; raises `NoiseproofError` for an unknown name or unusable files.

    >>> load("digits").num_classes
    10
    """
    check_name(name)
    return DATASETS[name](data_dir)


def check_name(name: str) -> None:
    """Raise `NoiseproofError` unless ``name`` is a data set."""
    if name not in DATASETS:
        raise NoiseproofError(f"unknown data set {name!r}; {did_you_mean(name, DATASETS)}")


__all__ = ["DATASETS", "Dataset", "check_name", "load"]
