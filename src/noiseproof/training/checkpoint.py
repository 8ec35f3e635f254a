"""The state of one run as a file: whole, checked against damage, and read without unpickling objects."""

from __future__ import annotations

import hashlib
import io
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.files import write_atomically
from noiseproof.training.history import History
from noiseproof.training.stack import State

MAGIC = b"noiseproof checkpoint 1\n"

MOST_TUPLES = 20_000
"""In one checkpoint; a ResNet-18's has 1,000. Deeply nested tuples, used as dictionary keys, crash Python."""


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
        if _tuples(raw) > MOST_TUPLES:
            raise ValueError("it has too many tuples")
        content = torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
        history = History.read(content["history"], where=str(path))
        checkpoint = Checkpoint(**content | {"history": history})
    except Exception as error:  # what torch.load raises for odd bytes is not documented
        raise damaged from error
    if not _is_well_typed(checkpoint):
        raise damaged
    return checkpoint


def _tuples(raw: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        opcodes = pickletools.genops(archive.read(pickled))
        return sum(opcode.name.startswith("TUPLE") for opcode, _, _ in opcodes)


def _is_well_typed(checkpoint: Checkpoint) -> bool:
    facts = (checkpoint.identity, str), (checkpoint.step, int), (checkpoint.seconds, float)
    states = checkpoint.parameters, checkpoint.buffers, checkpoint.momentum, checkpoint.counts
    return all(isinstance(value, kind) for value, kind in facts) and all(
        isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())
        for state in states
    )
