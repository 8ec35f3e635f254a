"""JSON files with a checksum: what was written is read, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noiseproof.errors import NoiseproofError
from noiseproof.schema import Schema
from noiseproof.sealed import read_sealed, write_sealed


class Weighing(Schema):
    grams: float
    of: str = "gold"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "weighing.json"
    write_sealed(Weighing(grams=0.81), path)
    return path


def read(path: Path) -> Weighing:
    return read_sealed(Weighing, path, where="the weighing is damaged")


def test_what_was_written_is_read(path: Path) -> None:
    assert read(path) == Weighing(grams=0.81)


def test_a_number_that_became_another_is_noticed(path: Path) -> None:
    path.write_text(path.read_text().replace("0.81", "0.91"))
    with pytest.raises(
        NoiseproofError, match=r"^the weighing is damaged: it does not say what was written \("
    ):
        read(path)


def test_the_layout_is_no_part_of_what_it_says(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert read(path) == Weighing(grams=0.81)


def test_without_a_checksum_it_is_read_as_it_stands(path: Path) -> None:
    path.write_text('{"grams": 3}')
    assert read(path) == Weighing(grams=3)


@pytest.mark.parametrize("text", ["", "{", '{"grams": 1', "[" * 100_000])
def test_what_is_no_json_is_named(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(NoiseproofError, match=r"^the weighing is damaged \("):
        read(path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "input should be a valid dictionary"),
        ('{"gram": 3, "checksum": ""}', "unknown field 'gram'; did you mean 'grams'"),
    ],
)
def test_what_is_of_another_schema_is_named(path: Path, text: str, fault: str) -> None:
    path.write_text(text)
    with pytest.raises(NoiseproofError, match=f"^the weighing is damaged: .*{fault}"):
        read(path)
