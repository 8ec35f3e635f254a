"""The scripts for a GPU run to their end on the CPU: whoever has one at last must meet no slip of the pen."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


def rows_of(script: str, out: Path, *arguments: str) -> list[dict[str, str]]:
    """What a script writes when it is rehearsed."""
    subprocess.run(
        [sys.executable, FOLDER / script, "--device", "cpu", "--tiny", "--out", out, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    with out.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_throughput(tmp_path: Path) -> None:
    rows = rows_of(
        "train_throughput.py", tmp_path / "t.csv", "--no-compile", "--runs", "2", "--seconds", "0.01"
    )
    assert [(row["implementation"], row["runs"], row["processes"]) for row in rows] == [
        ("plain loop", "1", "1"),
        ("eager, bfloat16", "1", "1"),
        ("graph", "2", "1"),
        ("graph, a stream each", "2", "1"),
        ("stack, float32", "1", "1"),
        ("stack, float32", "4", "1"),
        ("processes, a graph each", "2", "2"),
        ("processes, a graph each", "4", "4"),
    ]
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert rows[0]["ratio_to_plain"] == "1.0"


@pytest.mark.slow
def test_throughput_of_some_only(tmp_path: Path) -> None:
    options = ("--seconds", "0.01", "--runs", "1", "--only", "graph")
    rows = rows_of("train_throughput.py", tmp_path / "t.csv", "--no-compile", *options)
    assert [row["implementation"] for row in rows] == ["plain loop", "graph"]
    with pytest.raises(subprocess.CalledProcessError) as raised:
        rows_of("train_throughput.py", tmp_path / "t.csv", "--only", "grpah")
    assert b"unknown: grpah; there are plain loop; " in raised.value.stderr


def test_agreement(tmp_path: Path) -> None:
    ways = ("float32, eager, alone", "bfloat16, graph, together")
    rows = rows_of(
        "engine_agreement.py", tmp_path / "a.csv", "--epochs", "2", "--seeds", "1", "--ways", *ways
    )
    assert [(row["way"], row["loss"], row["epoch"]) for row in rows] == [
        (way, loss, epoch) for way in ways for loss in ("ce", "nce + mae") for epoch in ("1", "2")
    ]
    assert all(0 < float(row["test_accuracy"]) < 1 for row in rows)


@pytest.fixture
def smoke_gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "argv", ["smoke_gpu.py", "--device", "cpu"])
    specification = importlib.util.spec_from_file_location("smoke_gpu", FOLDER / "smoke_gpu.py")
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script


def test_the_first_minute(smoke_gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        smoke_gpu.main()
    assert ended.value.code == 0
    names = [line.split(" s  ")[1].partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["machine", "losses are exact", "steps in a graph are right"]


def test_what_fails_in_the_first_minute_keeps_nothing_from_being_checked(
    smoke_gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(smoke_gpu, "PRECISIONS", dict.fromkeys(smoke_gpu.PRECISIONS, 0.0))
    monkeypatch.setattr(smoke_gpu, "agreement", lambda *_: "checked all the same")
    with pytest.raises(SystemExit) as ended:
        smoke_gpu.main()
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "losses are exact: FAILED" in out
    assert "AssertionError: ce, torch.float32, 10 classes" in out
    assert "checked all the same" in out
