"""Records: what is written reads back to the last bit, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from noiseproof.errors import NoiseproofError
from noiseproof.study import Record, Study, conduct
from noiseproof.study.record import read_record
from noiseproof.training import History


@pytest.fixture
def record_path(study: Study, tmp_path: Path) -> Path:
    conduct(study, tmp_path)
    return tmp_path / "runs" / f"{study.runs()[0].id}.json"


def test_a_record_reads_back_to_the_last_bit(record_path: Path) -> None:
    record = read_record(record_path)
    assert Record.model_validate_json(record.model_dump_json()) == record
    content = json.loads(record_path.read_text())
    assert len(content.pop("checksum")) == 64
    assert content == json.loads(record.model_dump_json())


def test_a_record_of_before_there_were_checksums_is_read_as_it_stands(record_path: Path) -> None:
    content = json.loads(record_path.read_text())
    del content["checksum"]
    content["test_accuracy"] = 0.125
    record_path.write_text(json.dumps(content))
    assert read_record(record_path).test_accuracy == 0.125


@pytest.mark.parametrize("checksum", [None, "", "0" * 64, 0, []], ids=repr)
def test_a_record_of_another_checksum_is_refused(record_path: Path, checksum: object) -> None:
    content = json.loads(record_path.read_text())
    record_path.write_text(json.dumps(content | {"checksum": checksum}))
    with pytest.raises(NoiseproofError) as refusal:
        read_record(record_path)
    assert str(refusal.value) == (
        f"record {str(record_path)!r} is damaged: it does not say what was written"
        " (if it was edited on purpose, delete its checksum)"
    )


def test_another_layout_of_the_same_record_is_the_same(record_path: Path) -> None:
    record = read_record(record_path)
    content = json.loads(record_path.read_text())
    record_path.write_text(json.dumps(dict(reversed(content.items()))))
    assert read_record(record_path) == record


VALUES = st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=4).map(tuple)
HISTORIES = st.builds(History, **dict.fromkeys(History.model_fields, VALUES))


@given(HISTORIES)
@settings(deadline=None, max_examples=100)
def test_any_history_reads_back_to_the_last_bit(history: History) -> None:
    assert History.model_validate_json(history.model_dump_json()) == history


def test_a_history_grows_by_whole_epochs() -> None:
    history = History()
    for epoch in range(3):
        history = history.extended(**{name: epoch + i / 10 for i, name in enumerate(History.model_fields)})
    assert len(history) == 3
    for i, name in enumerate(History.model_fields):
        assert getattr(history, name) == (i / 10, 1 + i / 10, 2 + i / 10)


def test_a_record_cannot_be_changed(record_path: Path) -> None:
    record: Any = read_record(record_path)
    with pytest.raises(ValidationError, match="frozen"):
        record.test_accuracy = 1.0


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"format"', '"fromat"', "unknown field 'fromat'; did you mean 'format'?"),
        ('"epochs"', '"epoch"', "unknown field 'config.recipe.epoch'; did you mean 'epochs'?"),
        ('"seed"', '"sede"', "unknown field 'config.sede'; did you mean 'seed'?"),
        ('"threads": ', '"threads": -1.5, "t": ', "'provenance"),
        ('"status": "finished"', '"status": "done"', "field 'status'"),
        ('"status": "finished"', '"status": "out of memory"', "'out of memory' has no accuracy"),
        ("{", "", "is damaged ("),
        ("{", "[" * 100_000 + "{", "is damaged ("),
    ],
)
def test_a_fault_is_named_with_its_file(record_path: Path, old: str, new: str, fault: str) -> None:
    text = record_path.read_text()
    assert old in text
    record_path.write_text(text.replace(old, new, 1))
    with pytest.raises(NoiseproofError) as refusal:
        read_record(record_path)
    assert str(refusal.value).startswith(f"record {str(record_path)!r} is damaged")
    assert fault in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_record_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match="nowhere"):
        read_record(tmp_path / "nowhere.json")
