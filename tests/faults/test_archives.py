"""Archives and folders whose files lead elsewhere, in a circle, or nowhere: nothing is written, ever."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from noiseproof.data import load
from noiseproof.errors import NoiseproofError

FOLDER = "cifar-10-batches-py"
TARGET = f"{FOLDER}/data_batch_2"

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info, content


ODD_MEMBERS: dict[str, list[Member]] = {
    "a symbolic link out": [member(TARGET, tarfile.SYMTYPE, "../../secret")],
    "a symbolic link to the root": [member(TARGET, tarfile.SYMTYPE, "/etc/hostname")],
    "a symbolic link to itself": [member(TARGET, tarfile.SYMTYPE, "data_batch_2")],
    "symbolic links in a circle": [
        member(TARGET, tarfile.SYMTYPE, "a"),
        member(f"{FOLDER}/a", tarfile.SYMTYPE, "data_batch_2"),
    ],
    "a hard link out": [member(TARGET, tarfile.LNKTYPE, "../secret")],
    "a hard link to itself": [member(TARGET, tarfile.LNKTYPE, TARGET)],
    "a character device": [member(TARGET, tarfile.CHRTYPE)],
    "a block device": [member(TARGET, tarfile.BLKTYPE)],
    "a pipe": [member(TARGET, tarfile.FIFOTYPE)],
    "a folder": [member(TARGET, tarfile.DIRTYPE)],
    "the file under a path that climbs": [member(f"{FOLDER}/../../{FOLDER}/data_batch_2", content=b"x")],
    "the file under a path from the root": [member(f"/{TARGET}", content=b"x")],
    "the file behind a linked folder": [
        member("elsewhere", tarfile.SYMTYPE, FOLDER),
        member("elsewhere/data_batch_2", content=b"x"),
    ],
}
"""What stands in the archive in place of data_batch_2."""


def write_archive(folder: Path, cifar10: Path, *others: Member) -> None:
    """The six files, but for data_batch_2 if another member bears its name, and others before them."""
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as archive:
        for info, content in others:
            archive.addfile(info, io.BytesIO(content))
        for path in sorted(cifar10.iterdir()):
            if path.name != "data_batch_2":
                archive.add(path, f"{FOLDER}/{path.name}")


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refusal(data_dir: Path) -> str:
    with pytest.raises(NoiseproofError) as refused:
        load("cifar10", data_dir)
    assert str(refused.value).isprintable()
    return str(refused.value)


@pytest.fixture
def archived(tmp_path: Path) -> Path:
    """A folder for an archive, with a secret beside it."""
    folder = tmp_path / "deep" / "archived"
    folder.mkdir(parents=True)
    (tmp_path / "deep" / "secret").write_bytes(b"secret")
    return folder


@pytest.mark.parametrize("odd", ODD_MEMBERS)
def test_a_member_that_is_no_file_of_its_own_is_refused_and_nothing_is_written(
    tmp_path: Path, archived: Path, cifar10: Path, odd: str
) -> None:
    write_archive(archived, cifar10, *ODD_MEMBERS[odd])
    before = tree(tmp_path)
    assert refusal(archived).startswith("CIFAR-10 file 'data_batch_2' cannot be read (")
    assert tree(tmp_path) == before


def test_members_that_would_climb_out_stay_where_they_are(
    tmp_path: Path, archived: Path, cifar10: Path
) -> None:
    content = (cifar10 / "data_batch_2").read_bytes()
    climbing = [
        member(name, content=b"overwritten")
        for name in ("../secret", "../../../secret", f"{tmp_path}/deep/secret", f"{FOLDER}/../../secret")
    ]
    write_archive(archived, cifar10, *climbing, member(TARGET, content=content))
    before = tree(tmp_path)
    with pytest.warns(UserWarning, match="differ from the canonical ones"):
        assert len(load("cifar10", archived).train_labels) == 5
    assert tree(tmp_path) == before


def test_a_member_without_end_is_not_read_to_its_end(
    archived: Path, cifar10: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noiseproof.data.cifar_files.LARGEST_FILE", 100_000)
    write_archive(archived, cifar10, member(TARGET, content=bytes(10_000_000)))
    assert refusal(archived) == (
        "CIFAR-10 file 'data_batch_2' cannot be read (it is larger than 100000 bytes)"
    )


def sparse(raw: bytes) -> bytes:
    """Let the header of the first member say that it is a sparse file of 8 GB."""
    header = bytearray(raw[:512])
    header[156:157] = b"S"
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"%011o\0" % (2**33 - 1)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + raw[512:]


def oversized(raw: bytes) -> bytes:
    """Let the header of the first member say that it has more bytes than the archive."""
    header = bytearray(raw[:512])
    header[124:136] = b"%011o\0" % (2**33 - 1)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + raw[512:]


def negative(raw: bytes) -> bytes:
    """Let the header of the first member say that it has a negative size."""
    header = bytearray(raw[:512])
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + raw[512:]


@pytest.mark.parametrize("forge", [sparse, oversized, negative])
def test_a_size_that_is_only_claimed_is_refused(
    archived: Path, cifar10: Path, forge: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noiseproof.data.cifar_files.LARGEST_FILE", 100_000)
    write_archive(archived, cifar10, member(TARGET, content=b"x" * 512))
    path = archived / "cifar-10-python.tar.gz"
    path.write_bytes(gzip.compress(forge(gzip.decompress(path.read_bytes())), compresslevel=1))
    assert refusal(archived).startswith("CIFAR-10 file 'data_batch_")


PAX = [
    "size=x",
    "size=-1",
    "size=99999999999999999999",
    "GNU.sparse.major=1\n",
    "path=\0",
    "hdrcharset=\0",
    "mtime=nan",
]


@pytest.mark.parametrize("entry", PAX)
def test_an_odd_extended_header_is_refused_or_overlooked(archived: Path, cifar10: Path, entry: str) -> None:
    line = f" {entry}\n"
    record = f"{len(line) + 2}{line}".encode()
    whole = member(TARGET, content=(cifar10 / "data_batch_2").read_bytes())
    write_archive(archived, cifar10, member("pax", tarfile.XHDTYPE, content=record), whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            load("cifar10", archived)
        except NoiseproofError as error:
            message = str(error)
        else:
            message = ""
    assert message.isprintable()
    assert not message or message.startswith("CIFAR-10 file 'data_batch_")


def test_a_folder_s_files_that_are_none_or_without_end_are_refused(
    cifar10: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noiseproof.data.cifar_files.LARGEST_FILE", 100_000)
    path = cifar10 / "data_batch_2"
    whole = path.read_bytes()
    for replace, reason in (
        (lambda: os.mkfifo(path), "it is no file"),
        (lambda: path.symlink_to("/dev/zero"), "it is no file"),
        (lambda: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda: path.write_bytes(whole + bytes(100_000)), "it is larger than 100000 bytes"),
    ):
        path.unlink(missing_ok=True)
        replace()
        message = refusal(cifar10)
        assert message.startswith("CIFAR-10 file 'data_batch_2' cannot be read (")
        assert reason in message
