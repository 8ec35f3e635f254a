"""Every bit of a record and of a checkpoint: flipped, it is noticed; so is every byte that is missing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from noiseproof.errors import NoiseproofError
from noiseproof.study import Study, conduct
from noiseproof.study.record import read_record
from noiseproof.training.checkpoint import load

ALL_BITS = range(8)


@pytest.fixture
def record(study: Study, tmp_path: Path) -> Path:
    conduct(study, tmp_path, device="cpu")
    return tmp_path / "runs" / f"{study.runs()[1].id}.json"


@pytest.fixture
def checkpoint(study: Study, tmp_path: Path) -> Path:
    asked = iter(range(3))
    conduct(study, tmp_path, device="cpu", interrupted=lambda: next(asked, None) is None)
    return tmp_path / "checkpoints" / f"{study.runs()[1].id}.pt"


def flipped(raw: bytes, position: int, bit: int) -> bytes:
    return raw[:position] + bytes([raw[position] ^ 1 << bit]) + raw[position + 1 :]


def is_refused(read: Callable[[Path], object], path: Path) -> bool:
    """Whether a file is refused, in one line that names it; any other exception fails the test."""
    message = ""
    try:
        read(path)
    except NoiseproofError as error:
        message = str(error)
    assert not message or (repr(str(path)) in message and message.isprintable())
    return bool(message)


@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_flipped_bit_of_a_record_is_noticed_or_changes_nothing_it_says(record: Path, bits: int) -> None:
    raw, said = record.read_bytes(), read_record(record)
    chosen = random.Random(0)
    noticed = same = 0
    # one of every fifth byte, or every bit of all
    for position in range(0, len(raw), 5 if bits == 1 else 1):
        for bit in chosen.sample(ALL_BITS, bits):
            record.write_bytes(flipped(raw, position, bit))
            if is_refused(read_record, record):
                noticed += 1
            else:  # 1e-05 as 1E-05
                assert read_record(record) == said
                same += 1
    assert same < noticed / 1000
    print(f"record: {noticed} flips noticed, {same} that say the same")


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_record_that_is_cut_off_anywhere_is_noticed(record: Path, step: int) -> None:
    raw = record.read_bytes()
    for length in range(0, len(raw) - 1, step):  # the last byte is a line end
        record.write_bytes(raw[:length])
        assert is_refused(read_record, record), length


def test_every_number_of_a_record_is_guarded(record: Path) -> None:
    text = record.read_text()
    numbers = [match.start() for match in re.finditer(r"(?<=[ .])\d", text)]
    assert len(numbers) > 50
    for place in numbers:
        record.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        assert is_refused(read_record, record), text[place - 20 : place + 5]


@pytest.mark.slow
def test_a_flipped_bit_of_a_checkpoint_is_noticed(checkpoint: Path) -> None:
    raw = checkpoint.read_bytes()
    for position in range(len(raw)):
        checkpoint.write_bytes(flipped(raw, position, position % 8))
        assert is_refused(load, checkpoint), position
    print(f"checkpoint: {len(raw)} flips noticed")
