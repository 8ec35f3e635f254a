"""CIFAR-10's files: read from wherever they are, trusted with nothing, refused in one line.

The files here are tiny, but of the published form. The real ones are never needed, nor a network.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from noiseproof.data import Dataset, load
from noiseproof.data import cifar10 as source
from noiseproof.errors import NoiseproofError
from noiseproof.noise import class_map

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]

Rows = NDArray[np.uint8]
Batches = dict[str, tuple[Rows, list[int]]]
Contents = dict[str, bytes]

# ------------------------------------------------------------------------------------ the tiny files


def as_published(rows: Rows, labels: list[int]) -> bytes:
    """A batch as Python 2 pickled it: protocol 2, its texts and the array's bytes as byte strings."""

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def texts(values: list[bytes]) -> bytes:
        return b"](" + b"".join(text(value) for value in values) + b"e"

    uint8 = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN"
    uint8 += integer(-1) + integer(-1) + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + integer(len(rows)) + integer(3072) + b"\x86" + uint8 + b"\x89"
    array += b"T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    return (
        b"\x80\x02}("
        + (text(b"batch_label") + text(b"training batch 1 of 5"))
        + (text(b"labels") + b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e")
        + (text(b"data") + array)
        + (text(b"filenames") + texts([b"leptodactylus_pentadactylus_s_000004.png"] * len(labels)))
        + b"u."
    )


def pickled(protocol: int) -> Callable[[Rows, list[int]], bytes]:
    """A batch as a program of today would pickle it."""
    return lambda rows, labels: pickle.dumps({"data": rows, "labels": labels}, protocol=protocol)


@pytest.fixture(scope="module")
def batches() -> Batches:
    """Two training images a file, three test images: few, and none like another."""
    rng = np.random.default_rng(0)

    def batch(size: int) -> tuple[Rows, list[int]]:
        return rng.integers(0, 256, (size, 3072)).astype(np.uint8), rng.integers(0, 10, size).tolist()

    return {name: batch(3 if name == "test_batch" else 2) for name in NAMES}


@pytest.fixture(scope="module")
def contents(batches: Batches) -> Contents:
    return {name: as_published(rows, labels) for name, (rows, labels) in batches.items()}


def write_folder(folder: Path, contents: Contents) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def tar(contents: Contents) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def write_archive(folder: Path, contents: Contents) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARCHIVE).write_bytes(gzip.compress(tar(contents), compresslevel=1))
    return folder


@pytest.fixture
def folder(tmp_path: Path, contents: Contents) -> Path:
    """A folder of all six files, for a test to damage."""
    return write_folder(tmp_path / FOLDER, contents)


def load_quietly(data_dir: Path | None) -> Dataset:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*differ from the canonical ones")
        return load("cifar10", data_dir)


def refusal(data_dir: Path | None) -> str:
    """The message of the refusal, which must be one line."""
    with pytest.raises(NoiseproofError) as caught:
        load_quietly(data_dir)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


# ------------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize(
    "form", [as_published, pickled(2), pickled(3), pickled(4)], ids=["published", "2", "3", "4"]
)
def test_images_and_labels_arrive_in_order(
    tmp_path: Path, batches: Batches, form: Callable[[Rows, list[int]], bytes]
) -> None:
    dataset = load_quietly(write_folder(tmp_path, {name: form(*batch) for name, batch in batches.items()}))
    train_labels = [label for name in NAMES[:5] for label in batches[name][1]]
    assert dataset.train_labels.tolist() == train_labels
    assert dataset.test_labels.tolist() == batches["test_batch"][1]
    assert_array_equal(
        dataset.train_images.reshape(10, -1), np.concatenate([batches[n][0] for n in NAMES[:5]])
    )
    assert_array_equal(dataset.test_images.reshape(3, -1), batches["test_batch"][0])


