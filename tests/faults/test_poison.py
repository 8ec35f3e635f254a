"""Files made to run code, to crash the process or to take all memory: refused, in a process of their own.

Each is read in a fork, so that a crash or a full memory is seen for what it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseproof.training.checkpoint import MAGIC

Process = Callable[..., Any]

MOST_MEGABYTES = 1500
"""Of a process that refuses a file; the libraries take some 400. What the bombs ask for is 8,000 and more."""

CANARY = "touch canary"


def text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value


def long_text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def batch(data: bytes, labels: bytes = b"](K\x03e") -> bytes:
    """A batch of CIFAR-10 whose data and labels are made by these opcodes."""
    return b"\x80\x02}(" + text(b"data") + data + text(b"labels") + labels + b"u."


def array(state: bytes, dtype: bytes, content: bytes) -> bytes:
    """An array of four as numpy pickles it, of a type that is built from ``state``."""
    built = b"cnumpy\ndtype\n" + text(dtype) + b"K\x00K\x01\x87R(" + state + b"tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    return empty + b"(K\x01K\x04\x85" + built + b"\x89" + content + b"tb"


def claimed(*shape: int, dtype: bytes = b"u1") -> bytes:
    """An array that is made of a claim alone."""
    sizes = b"(" + b"".join(integer(n) for n in shape) + b"t"
    return b"cnumpy\nndarray\n(" + sizes + text(dtype) + b"tR"


class Call:
    """Unpickles by calling ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


ROWS = array(b"K\x03" + text(b"|") + b"NNN" + integer(-1) + integer(-1) + b"K\x00", b"u1", text(b"\x00" * 4))
POINTERS = text(b"A" * 32)
DEEP, LONG = 150_000, 3_000_000

RUNS: dict[str, bytes] = {
    "os.system": pickle.dumps(Call(os.system, CANARY), protocol=2),
    "eval": pickle.dumps(Call(eval, "open('canary', 'w').close()"), protocol=4),
    "eval in the labels": batch(ROWS, pickle.dumps(Call(eval, "open('canary', 'w')"), protocol=2)[2:-1]),
    "getattr of a module": (
        b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'touch canary'\ntR."
    ),
    "INST": b"(S'touch canary'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch canary'\no.",
    "OBJ of an allowed name": b"(cnumpy\nndarray\n(K\x01to.",
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(](S'touch'\nS'canary'\net\x81.",
    "NEWOBJ of an allowed name": b"\x80\x02cnumpy\nndarray\n(K\x01\x85t\x81.",
    "NEWOBJ_EX": b"\x80\x04cnumpy\nndarray\n)}\x92.",
    "BUILD of a class": b"\x80\x02cnumpy\nndarray\n}S'tofile'\ncnumpy\ndtype\nsb.",
    "BUILD of a function": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN}S'__doc__'\nNs\x86b.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "a name that is a list": b"\x80\x04](K\x01e\x8c\x06system\x93.",
    "a call of a text": b"\x80\x02" + text(b"array") + b"NNN\x87R.",
    "persistent id": b"Pos.system\n.",
    "binary persistent id": b"\x80\x02K\x01Q.",
    "extension": b"\x80\x02\x82\x01.",
    "a long extension": b"\x80\x02\x84\xff\xff\xff\x7f.",
    "another codec": b"\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00abX\x03\x00\x00\x00hex\x86R.",
    "_reconstruct of another class": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncos\nsystem\nK\x00\x85" + text(b"b") + b"\x87R."
    ),
    "numpy's scalar": b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"
    + text(b"O8")
    + b"\x85R\x86R.",
}
"""Files that would run something, or call what they may not."""

TEDIOUS: dict[str, bytes] = {
    "a deeper tuple as key": b"\x80\x02})" + b"\x85" * LONG + b"Ns.",
    "a deep list": batch(b"]" * LONG + b"a" * (LONG - 1)),
    "deep labels": batch(ROWS, b"]" * DEEP + b"a" * (DEEP - 1)),
}
"""More of these, that take their time."""

CRASHES: dict[str, bytes] = {
    "a deep tuple as key": b"\x80\x02})" + b"\x85" * DEEP + b"Ns.",
    "pointers in an array": batch(
        array(b"K\x03" + text(b"|") + b"NNN" + integer(-1) * 2 + b"K\x3f", b"O8", POINTERS)
    ),
    "pointers by a flag": batch(array(b"K\x04" + text(b"|") + b"NNNK\x08K\x01K\x3f", b"V8", POINTERS)),
    "a negative size": batch(
        array(b"K\x04" + text(b"|") + b"NNN" + integer(-8) + b"K\x01K\x00", b"V8", POINTERS)
    ),
    "a dtype of dtypes": batch(
        array(b"K\x03" + text(b"|") + b"N(S'a'\nt}S'a'\nK\x01sK\x08K\x01K\x10", b"V8", POINTERS)
    ),
    "a vast memo index": b"\x80\x02Nr\xff\xff\xff\x7f0N.",
    "a vast text": b"\x80\x02T\xff\xff\xff\x7f.",
    "vast bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "a vast frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "a vast number": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "a claimed array": batch(claimed(LONG, 3072), claimed(LONG, dtype=b"i8")),
    "a claimed array of objects": batch(claimed(2_000_000_000, dtype=b"O")),
    "one text as many arrays": batch(
        b"](X" + struct.pack("<I", 1 << 20) + b"\x00" * (1 << 20) + b"q\x01"
        + b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R" * 10_000 + b"e"
    ),
    "labels that double": batch(
        ROWS, b"](K\x01K\x01e" + b"".join(b"q\x01](h\x01h\x01e" for _ in range(40))
    ),
    "a name that doubles": (
        b"\x80\x04](K\x01K\x01e" + b"".join(b"q\x01](h\x01h\x01e" for _ in range(40)) + b"\x8c\x01a\x93."
    ),
}  # fmt: skip
"""Files that would crash the process, or take all memory."""


