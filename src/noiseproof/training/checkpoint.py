"""The state of one run as a file: whole, checked against damage, and read without unpickling objects."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import torch

from noiseproof.errors import NoiseproofError
from noiseproof.files import write_atomically
from noiseproof.training.history import History
from noiseproof.training.stack import State

MAGIC = b"noiseproof checkpoint 1\n"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on from ``step``: its state, and the counts of the epoch under way."""

    identity: str
    step: int
    seconds: float
    parameters: State
    buffers: State
    momentum: State
    counts: State
    history: History


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically, with a checksum before its content."""
    content = vars(checkpoint) | {"history": checkpoint.history.model_dump()}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    raw = buffer.getvalue()
    write_atomically(path, MAGIC + hashlib.sha256(raw).digest() + raw)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; raises `NoiseproofError` that names the file if it is damaged in any way."""
    damaged = NoiseproofError(f"checkpoint {str(path)!r} is damaged")
    stored = path.read_bytes()
    digest, raw = stored[len(MAGIC) : len(MAGIC) + 32], stored[len(MAGIC) + 32 :]
    if not stored.startswith(MAGIC) or hashlib.sha256(raw).digest() != digest:
        raise damaged
    try:
        content = torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
        return Checkpoint(**content | {"history": History.read(content["history"], where=str(path))})
    except Exception as error:  # what torch.load raises for odd bytes is not documented
        raise damaged from error