def test_a_row_is_red_then_green_then_blue_line_by_line(folder: Path, batches: Batches) -> None:
    images, row = load_quietly(folder).test_images, batches["test_batch"][0][1]
    for channel, y, x in [(0, 0, 0), (0, 0, 31), (0, 1, 0), (1, 0, 0), (2, 17, 5), (2, 31, 31)]:
        assert images[1, channel, y, x] == row[channel * 1024 + y * 32 + x]


def test_what_comes_with_the_images(folder: Path) -> None:
    dataset = load_quietly(folder)
    assert dataset.train_images.dtype == dataset.test_images.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int64
    assert (dataset.name, dataset.num_classes, dataset.image_shape) == ("cifar10", 10, (3, 32, 32))
    assert dataset.class_names[3] == "cat"
    assert dataset.class_names[5] == "dog"
    assert dataset.class_map == class_map("cifar10")
    assert [value / 255 for value in dataset.mean] == pytest.approx([0.4914, 0.4822, 0.4465])
    assert [value / 255 for value in dataset.std] == pytest.approx([0.2470, 0.2435, 0.2616])


def test_folder_parent_and_archive_give_the_same_data(tmp_path: Path, contents: Contents) -> None:
    parent = tmp_path / "parent"
    places = [
        write_folder(parent / FOLDER, contents),
        parent,
        write_folder(tmp_path / "renamed", contents),
        write_archive(tmp_path / "archive", contents),
    ]
    datasets = [load_quietly(place) for place in places]
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    for dataset in datasets[1:]:
        assert_array_equal(dataset.train_images, datasets[0].train_images)
        assert_array_equal(dataset.test_labels, datasets[0].test_labels)


def test_nothing_is_unpacked_beside_the_archive(tmp_path: Path, contents: Contents) -> None:
    load_quietly(write_archive(tmp_path, contents))
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


@pytest.mark.parametrize("place", ["pixel", "label"])
@pytest.mark.parametrize("name", ["data_batch_4", "test_batch"])
def test_one_changed_pixel_or_label_changes_the_fingerprint(
    folder: Path, batches: Batches, name: str, place: str
) -> None:
    before = load_quietly(folder).fingerprint
    rows, labels = batches[name][0].copy(), list(batches[name][1])
    if place == "pixel":
        rows[1, 3071] ^= 1
    else:
        labels[1] = (labels[1] + 1) % 10
    (folder / name).write_bytes(as_published(rows, labels))
    assert load_quietly(folder).fingerprint != before


# ------------------------------------------------------------------------------------- canonical or not


def be_canonical(monkeypatch: pytest.MonkeyPatch, contents: Contents) -> None:
    """Let the tiny files be the published ones."""
    for sums in (source.TRAIN_FILES, source.TEST_FILES):
        for name in sums:
            monkeypatch.setitem(sums, name, hashlib.md5(contents[name]).hexdigest())


@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_files_that_are_not_the_published_ones_are_used_with_one_warning(
    tmp_path: Path, contents: Contents, write: Callable[[Path, Contents], Path]
) -> None:
    with pytest.warns(UserWarning, match="CIFAR-10") as caught:
        dataset = load("cifar10", write(tmp_path, contents))
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith("6 of 6 CIFAR-10 files differ from the canonical ones")
    assert dataset.fingerprint[:12] in message
    assert len(message.splitlines()) == 1
    assert not dataset.canonical


