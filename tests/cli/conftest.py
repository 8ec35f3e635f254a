"""The command line, in this process and in one of its own, and what it is tried on."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseproof.cli import main
from noiseproof.study import Archive

Ran = subprocess.CompletedProcess[str]

STUDY = """
title = "tiny"
data = "digits"
losses = ["ce", "nce+mae"]
noises = ["symmetric:0.4", "asymmetric:0.4"]

[model]
name = "mlp"
hidden = [4]

[recipe]
epochs = 2
crop_padding = 0
flip = false
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands are run, with a study of four runs, ``tiny.toml``, in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "tiny.toml").write_text(STUDY)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``cli("run", "smoke")`` runs the command line in this process."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["noiseproof", *arguments])
        capsys.readouterr()
        with warnings.catch_warnings():  # the command line shows warnings its own way
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as stopped:
                main()
        written = capsys.readouterr()
        assert stopped.value.code is None or isinstance(stopped.value.code, int)
        return Ran(arguments, stopped.value.code or 0, written.out, written.err)

    return run


@pytest.fixture
def assert_same_histories() -> Callable[[Path, Path], None]:
    """Compares two folders' runs: equal but for rounding, which differs by what was stacked together."""

    def histories(out: Path) -> dict[str, dict[str, Any]]:
        return {name: record.history.model_dump() for name, record in Archive(out).finished().items()}

    def compare(out: Path, alone: Path) -> None:
        found, expected = histories(out), histories(alone)
        assert found.keys() == expected.keys()
        for name, history in expected.items():
            for field, values in history.items():
                assert found[name][field] == pytest.approx(values, rel=1e-4, abs=0.01), (name, field)

    return compare


@pytest.fixture
def start(here: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start("-m", "noiseproof", "run", "smoke")`` starts Python in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=here,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def python(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Ran]:
    """Runs Python in a process of its own to its end."""

    def run(*arguments: str, **environment: str) -> Ran:
        process = start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return Ran(arguments, process.returncode, out, err)

    return run


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """CIFAR-10's six files, with 20 random images each: two of every class."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        batch = {
            "data": rng.integers(0, 256, size=(20, 3072), dtype=np.uint8),
            "labels": [k % 10 for k in range(20)],
        }
        (folder / name).write_bytes(pickle.dumps(batch))
    return folder
