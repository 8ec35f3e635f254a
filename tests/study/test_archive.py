"""What a study has written: read back if whole, named and done again if damaged."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseproof.errors import NoiseproofError
from noiseproof.study import Archive, Study, conduct
from noiseproof.training.checkpoint import MAGIC

Contents = Callable[[Path], dict[str, bytes]]
Results = Callable[[Path], dict[str, dict[str, Any]]]
After = Callable[[int], Callable[[], bool]]

DAMAGED = "nce_symmetric-0.4_seed-0"


def edited(**places: object) -> Callable[[bytes], bytes]:
    """Set ``a__b`` of a record's JSON, or take it out with ``...``."""

    def edit(raw: bytes) -> bytes:
        content = json.loads(raw)
        for place, value in places.items():
            *parents, name = place.split("__")
            inner = content
            for parent in parents:
                inner = inner[parent]
            if value is ...:
                del inner[name]
            else:
                inner[name] = value
        return json.dumps(content).encode()

    return edit


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
    "zeros": lambda raw: bytes(len(raw)),
    "no UTF-8": lambda raw: b"\xff" + raw,
    "a list": lambda raw: b"[" + raw + b"]",
    "null": lambda raw: b"null",
    "a field missing": edited(test_accuracy=...),
    "a word for a number deep down": edited(config__recipe__epochs="five"),
    "an unknown field": edited(test_acuracy=0.5),
    "an accuracy in words": edited(test_accuracy="high"),
    "another format": edited(format=2),
    "another status": edited(status="done"),
    "another network": edited(config__model__name="resnet50"),
    "an accuracy that is another number": lambda raw: re.sub(rb'("test_accuracy": 0.)\d', rb"\g<1>0", raw),
    "no number": lambda raw: re.sub(rb'"test_accuracy": [0-9.e-]+', b'"test_accuracy": NaN', raw),
    # each field is fine, but the record can't be what it says it is
    "an unknown loss": edited(config__loss="ncee"),
    "an unknown noise": edited(config__noise="symmetric:1.4"),
    "another run's record": edited(config__loss="ce"),
    "an epoch missing": edited(history__test=[0.5, 0.5]),
    "no epochs": edited(history={}),
}


@pytest.fixture
def finished(study: Study, tmp_path: Path) -> Path:
    conduct(study, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_and_its_run_is_done_again(
    study: Study, finished: Path, contents: Contents, results: Results, damage: str
) -> None:
    expected, before = results(finished), contents(finished)
    path = finished / "runs" / f"{DAMAGED}.json"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.warns(UserWarning, match=re.escape(repr(str(path)))) as warned:
        assert conduct(study, finished).runs_done == 6
    (message,) = (str(warning.message) for warning in warned)
    assert message.startswith("record ")
    assert message.endswith("its run counts as not done")
    assert message.isprintable()
    found, after = results(finished), contents(finished)
    for field, values in expected[DAMAGED]["history"].items():  # alone, so rounded otherwise
        assert found[DAMAGED]["history"][field] == pytest.approx(values, rel=1e-4, abs=0.04)
    assert found[DAMAGED]["config"] == expected[DAMAGED]["config"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"runs/{DAMAGED}.json"}  # and no other was touched


def resaved(**changes: object) -> Callable[[bytes], bytes]:
    """Change a checkpoint's content and give it the checksum of what it holds then."""

    def resave(raw: bytes) -> bytes:
        content = torch.load(io.BytesIO(raw[len(MAGIC) + 32 :]), weights_only=True) | changes
        buffer = io.BytesIO()
        torch.save({name: value for name, value in content.items() if value is not ...}, buffer)
        return MAGIC + hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()

    return resave


CHECKPOINT_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda raw: raw[:-1],
    "empty": lambda raw: b"",
    "zeros": lambda raw: bytes(len(raw)),
    "longer": lambda raw: raw + b"\0",
    "one bit": lambda raw: raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:],
    "another version": lambda raw: raw.replace(b"checkpoint 1\n", b"checkpoint 2\n", 1),
    "a field missing": resaved(step=...),
    "a field too many": resaved(extra=1),
    "another history": resaved(history={"tset": [0.5]}),
}


@pytest.mark.parametrize("damage", CHECKPOINT_DAMAGES)
def test_a_damaged_checkpoint_is_named_and_its_run_starts_afresh(
    study: Study, tmp_path: Path, after: After, results: Results, damage: str
) -> None:
    conduct(study, tmp_path / "whole")
    out = tmp_path / "out"
    conduct(study, out, interrupted=after(5))
    path = out / "checkpoints" / f"{DAMAGED}.pt"
    path.write_bytes(CHECKPOINT_DAMAGES[damage](path.read_bytes()))
    with pytest.warns(UserWarning, match=re.escape(str(path))) as warned:
        assert conduct(study, out).ended == "finished"
    (message,) = (str(warning.message) for warning in warned)
    assert message.endswith("its run starts afresh")
    assert message.isprintable()
    found, expected = results(out), results(tmp_path / "whole")
    assert found.keys() == expected.keys()
    for name in found:  # equal but for rounding, since the run was trained in a stack of its own
        ours, theirs = found[name]["history"], expected[name]["history"]
        for field, values in theirs.items():
            assert ours[field] == pytest.approx(values, rel=1e-4, abs=0.04), (name, field)
    assert list((out / "checkpoints").iterdir()) == []


def test_every_damaged_file_has_its_warning(study: Study, finished: Path) -> None:
    paths = sorted((finished / "runs").iterdir())
    for path in paths:
        path.write_text("{")
    with pytest.warns(UserWarning, match="its run counts as not done") as warned:
        assert Archive(finished).finished() == {}
    assert [path.name in str(warning.message) for path, warning in zip(paths, warned, strict=True)] == [
        True
    ] * 6


def test_a_new_folder_holds_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "new")
    assert (archive.finished(), archive.under_way(), archive.plan()) == ({}, {}, None)
    assert not (tmp_path / "new").exists()  # for asking


def test_the_plan_is_the_latest_study(study: Study, finished: Path) -> None:
    assert Archive(finished).plan() == study
    larger = study.model_copy(update={"seeds": (0, 1)})
    Archive(finished).describe(larger)
    assert Archive(finished).plan() == larger


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]", b'{"data": "tiny"}'])
def test_a_damaged_plan_is_named_and_does_not_hinder_the_study(
    study: Study, finished: Path, damage: bytes
) -> None:
    path = finished / "study.json"
    path.write_bytes(damage)
    with pytest.raises(NoiseproofError) as refusal:
        Archive(finished).plan()
    assert str(refusal.value).startswith(f"{str(path)!r} is damaged (")
    assert str(refusal.value).isprintable()
    assert conduct(study, finished).runs_done == 6
    assert Archive(finished).plan() == study


def test_the_checkpoint_of_a_finished_run_does_not_count(study: Study, tmp_path: Path, after: After) -> None:
    conduct(study, tmp_path, interrupted=after(3))
    kept = {path: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    conduct(study, tmp_path)
    for path, raw in kept.items():  # as a kill between the record and the removal leaves them
        path.write_bytes(raw)
    outcome = conduct(study, tmp_path)
    assert (outcome.ended, outcome.runs_done, outcome.training_seconds) == ("finished", 6, 0.0)
    assert list((tmp_path / "checkpoints").iterdir()) == []