def test_the_published_files_are_used_without_a_warning(
    folder: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_canonical(monkeypatch, contents)
    assert load("cifar10", folder).canonical  # a warning would be an error here


def test_a_single_file_that_differs_is_counted(
    folder: Path, batches: Batches, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_canonical(monkeypatch, contents)
    (folder / "data_batch_2").write_bytes(pickled(2)(*batches["data_batch_2"]))  # equal data, other bytes
    with pytest.warns(UserWarning, match=r"^1 of 6 CIFAR-10 files differ"):
        assert not load("cifar10", folder).canonical


# ------------------------------------------------------------------------------------ places that fail


def test_a_data_dir_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal(missing) == f"data folder {str(missing)!r} does not exist"


def test_a_data_dir_that_is_a_file_is_refused_as_what_it_is(tmp_path: Path, contents: Contents) -> None:
    archive = write_archive(tmp_path, contents) / ARCHIVE
    message = refusal(archive)
    assert repr(str(archive)) in message
    assert "does not exist" not in message


def test_a_data_dir_without_the_files_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"data folder {str(tmp_path)!r} holds neither cifar-10-batches-py/test_batch nor {ARCHIVE}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in refusal(folder)


def test_a_folder_in_a_files_place_is_refused(folder: Path) -> None:
    (folder / "data_batch_3").unlink()
    (folder / "data_batch_3").mkdir()
    assert refusal(folder).startswith("CIFAR-10 file 'data_batch_3' cannot be read (")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_member_of_the_archive_is_named(tmp_path: Path, contents: Contents, name: str) -> None:
    rest = {other: content for other, content in contents.items() if other != name}
    assert refusal(write_archive(tmp_path, rest)).startswith(f"CIFAR-10 file {name!r} cannot be read (")


def test_a_member_that_is_no_file_is_refused(tmp_path: Path, contents: Contents) -> None:
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as archive:
        member = tarfile.TarInfo(f"{FOLDER}/data_batch_1")
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    assert refusal(tmp_path).startswith("CIFAR-10 file 'data_batch_1' cannot be read (")


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.6, 0.9])
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, contents: Contents, share: float) -> None:
    archive = write_archive(tmp_path, contents) / ARCHIVE
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])
    assert refusal(tmp_path).startswith("CIFAR-10 file '")


@pytest.mark.parametrize("share", [0.1, 0.35, 0.7])
def test_an_archive_whose_compressed_bytes_are_damaged_is_refused(
    tmp_path: Path, contents: Contents, share: float
) -> None:
    uncompressed = tar(contents)
    compressor = zlib.compressobj(wbits=31)
    start = compressor.compress(uncompressed[: int(share * len(uncompressed))])
    start += compressor.flush(zlib.Z_FULL_FLUSH)
    (tmp_path / ARCHIVE).write_bytes(start + b"\x07" * 1000)  # no block of deflate begins like this
    assert refusal(tmp_path).startswith("CIFAR-10 file '")


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>\n", b"\x1f\x8b"], ids=repr)
def test_an_archive_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ARCHIVE).write_bytes(content)
    assert refusal(tmp_path).startswith("CIFAR-10 file 'data_batch_1' cannot be read (")


# ------------------------------------------------------------------------------------- files that fail


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("name", ["data_batch_1", "test_batch"])
def test_a_file_that_is_cut_off_is_refused(folder: Path, contents: Contents, name: str, share: float) -> None:
    whole = contents[name]
    (folder / name).write_bytes(whole[: min(int(share * len(whole)), len(whole) - 1)])
    assert refusal(folder).startswith(f"CIFAR-10 file {name!r} is damaged (")


