"""Files that are whole or absent, whatever goes wrong while they are written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

import pytest

from noiseproof.errors import NoiseproofError
from noiseproof.files import make_folder, write_atomically


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("grün\nline\r\n", "grün\nline\r\n".encode()),
        (b"\x00\xff\r\n", b"\x00\xff\r\n"),
        ("", b""),
    ],
    ids=["text", "bytes", "nothing"],
)
def test_content_arrives_byte_for_byte_and_alone(
    tmp_path: Path, content: bytes | str, written: bytes
) -> None:
    path = tmp_path / "record.json"
    for _ in range(2):  # a new file, and one that is there
        write_atomically(path, content)
        assert path.read_bytes() == written
        assert list(tmp_path.iterdir()) == [path]


def test_a_shorter_content_leaves_nothing_of_the_longer(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "long " * 1000)
    write_atomically(path, "short")
    assert path.read_text() == "short"


def test_others_may_read_the_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "record.json", "x")
    assert stat.S_IMODE((tmp_path / "record.json").stat().st_mode) == 0o644


def test_an_open_reader_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_the_content_is_on_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")
    seen: list[tuple[int, str]] = []

    def fsync(handle: int) -> None:
        seen.append((os.fstat(handle).st_size, path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, "the new content")
    assert seen == [(len("the new content"), "old")]


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("before", ["old", None])
def test_a_fault_leaves_the_old_file_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, step: str, before: str | None
) -> None:
    path = tmp_path / "record.json"
    if before is not None:
        path.write_text(before)

    def fail(*_: Any) -> NoReturn:
        raise fault

    monkeypatch.setattr(os, step, fail)
    if step == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(fault)):
        write_atomically(path, "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == (
        [] if before is None else [("record.json", before)]
    )


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    for _ in range(2):  # a new folder, and one that is there
        assert make_folder(folder) == folder
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_way_is_refused_in_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "runs").write_text("x")
    folder = tmp_path / "runs" / below
    with pytest.raises(
        NoiseproofError, match=r"^folder .* cannot be written to: (File exists|Not a directory)$"
    ) as e:
        make_folder(folder)
    assert repr(str(folder)) in str(e.value)


def test_a_folder_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)  # the mode of a folder does not stop root
    with pytest.raises(NoiseproofError) as caught:
        make_folder(tmp_path)
    assert str(caught.value) == f"folder {str(tmp_path)!r} cannot be written to: Permission denied"