@pytest.mark.parametrize(
    "attack", [*RUNS, *CRASHES, *(pytest.param(name, marks=pytest.mark.slow) for name in TEDIOUS)]
)
def test_a_poisoned_batch_is_refused(process: Process, cifar10: Path, tmp_path: Path, attack: str) -> None:
    (cifar10 / "data_batch_5").write_bytes((RUNS | CRASHES | TEDIOUS)[attack])
    ended = process("audit", "none", "--data", "cifar10", "--data-dir", str(cifar10.parent))
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert ended.err.startswith("error: CIFAR-10 file 'data_batch_5' is damaged (")
    assert ended.err.removesuffix("\n").isprintable()
    assert len(ended.err) < 300
    assert not (tmp_path / "canary").exists()
    assert ended.megabytes < MOST_MEGABYTES


@pytest.mark.parametrize("attack", ["os.system", "eval", "getattr of a module", "INST", "OBJ"])
def test_the_poison_works_on_a_careless_reader(process: Process, tmp_path: Path, attack: str) -> None:
    (tmp_path / "poison").write_bytes(RUNS[attack])
    process(code="import pickle, time; pickle.load(open('poison', 'rb')); time.sleep(0.1)")
    assert (tmp_path / "canary").exists()


# ------------------------------------------------------------------------------------------ checkpoints


def zipped(data: bytes, compression: int = zipfile.ZIP_STORED, **others: bytes) -> bytes:
    """A file as torch.save makes it, around a pickle of one's own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        for name, content in others.items():
            archive.writestr(f"archive/data/{name.removeprefix('_')}", content)
    return buffer.getvalue()


def stored(elements: int) -> bytes:
    """A pickled tensor that says it has so many elements in storage 0."""

    number = b"\x8a\x08" + struct.pack("<q", elements)
    storage = long_text(b"storage") + b"ctorch\nFloatStorage\n" + long_text(b"0") + long_text(b"cpu")
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + storage + number + b"tQK\x00" + number
        + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."
    )  # fmt: skip


def resaved(**changes: Any) -> bytes:
    """A whole checkpoint, but for some changes."""
    state: dict[str, Any] = {name: {} for name in ("parameters", "buffers", "momentum", "counts")}
    buffer = io.BytesIO()
    torch.save({"identity": "{}", "step": 1, "seconds": 0.0, "history": {}} | state | changes, buffer)
    return buffer.getvalue()


CHECKPOINTS: dict[str, Callable[[], bytes]] = {
    "os.system": lambda: resaved(identity=Call(os.system, CANARY)),
    "eval": lambda: resaved(history=Call(eval, "open('canary', 'w').close()")),
    "another data.pkl": lambda: zipped(RUNS["INST"]),
    "no zip": lambda: RUNS["NEWOBJ"],
    "torch.zeros": lambda: zipped(b"\x80\x02ctorch\nzeros\n(" + integer(2**31 - 1) * 2 + b"t\x85R."),
    "a deep tuple as key": lambda: zipped(b"\x80\x02})" + b"\x85" * DEEP + b"Ns."),
    "a deep tuple as key, no zip": lambda: b"\x80\x02})" + b"\x85" * DEEP + b"Ns.",
    "a vast memo index": lambda: zipped(b"\x80\x02Nr\xff\xff\xff\x7f0N."),
    "a claimed tensor": lambda: zipped(stored(1 << 31), _0=bytes(16)),
    "a negative tensor": lambda: zipped(stored(-5), _0=bytes(16)),
    "a number as identity": lambda: resaved(identity=3),
    "a text as step": lambda: resaved(step="1"),
    "a text as parameters": lambda: resaved(parameters="weight"),
    "a text among the parameters": lambda: resaved(parameters={"weight": "1"}),
}

LOAD = """
from pathlib import Path
from noiseproof.errors import NoiseproofError
from noiseproof.training.checkpoint import load
try:
    load(Path("run.pt"))
except NoiseproofError as error:
    print(error)
"""


@pytest.mark.parametrize("attack", CHECKPOINTS)
def test_a_poisoned_checkpoint_is_refused_even_under_a_right_checksum(
    process: Process, tmp_path: Path, attack: str
) -> None:
    raw = CHECKPOINTS[attack]()
    (tmp_path / "run.pt").write_bytes(MAGIC + hashlib.sha256(raw).digest() + raw)
    ended = process(code=LOAD)
    assert (ended.code, ended.out) == (0, "checkpoint 'run.pt' is damaged\n"), ended.err
    assert not (tmp_path / "canary").exists()
    assert ended.megabytes < MOST_MEGABYTES


@pytest.mark.usefixtures("study_file")
@pytest.mark.parametrize("identity", ["", "{}", "3", "[" * 5000, '{"config": {}, "fingerprint": 3}'])
def test_a_forged_checkpoint_of_no_run_is_refused_in_one_line(
    process: Process, tmp_path: Path, identity: str
) -> None:
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    raw = resaved(identity=identity)
    path = tmp_path / "out" / "checkpoints" / "ce_symmetric-0.4_seed-0.pt"
    path.write_bytes(MAGIC + hashlib.sha256(raw).digest() + raw)
    ended = process("run", "tiny.toml", "--out", "out")
    assert ended.code == 2
    assert ended.err.startswith("error: checkpoint of ce_symmetric-0.4_seed-0: ")
    assert len(ended.err.splitlines()) == 1
