"""Files of published data sets: downloaded with a checksum, or found in a folder."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from noiseproof.data.dataset import Dataset
from noiseproof.errors import NoiseproofError, one_line


def download(url: str, file_name: str, known_hash: str, *, title: str, offer: str) -> Path:
    """Download a file once into the user's cache, check it, and keep it there as ``file_name``.

    ``known_hash`` is ``md5:...`` or ``sha256:...``, ``offer`` what the user can do without a network. Raises
    `NoiseproofError` if the download fails or is another file.
    """
    import pooch

    try:
        path = pooch.retrieve(
            url,
            known_hash=known_hash,
            fname=file_name,
            path=pooch.os_cache("noiseproof"),
            progressbar=True,
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
        raise NoiseproofError(f"{title} could not be downloaded ({reason(error)}); {offer}") from None
    return Path(path)


def check_folder(data_dir: Path) -> None:
    """Raise `NoiseproofError` unless ``data_dir`` is a folder."""
    if data_dir.is_file():
        raise NoiseproofError(f"{str(data_dir)!r} is a file; --data-dir must be the folder that holds it")
    if not data_dir.is_dir():
        raise NoiseproofError(f"data folder {str(data_dir)!r} does not exist")


@dataclass
class Canon:
    """The files of a data set as they were published, by their MD5 sums, and those seen that differ."""

    title: str
    sums: dict[str, str]
    differing: list[str] = field(default_factory=list)

    def compare(self, name: str, raw: bytes) -> None:
        """Note whether a file is the published one."""
        if hashlib.md5(raw, usedforsecurity=False).hexdigest() != self.sums[name]:
            self.differing.append(name)

    def warn(self, dataset: Dataset) -> None:
        """Warn, once, if any file differs."""
        if self.differing:
            warnings.warn(
                f"{len(self.differing)} of {len(self.sums)} {self.title} files differ from the canonical"
                f" ones; they are used as they are (fingerprint {dataset.fingerprint[:12]}, kept in every"
                " record)",
                stacklevel=5,  # whoever called data.load
            )

    def fail(self, name: str, fault: str) -> NoReturn:
        """Raise `NoiseproofError` that names a file and its fault."""
        raise NoiseproofError(f"{self.title} file {name!r} {fault}") from None


def reason(error: Exception) -> str:
    """Give what an error says, or its type's name if it says nothing."""
    return one_line(str(error)) or type(error).__name__
