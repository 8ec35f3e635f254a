"""A disk that fills up at any moment: one clear line, nothing half written, and the same command goes on."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from noiseproof.study import Archive, Study, conduct

Histories = Callable[[Path], dict[str, dict[str, Any]]]
Process = Callable[..., Any]

STEPS: dict[str, tuple[object, str]] = {
    "make": (tempfile, "mkstemp"),
    "write": (os, "fdopen"),
    "flush": (os, "fsync"),
    "take its place": (Path, "replace"),
}
"""What writing a file consists of, and where each part can be made to fail."""


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, step: str, at: int) -> Iterator[list[int]]:
    """Let a step of writing fail for want of space, at its ``at``-th time and ever after; count its times."""
    owner, name = STEPS[step]
    real, times = getattr(owner, name), [0]

    def fail(*arguments: Any, **options: Any) -> Any:
        times[0] += 1
        if times[0] >= at:
            if step == "write":
                os.close(arguments[0])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield times


def files(out: Path) -> set[Path]:
    return {path for path in out.rglob("*") if path.is_file() and "locks" not in path.parts}


@pytest.fixture
def a_checkpoint_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("noiseproof.study.trainer"), "CHECKPOINT_EVERY", 0)
    monkeypatch.setattr("noiseproof.training.engine.CACHED_WEIGHTS", 1)


@pytest.mark.usefixtures("a_checkpoint_a_step")
@pytest.mark.parametrize(
    ("step", "moments"),
    [
        ("write", [4, -1]),
        ("take its place", [1, -1]),
        *(pytest.param(step, range(1, 100), marks=pytest.mark.slow) for step in STEPS),
    ],
    ids=str,
)
def test_a_study_survives_a_disk_that_fills_up_at_any_write(
    study: Study,
    tmp_path: Path,
    histories: Histories,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    moments: list[int],
) -> None:
    with failing(monkeypatch, step, at=1000) as times:
        conduct(study, tmp_path / "alone", device="cpu")
    undisturbed = histories(tmp_path / "alone")
    last = times[0]
    assert last >= 1 + 2 * (1 + 3)  # the plan; of each run its record and three checkpoints
    tried = 0
    for moment in moments:
        if moment > last:
            break
        out = tmp_path / str(moment)
        with (
            failing(monkeypatch, step, at=moment % (last + 1)),
            pytest.raises(OSError, match="No space left on device") as full,
        ):
            conduct(study, out, device="cpu")
        if step != "make":
            assert Path(full.value.filename).is_relative_to(out)
        assert [path for path in files(out) if path.suffix == ".tmp"] == []
        assert histories(out).items() <= undisturbed.items()  # a damaged file's warning would be an error
        Archive(out).under_way()
        assert conduct(study, out, device="cpu").ended == "finished"
        assert histories(out) == undisturbed
        tried += 1
    print(f"{step}: {tried} of {last}")


@pytest.mark.usefixtures("study_file")
def test_the_command_line_says_which_file_and_goes_on_when_there_is_room(
    process: Process, histories: Histories, tmp_path: Path
) -> None:
    assert process("run", "tiny.toml", "--out", "alone").code == 0
    sizes = {path.suffix: path.stat().st_size for path in (tmp_path / "alone" / "runs").iterdir()}
    # a limit on a file's size stops a write half way, as a full disk does
    for largest, stopped in (
        (100, ".process"),  # what the process says of itself
        (sizes[".json"] // 2, ".pt"),
        (sizes[".json"] + 100, ".pt"),
    ):
        full = process("run", "tiny.toml", "--out", "out", largest_file=largest)
        assert full.code == 1
        assert full.err.startswith("error: File too large: out/")
        assert full.err.removesuffix("\n").endswith(stopped)
        assert len(full.err.splitlines()) == 1
        assert [path for path in files(tmp_path / "out") if path.suffix == ".tmp"] == []
    again = process("run", "tiny.toml", "--out", "out")
    assert (again.code, again.err) == (0, "")
    assert histories(tmp_path / "out") == histories(tmp_path / "alone")


@pytest.mark.parametrize("arguments", [["losses"], ["certify", "ce"]], ids=" ".join)
def test_output_that_has_no_room_is_one_line(process: Process, arguments: list[str]) -> None:
    ended = process(*arguments, stdout="/dev/full")
    assert (ended.code, ended.err) == (1, "error: No space left on device\n")