ROWS = np.zeros((2, 3072), dtype=np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        {"data": ROWS[:, :3071], "labels": [0, 1]},
        {"data": ROWS.reshape(2, 3, 32, 32), "labels": [0, 1]},
        {"data": ROWS[0], "labels": [0]},
        {"data": ROWS.astype(np.float32), "labels": [0, 1]},
        {"data": ROWS.astype(np.int8), "labels": [0, 1]},
        {"data": ROWS.tolist(), "labels": [0, 1]},
        {"data": "x", "labels": [0, 1]},
        {"data": ROWS, "labels": [0, 10]},
        {"data": ROWS, "labels": [-1, 0]},
        {"data": ROWS, "labels": [0]},
        {"data": ROWS, "labels": [0, 1, 2]},
        {"data": ROWS, "labels": [[0], [1]]},
        {"data": ROWS, "labels": [0, None]},
        {"data": ROWS, "labels": [0.5, 1.0]},
        {"data": ROWS, "labels": ["cat", "dog"]},
        {"data": ROWS, "labels": [0, 2**70]},
        {"data": ROWS[:0], "labels": []},
        {"data": ROWS, "fine_labels": [0, 1]},
        {"labels": [0, 1]},
        [ROWS, [0, 1]],
        None,
    ],
    ids=[
        "narrow", "images", "flat", "float32", "int8", "lists", "text", "label 10", "label -1", "few labels",
        "many labels", "labels (2, 1)", "label None", "label 0.5", "named labels", "vast label", "empty",
        "no labels", "no data", "no dictionary", "nothing",
    ],
)  # fmt: skip
def test_a_file_of_the_wrong_content_is_refused(folder: Path, content: Any) -> None:
    (folder / "data_batch_2").write_bytes(pickle.dumps(content, protocol=2))
    assert refusal(folder).startswith("CIFAR-10 file 'data_batch_2' is damaged (")


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"\x80\x02.",
        b"\x80\xff}.",
        b"Pid\n.",  # asks for a persistent object
        b"\x80\x04\x8c\x05os\nos\x8c\x06system\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
    ],
    ids=["text", "nothing on the stack", "protocol 255", "persistent id", "line end", "dotted name"],
)
def test_a_file_that_is_no_pickle_of_arrays_is_refused(folder: Path, content: bytes) -> None:
    (folder / "test_batch").write_bytes(content)
    assert refusal(folder).startswith("CIFAR-10 file 'test_batch' is damaged (")


class Call:
    """Unpickles by calling ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def calls(marker: Path) -> dict[str, bytes]:
    """Pickles that leave a marker behind when they are read, if they may."""
    python = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": pickle.dumps(Call(os.system, f"touch '{marker}'"), protocol=2),
        "exec": pickle.dumps(Call(exec, python), protocol=2),
        "protocol 4": pickle.dumps(Call(exec, python), protocol=4),
        "within the labels": pickle.dumps({"data": ROWS, "labels": [0, Call(exec, python)]}, protocol=2),
        "numpy": pickle.dumps(Call(np.savetxt, str(marker), [1.0]), protocol=2),
        "old instance": f"(S{str(f'touch {marker}')!r}\nios\nsystem\n.".encode(),
    }


@pytest.mark.parametrize("write", [write_folder, write_archive])
@pytest.mark.parametrize(
    "attack", ["os.system", "exec", "protocol 4", "within the labels", "numpy", "old instance"]
)
def test_a_poisoned_file_runs_nothing(
    tmp_path: Path, contents: Contents, attack: str, write: Callable[[Path, Contents], Path]
) -> None:
    marker = tmp_path / "marker"
    poison = calls(marker)[attack]
    pickle.loads(poison)
    assert marker.exists()  # it would work on a careless reader
    marker.unlink()
    message = refusal(write(tmp_path / "data", {**contents, "data_batch_5": poison}))
    assert not marker.exists()
    assert message.startswith("CIFAR-10 file 'data_batch_5' is damaged (")
    assert message.endswith(" is not allowed in a data file)")


# ----------------------------------------------------------------------------------------- the download


def test_the_download_is_checked_and_read(
    tmp_path: Path, contents: Contents, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def retrieve(url: str, **settings: Any) -> str:
        asked.update(settings, url=url)
        return str(write_archive(tmp_path / "cache", contents) / ARCHIVE)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert load_quietly(None).fingerprint == load_quietly(folder).fingerprint
    assert asked["url"] == f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
    assert asked["known_hash"] == "md5:c58f30108f718f92721af3b95e74349a"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("Network is unreachable"), "Network is unreachable"),
        (PermissionError(13, "Permission denied", "/cache"), "Permission denied"),
        (ValueError("MD5 hash of downloaded file does not match\nthe known hash"), "MD5 hash"),
        (TimeoutError(), "TimeoutError"),  # it says nothing itself
    ],
    ids=repr,
)
def test_a_failed_download_offers_a_data_dir(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def retrieve(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr("pooch.retrieve", retrieve)
    message = refusal(None)
    assert message.startswith("CIFAR-10 could not be downloaded (")
    assert reason in message
    assert message.endswith(f"; give --data-dir with {FOLDER}/ or {ARCHIVE}")
