"""What faults are put to: a study that takes no time, CIFAR-10 in small, and processes that may die."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseproof.data import DATASETS, Dataset
from noiseproof.study import Archive, Study

SERVER = """
import importlib, json, os, resource, signal, sys, time
import torch
from noiseproof import data
from noiseproof.cli import main
from noiseproof.report import writing
from noiseproof.training import engine

torch.set_num_threads(1)
digits = data.load("digits")
data.DATASETS["digits"] = lambda _: digits
engine.CACHED_WEIGHTS = 1  # a run in a stack, so that it is the same to the last bit wherever it goes on
importlib.import_module("noiseproof.study.trainer").CHECKPOINT_EVERY = 0
writing.figures = lambda _: []
FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

def work(order):
    os.chdir(order["folder"])
    os.dup2(os.open(order["stdout"], FILE), 1)
    os.dup2(os.open("stderr", FILE), 2)
    if order["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"],) * 2)
    sys.argv = ["noiseproof", *order["arguments"]]
    exec(order["code"], {"main": main})

print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    order = json.loads(line)
    children = []
    while len(children) < order["at_once"]:
        children.append(os.fork())
        if children[-1]:
            continue
        code = 70
        try:
            work(order)
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    if order["kill_after"] is not None:
        time.sleep(order["kill_after"])
        os.kill(children[0], signal.SIGKILL)
    waited = [os.wait4(child, 0)[1:] for child in children]
    codes = [os.waitstatus_to_exitcode(status) for status, _ in waited]
    print(json.dumps([codes, max(used.ru_maxrss for _, used in waited) // 1024]), flush=True)
"""
"""Imports everything once and forks for each order, so that a process costs next to nothing."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code or minus its signal, what it wrote, and the memory it took.

    ``others``: the codes of those that ran at once with it; a signal is sent to the first alone.
    """

    code: int
    others: list[int]
    out: str
    err: str
    megabytes: int


Process = Callable[..., Ended]


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def process(server: subprocess.Popen[str], tmp_path: Path) -> Process:
    """``process("run", "tiny.toml", kill_after=0.1)`` runs the command line, or ``code``, in a fork."""

    def run(
        *arguments: str,
        code: str = "main()",
        folder: Path = tmp_path,
        kill_after: float | None = None,
        largest_file: int | None = None,
        stdout: str = "stdout",
        at_once: int = 1,
    ) -> Ended:
        order = {
            "arguments": arguments,
            "code": code,
            "folder": str(folder),
            "kill_after": kill_after,
            "largest_file": largest_file,
            "stdout": stdout,
            "at_once": at_once,
        }
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        (exit_code, *others), megabytes = json.loads(server.stdout.readline())
        out = "" if stdout.startswith("/") else (folder / stdout).read_text()
        return Ended(exit_code, others, out, (folder / "stderr").read_text(), megabytes)

    return run


STUDY = """
title = "tiny"
data = "digits"
losses = ["ce", "nce+mae"]
noises = ["symmetric:0.4"]
model = { name = "mlp", hidden = [4] }
recipe = { epochs = 2, crop_padding = 0, flip = false }
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study of two runs, of 24 steps each."""
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def tiny_data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A data set ``tiny``, of three classes, known to studies in this process."""
    rng = np.random.default_rng(0)
    labels = np.arange(48, dtype=np.int64) % 3
    images = rng.integers(0, 100, size=(48, 1, 3, 3), dtype=np.uint8)
    images[np.arange(48), 0, labels] += 100
    dataset = Dataset(
        name="tiny",
        train_images=images[:32],
        train_labels=labels[:32],
        test_images=images[32:],
        test_labels=labels[32:],
        class_names=("a", "b", "c"),
        class_map={0: 1},
        mean=(70.0,),
        std=(50.0,),
    )
    monkeypatch.setitem(DATASETS, "tiny", lambda _: dataset)
    return dataset


@pytest.fixture
def study(tiny_data: Dataset) -> Study:
    """Two runs of two epochs of two batches."""
    content = {
        "data": tiny_data.name,
        "model": {"name": "mlp", "hidden": [2]},
        "recipe": {"epochs": 2, "batch_size": 16, "crop_padding": 0, "flip": False},
        "losses": ["ce", "nce+mae"],
        "noises": ["symmetric:0.4"],
    }
    return Study.read(content, where="tiny")


@pytest.fixture
def histories() -> Callable[[Path], dict[str, dict[str, Any]]]:
    """What was recorded of each run of a folder."""

    def read(folder: Path) -> dict[str, dict[str, Any]]:
        return {name: record.history.model_dump() for name, record in Archive(folder).finished().items()}

    return read


CIFAR10_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """CIFAR-10's six files, of one image each."""
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batch = {"data": np.arange(3072).astype(np.uint8)[None], "labels": [3]}
    for name in CIFAR10_FILES:
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder
