"""Data sets as text: what is known before any file is looked at, and what others are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noiseproof.data import absolute, check_name, label, load
from noiseproof.errors import NoiseproofError


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("digits", "digits"),
        ("fashion-mnist", "fashion-mnist"),
        ("folder:/home/ada/birds", "folder:birds"),
        ("folder:/home/ada/birds/", "folder:birds"),
        ("folder:birds@64", "folder:birds@64"),
        ("folder:~/at@home/birds@64", "folder:birds@64"),
        ("folder:/", "folder:/"),
        ("npz:/home/ada/birds.npz", "npz:birds.npz"),
        ("npz:birds", "npz:birds"),
        ("arrays:my_birds-2.0", "arrays:my_birds-2.0"),
    ],
)
def test_a_label_says_no_folder_and_is_its_own_label(text: str, short: str) -> None:
    check_name(text)
    assert label(text) == short
    assert label(short) == short


def test_the_folder_one_is_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "birds" / "owl").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "birds" / "owl")
    assert [label(f"folder:{place}") for place in (".", "..", "../")] == [
        "folder:owl", "folder:birds", "folder:birds",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("fashion_mnist", "unknown data set 'fashion_mnist'; did you mean 'fashion-mnist'?"),
        ("cifar-100", "did you mean 'cifar100'?"),
        ("cells.npz", "unknown data set 'cells.npz'; did you mean 'npz:cells.npz'?"),
        ("./birds", "unknown data set './birds'; did you mean 'folder:./birds'?"),
        ("photos", "unknown data set 'photos'; did you mean 'folder:photos'?"),
        ("foldr:birds", "unknown data set 'foldr:birds'; did you mean 'folder:PATH'?"),
        ("folder", "did you mean 'folder:PATH'?"),
        ("digits:8", "unknown data set 'digits:8'; did you mean 'digits'?"),
        ("zzz", "expected one of 'digits', 'cifar10', 'cifar100', 'mnist', 'fashion-mnist', 'folder:PATH'"),
        ("zzz", "'folder:PATH', 'npz:FILE'"),
        ("x" * 5000, "unknown data set 'xxx"),
        ("x\0", "unknown data set 'x"),
        ("npz:", "'npz:' must be followed by a file"),
        ("arrays:", "a name of arrays must be letters"),
        ("arrays:a b", "a name of arrays must be letters"),
        (None, "a data set must be a text such as 'digits' or 'folder:birds', got None"),
    ],
)
def test_a_text_that_is_none_is_refused_before_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Any, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for use in (check_name, label, load):
        with pytest.raises(NoiseproofError) as caught:
            use(text)
        assert fault in str(caught.value)
        assert "arrays:NAME" not in str(caught.value)


@pytest.mark.parametrize("text", ["folder:birds", "npz:birds.npz", "arrays:birds"])
def test_data_of_ones_own_takes_no_data_dir(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        NoiseproofError, match=f"^'{text}' says itself where its files are and takes no --data-dir"
    ):
        load(text, tmp_path)


def test_arrays_are_in_no_file() -> None:
    with pytest.raises(NoiseproofError, match=r"'arrays:birds' was made in Python .* dataset= to noiseproof"):
        load("arrays:birds")


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("folder:~/birds", "npz:~/birds.npz"):
        with pytest.raises(NoiseproofError, match=str(tmp_path)):
            load(text)


def test_a_path_is_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("folder:birds@64") == f"folder:{tmp_path}/birds@64"
    assert absolute("npz:birds.npz") == f"npz:{tmp_path}/birds.npz"
    assert absolute("arrays:birds") == "arrays:birds"
    assert label(absolute("folder:birds@64")) == label("folder:birds@64")


def test_the_folder_of_a_data_sets_files_may_be_a_text(tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match=f"^data folder '{tmp_path}/none' does not exist$"):
        load("mnist", f"{tmp_path}/none")
