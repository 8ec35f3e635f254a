"""A folder of images as a data set, a folder for each class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from noiseproof.data.assembly import assemble
from noiseproof.data.dataset import Dataset
from noiseproof.data.published import reason
from noiseproof.data.split import hold_out_a_fifth
from noiseproof.errors import NoiseproofError, did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 1024
"""The greatest size that images are scaled to."""

GREY, COLOUR = (
    ("1", "L"),
    ("LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"),
)
"""Pillow's modes of eight bits a channel; the others have more, and would be cut off."""

ORIENTATION = 0x0112
"""The EXIF tag of how a camera was held; from 5 on width and height are swapped."""


@dataclass(frozen=True)
class ImageFolder:
    """The text ``folder:PATH`` or ``folder:PATH@SIZE``: images in a folder for each class.

    PATH holds the class folders, and a fifth of each class becomes the test set; or it holds ``train/`` and
    ``test/``, or ``val/``, with the class folders in them. The classes are named and ordered by their
    folders. All images become RGB, or grey if all are grey. With ``@SIZE`` the shorter side is scaled to SIZE
    pixels and the centre cut out; without it all images must have one size. Hidden files are left out.
    """

    path: Path
    size: int | None = None

    @classmethod
    def parse(cls, place: str) -> Self:
        """Read PATH or PATH@SIZE; raises `NoiseproofError` if it is empty or SIZE out of range.

        >>> ImageFolder.parse("birds@64")
        ImageFolder(path=PosixPath('birds'), size=64)
        """
        match = re.fullmatch(r"(.*)@(\d+)", place, re.DOTALL)
        path, size = (match[1], int(match[2])) if match else (place, None)
        if not path.strip():
            raise NoiseproofError(
                "'folder:' must be followed by a folder, such as folder:birds or folder:birds@64"
            )
        if size is not None and not 1 <= size <= LARGEST:
            raise NoiseproofError(f"'folder:{place}': the size must be 1 to {LARGEST}, got {size}")
        return cls(Path(path).expanduser(), size)

    @property
    def label(self) -> str:
        """``folder:`` and the folder's name, without what holds it."""
        is_named = self.path.name not in ("", "..")
        name = self.path.name if is_named else self.path.resolve().name or "/"
        return f"folder:{name}" if self.size is None else f"folder:{name}@{self.size}"

    def load(self) -> Dataset:
        """Read all images; raises `NoiseproofError` that names the file or folder which does not fit."""
        if not self.path.is_dir():
            raise NoiseproofError(f"data folder {str(self.path)!r} {self._fault_of_path()}")
        if (self.path / "train").is_dir() and _visible(self.path / "train", folders=True):
            parts = [_labelled(folder) for folder in (self.path / "train", self._test_folder())]
            self._check_same_classes(*(names for names, _, _ in parts))
            names = parts[0][0]
            split = [(files, labels) for _, files, labels in parts]
        else:
            names, files, labels = _labelled(self.path)
            where = f"data folder {str(self.path)!r}"
            split = [
                ([files[i] for i in indices], labels[indices])
                for indices in hold_out_a_fifth(np.array(names)[labels], where=where)
            ]
        pixels = self._pixels([file for files, _ in split for file in files])
        middle = len(split[0][0])
        return assemble(
            self.label,
            (pixels[:middle], split[0][1]),
            (pixels[middle:], split[1][1]),
            class_names=names,
            channels_first=True,
        )

    def _fault_of_path(self) -> str:
        """Say why there is no such folder, with what may have been meant."""
        place, at, size = str(self.path).rpartition("@")
        if at and Path(place).is_dir():
            return f"has no size of so many pixels, such as {place}@64, got {size!r}"
        fault = "does not exist or is no folder"
        beside = self.path.parent
        folders = [entry.name for entry in beside.iterdir() if entry.is_dir()] if beside.is_dir() else []
        offer = did_you_mean(self.path.name, sorted(folders)) if folders else ""
        return f"{fault}; {offer}" if offer.startswith("did you mean") else fault

    def _test_folder(self) -> Path:
        for name in ("test", "val"):
            if (self.path / name).is_dir():
                return self.path / name
        _fail(self.path, "holds train/ but neither test/ nor val/")

    def _check_same_classes(self, train: Sequence[str], test: Sequence[str]) -> None:
        for one, other, where in ((train, test, "train"), (test, train, self._test_folder().name)):
            for name in one:
                if name not in other:
                    _fail(self.path, f"has class {name!r} in {where}/ alone; {did_you_mean(name, other)}")

    def _pixels(self, files: Sequence[Path]) -> NDArray[np.uint8]:
        """Read images into ``(N, C, H, W)``; all are looked at before the first is decoded."""
        seen = [_look_at(file) for file in files]
        if self.size is None:
            for file, facts in zip(files, seen, strict=True):
                if facts.size != seen[0].size:
                    smallest = min(min(facts.size) for facts in seen)
                    _fail(
                        self.path,
                        f"has images of different sizes: {_sized(files[0], seen[0])}, {_sized(file, facts)};"
                        f" 'folder:{self.path}@{smallest}' scales and cuts all to one",
                    )
        width, height = seen[0].size if self.size is None else (self.size, self.size)
        mode, channels = ("L", 1) if all(facts.is_grey for facts in seen) else ("RGB", 3)
        pixels = np.empty((len(files), channels, height, width), dtype=np.uint8)
        for i, file in enumerate(files):
            with _opened(file) as image:
                pixels[i] = np.moveaxis(self._fitted(image, mode).reshape(height, width, channels), 2, 0)
        return pixels

    def _fitted(self, image: Image, mode: str) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        upright = ImageOps.exif_transpose(image).convert(mode)
        if self.size is not None:
            upright = ImageOps.fit(upright, (self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(upright)


@dataclass(frozen=True)
class _Facts:
    """What the head of an image file says; ``size`` is width and height."""

    size: tuple[int, int]
    is_grey: bool


def _look_at(file: Path) -> _Facts:
    with _opened(file) as image:
        if image.mode not in GREY + COLOUR:
            raise NoiseproofError(f"{str(file)!r} has more than eight bits a channel (mode {image.mode})")
        width, height = image.size
        is_turned = image.getexif().get(ORIENTATION, 1) >= 5
        return _Facts((height, width) if is_turned else (width, height), image.mode in GREY)


@contextmanager
def _opened(file: Path) -> Iterator[Image]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            yield image
    except NoiseproofError:
        raise
    except Exception as error:  # a damaged image can raise anything
        raise NoiseproofError(f"{str(file)!r} is no image that can be read ({reason(error)})") from None


def _labelled(folder: Path) -> tuple[list[str], list[Path], NDArray[np.int64]]:
    """List the classes, the files and their labels."""
    classes = _visible(folder, folders=True)
    if len(classes) < 2:
        there = f"one, {classes[0].name!r}" if classes else "none"
        _fail(folder, f"needs two class folders or more, it has {there}")
    files: list[Path] = []
    labels: list[int] = []
    for k, of_class in enumerate(classes):
        inner = _visible(of_class, folders=True)
        if inner:
            _fail(of_class, f"holds the folder {inner[0].name!r} where images are expected")
        images = _visible(of_class, folders=False)
        if not images:
            _fail(of_class, "holds no image")
        files += images
        labels += [k] * len(images)
    return [of_class.name for of_class in classes], files, np.array(labels, dtype=np.int64)


def _visible(folder: Path, *, folders: bool) -> list[Path]:
    """List the folders, or the files, in a folder in the order of their names, but for hidden ones."""
    entries = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in entries if path.is_dir() == folders), key=lambda path: path.name)


def _sized(file: Path, facts: _Facts) -> str:
    return f"{str(file)!r} is {facts.size[0]}x{facts.size[1]}"


def _fail(folder: Path, fault: str) -> NoReturn:
    raise NoiseproofError(f"data folder {str(folder)!r} {fault}")
