"""A numpy archive of one's own as a data set."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from noiseproof.data.assembly import assemble
from noiseproof.data.dataset import Dataset
from noiseproof.data.published import reason
from noiseproof.errors import NoiseproofError, did_you_mean

Arrays = dict[str, NDArray[Any]]

APART = ("x_train", "y_train", "given_train", "x_test", "y_test", "class_names")
WHOLE = ("x", "y", "given", "class_names")
"""Names of the arrays, with a test set of their own or without."""


@dataclass(frozen=True)
class NpzFile:
    """The text ``npz:FILE``: an archive of ``x_train, y_train, x_test, y_test``, or of ``x, y``.

    Of ``x, y`` a fifth of each class becomes the test set. ``given_train``, or ``given``, are labels of the
    training images that may be wrong: beside clean ones, or in the place of ``y_train`` or ``y``, and then
    the clean ones are not known. ``class_names`` names the classes in the order of their numbers.
    """

    path: Path

    @classmethod
    def parse(cls, place: str) -> Self:
        """Read FILE; raises `NoiseproofError` if it is empty."""
        if not place.strip():
            raise NoiseproofError("'npz:' must be followed by a file, such as npz:birds.npz")
        return cls(Path(place).expanduser())

    @property
    def label(self) -> str:
        """``npz:`` and the file's name, without its folder."""
        return f"npz:{self.path.name}"

    def load(self) -> Dataset:
        """Read the file; raises `NoiseproofError` for one that is missing, damaged or lacks an array."""
        arrays = self._read()
        wanted = APART if any(name.endswith(("_train", "_test")) for name in arrays) else WHOLE
        for name in arrays:
            if name not in wanted:
                self._fail(f"has an unknown array {name!r}; {did_you_mean(name, wanted)}")
        return self._apart(arrays) if wanted is APART else self._whole(arrays)

    def _apart(self, arrays: Arrays) -> Dataset:
        self._demand(arrays, "x_train", "x_test", "y_test")
        clean, given = arrays.get("y_train"), arrays.get("given_train")
        if clean is None and given is None:
            self._fail("has neither 'y_train' nor 'given_train'")
        return self._assembled(
            (arrays["x_train"], clean), (arrays["x_test"], arrays["y_test"]), given, arrays.get("class_names")
        )

    def _whole(self, arrays: Arrays) -> Dataset:
        self._demand(arrays, "x")
        x, clean, given = arrays["x"], arrays.get("y"), arrays.get("given")
        if clean is None and given is None:
            self._fail("has neither 'y' nor 'given'")
        for name in ("y", "given"):
            if name in arrays and (x.ndim == 0 or arrays[name].shape != x.shape[:1]):
                self._fail(f"has {name!r} of shape {arrays[name].shape} for 'x' of shape {x.shape}")
        return self._assembled((x, clean), None, given, arrays.get("class_names"))

    def _assembled(
        self,
        train: tuple[Any, Any],
        test: tuple[Any, Any] | None,
        given: Any,
        class_names: NDArray[Any] | None,
    ) -> Dataset:
        clean_is_known = train[1] is not None
        if class_names is not None and (class_names.ndim != 1 or class_names.dtype.kind not in "US"):
            self._fail("has 'class_names' that are no list of texts")
        return assemble(
            self.label,
            train if clean_is_known else (train[0], given),
            test,
            given=given if clean_is_known else None,
            class_names=None if class_names is None else class_names.astype(str).tolist(),
            labels_are_clean=clean_is_known,
        )

    def _read(self) -> Arrays:
        if not self.path.is_file():
            raise NoiseproofError(f"data file {str(self.path)!r} does not exist or is no file")
        try:
            with self.path.open("rb") as file:  # numpy would leave a damaged one open
                if not file.read(6).startswith((b"PK", b"\x93NUMPY")):
                    # which numpy would take for a pickle, and offer to load it as one
                    raise ValueError("it is no numpy archive")
                file.seek(0)
                archive = np.load(file, allow_pickle=False)
                if isinstance(archive, np.lib.npyio.NpzFile):
                    return dict(archive)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            self._fail(f"cannot be read ({reason(error)})")
        self._fail("is a single array, not an archive of several")

    def _demand(self, arrays: Arrays, *names: str) -> None:
        for name in names:
            if name not in arrays:
                self._fail(f"has no array {name!r}; it has {', '.join(map(repr, arrays)) or 'none'}")

    def _fail(self, fault: str) -> NoReturn:
        raise NoiseproofError(f"data file {str(self.path)!r} {fault}") from None
