"""Files that are whole or absent: written beside their place, flushed, then renamed."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from noiseproof.errors import NoiseproofError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` so that a reader, or a crash, sees the old file or the new one.

    An `OSError`, as of a full disk, names ``path``.
    """
    raw = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes it readable by its owner alone
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # writing and flushing know of no name
        raise


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    r"""Give rows as the text of a CSV file, lines ended by ``\n`` on every system.

    >>> csv_text(["loss", "score"], [["nce", 0.5]])
    'loss,score\nnce,0.5\n'
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def make_folder(path: Path) -> Path:
    """Make ``path`` a folder that can be written to; raises `NoiseproofError` if it can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise NoiseproofError(f"folder {str(path)!r} cannot be written to: {error.strerror}") from None
