"""Data sets, by name or of one's own. A new one is a loader in its own file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

from noiseproof.data.arrays import HandedOver, from_arrays, from_torch
from noiseproof.data.cifar10 import load_cifar10
from noiseproof.data.cifar100 import load_cifar100
from noiseproof.data.dataset import Dataset
from noiseproof.data.digits import load_digits
from noiseproof.data.fashion_mnist import load_fashion_mnist
from noiseproof.data.human_labels import HUMAN_VARIANTS, load_human_labels
from noiseproof.data.image_folder import ImageFolder
from noiseproof.data.mnist import load_mnist
from noiseproof.data.npz_file import NpzFile
from noiseproof.errors import NoiseproofError, did_you_mean

DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
}
"""Loaders by the name that studies use; each takes the folder to read from, or None."""


class Own(Protocol):
    """Data of one's own, read from what follows the colon; ``label`` names it without its folder."""

    @classmethod
    def parse(cls, place: str) -> Self:
        """Read it from its text, without a look at any file."""

    @property
    def label(self) -> str:
        """A short name for records and tables."""

    def load(self) -> Dataset:
        """Read the data."""


KINDS: dict[str, type[Own]] = {"folder": ImageFolder, "npz": NpzFile, "arrays": HandedOver}
"""Data of one's own by what its text begins with."""

FORMS = ("folder:PATH", "npz:FILE")
"""How texts of data of one's own look; ``arrays:NAME`` is no text to load, but of what Python hands over."""


def load(text: str, data_dir: Path | str | None = None) -> Dataset:
    """Load a data set from its text: a name, ``folder:PATH``, ``folder:PATH@SIZE`` or ``npz:FILE``.

    ``data_dir`` is the folder of a named set's files. Raises `NoiseproofError` for an unknown name, unusable
    files, or a ``data_dir`` where the text itself says where the files are.

    >>> load("digits").num_classes
    10
    """
    own = _own(text)
    if own is None:
        return DATASETS[text](None if data_dir is None else Path(data_dir))
    if data_dir is not None:
        raise NoiseproofError(f"{text!r} says itself where its files are and takes no --data-dir")
    return own.load()


def check_name(text: str) -> None:
    """Raise `NoiseproofError` unless ``text`` is that of a data set; no file is looked at."""
    _own(text)


def label(text: str) -> str:
    """Give the short name of a data set for records and tables, which tells nobody where its files are.

    Raises `NoiseproofError` unless ``text`` is that of a data set.

    >>> label("folder:/home/ada/birds@64"), label("npz:~/birds.npz"), label("digits")
    ('folder:birds@64', 'npz:birds.npz', 'digits')
    """
    own = _own(text)
    return text if own is None else own.label


def absolute(text: str) -> str:
    """Give the text with a path that means the same from every folder, for processes that work in another.

    >>> absolute("digits"), absolute("npz:/home/ada/birds.npz")
    ('digits', 'npz:/home/ada/birds.npz')
    """
    kind, _, place = text.partition(":")
    if _own(text) is None or kind == "arrays":
        return text
    return f"{kind}:{Path(place).expanduser().absolute()}"


def _own(text: str) -> Own | None:
    """Read the text of data of one's own; None if it is the name of a data set."""
    if not isinstance(text, str):
        raise NoiseproofError(f"a data set must be a text such as 'digits' or 'folder:birds', got {text!r}")
    if text in DATASETS:
        return None
    kind, colon, place = text.partition(":")
    if not colon or kind not in KINDS:
        offer = did_you_mean(kind, [*DATASETS, *FORMS])
        if not colon and text.endswith(".npz"):
            offer = f"did you mean 'npz:{text}'?"
        elif not colon and ("/" in text or _is_folder(text)):
            offer = f"did you mean 'folder:{text}'?"
        raise NoiseproofError(f"unknown data set {text!r}; {offer}")
    return KINDS[kind].parse(place)


def _is_folder(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):  # no name of a file: too long, or with a zero in it
        return False


__all__ = [
    "DATASETS",
    "FORMS",
    "HUMAN_VARIANTS",
    "KINDS",
    "Dataset",
    "absolute",
    "check_name",
    "from_arrays",
    "from_torch",
    "label",
    "load",
    "load_human_labels",
]
