"""JSON files that carry a checksum of what they say: a flipped bit may turn one valid number into another."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from noiseproof.errors import NoiseproofError
from noiseproof.files import write_atomically
from noiseproof.schema import Schema

Data = TypeVar("Data", bound=Schema)

SEAL = "checksum"
"""The field that holds it."""


def write_sealed(data: Schema, path: Path) -> None:
    """Write ``data`` as JSON with its checksum, atomically."""
    content = data.model_dump(mode="json")
    write_atomically(path, json.dumps(content | {SEAL: _checksum(content)}, indent=1) + "\n")


def read_sealed(schema: type[Data], path: Path, *, where: str) -> Data:
    """Read data of a schema; a file without a checksum is read as it stands.

    Raises `NoiseproofError` that names ``where`` if the file cannot be read, is not of the schema, or does
    not say what was written.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise NoiseproofError(f"{where} ({error})") from None
    is_sealed = isinstance(content, dict) and SEAL in content
    seal = content.pop(SEAL) if is_sealed else None
    # a field that is misspelt is named before the checksum that it breaks
    data = schema.read(content, where=where)
    if is_sealed and seal != _checksum(content):
        raise NoiseproofError(
            f"{where}: it does not say what was written (if it was edited on purpose, delete its {SEAL})"
        )
    return data


def _checksum(content: dict[str, Any]) -> str:
    """Give the SHA-256 of the JSON, however it is laid out."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
