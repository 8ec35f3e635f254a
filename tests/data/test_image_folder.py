"""Folders of images: classes by folder, one size and one mode, a test set of their own or a fifth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from noiseproof.data import load
from noiseproof.errors import NoiseproofError

Pixels = NDArray[np.uint8]


def painted(value: int, shape: tuple[int, ...] = (6, 8, 3)) -> Pixels:
    image = np.full(shape, value, dtype=np.uint8)
    image[0, :2] = 255 - value  # so that a turn or a flip shows
    return image


def put(path: Path, pixels: Pixels, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Five owls of values 0 to 4, five jays of 100 to 104."""
    for name, first in (("owl", 0), ("jay", 100)):
        for i in range(5):
            put(tmp_path / "birds" / name / f"{i}.png", painted(first + i))
    return tmp_path / "birds"


def refusal(folder: Path, size: str = "") -> str:
    with pytest.raises(NoiseproofError) as caught:
        load(f"folder:{folder}{size}")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def values(images: Any) -> list[int]:
    """The value that each image was painted with."""
    return [int(value) for value in images[:, 0, -1, -1]]


def test_a_fifth_of_each_class_is_held_out(birds: Path) -> None:
    dataset = load(f"folder:{birds}")
    assert (dataset.name, dataset.class_names) == ("folder:birds", ("jay", "owl"))
    assert dataset.train_images.shape == (8, 3, 6, 8)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.labels_are_clean
    assert not dataset.class_map
    assert np.bincount(dataset.test_labels).tolist() == [1, 1]
    seen = values(dataset.train_images) + values(dataset.test_images)
    assert sorted(seen) == [*range(5), *range(100, 105)]
    labels = [*dataset.train_labels, *dataset.test_labels]
    assert [int(value < 100) for value in seen] == labels
    assert_array_equal(dataset.train_images[0].transpose(1, 2, 0), painted(seen[0]))
    assert load(f"folder:{birds}").fingerprint == dataset.fingerprint


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_a_test_set_of_its_own(tmp_path: Path, birds: Path, test_name: str) -> None:
    shutil.copytree(birds, tmp_path / "set" / "train")
    for i, name in enumerate(("owl", "jay")):
        put(tmp_path / "set" / test_name / name / "a.png", painted(200 + i))
    dataset = load(f"folder:{tmp_path / 'set'}")
    assert (values(dataset.test_images), dataset.test_labels.tolist()) == ([201, 200], [0, 1])
    assert values(dataset.train_images) == [*range(100, 105), *range(5)]


def test_classes_called_train_and_test_are_classes(birds: Path) -> None:
    birds.joinpath("owl").rename(birds / "train")
    birds.joinpath("jay").rename(birds / "test")
    assert load(f"folder:{birds}").class_names == ("test", "train")


def test_hidden_files_and_loose_files_are_left_out(birds: Path) -> None:
    before = load(f"folder:{birds}").fingerprint
    (birds / ".git").mkdir()
    (birds / "README.txt").write_text("birds")
    (birds / "owl" / ".DS_Store").write_text("")
    assert load(f"folder:{birds}").fingerprint == before


def test_images_are_grey_only_if_all_are(birds: Path) -> None:
    for path in birds.rglob("*.png"):
        put(path, painted(50, (6, 8)))
    assert load(f"folder:{birds}").image_shape == (1, 6, 8)
    put(birds / "owl" / "0.png", painted(60))
    dataset = load(f"folder:{birds}")
    assert dataset.image_shape == (3, 6, 8)
    assert_array_equal(dataset.train_images[:, 0], dataset.train_images[:, 2])


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "CMYK"])
def test_other_modes_become_rgb(birds: Path, mode: str) -> None:
    for path in list(birds.rglob("*.png")):
        with Image.open(path) as image:
            converted = image.quantize() if mode == "P" else image.convert(mode)
        path.unlink()
        converted.save(path.with_suffix(".tif"))
    dataset = load(f"folder:{birds}")
    assert dataset.image_shape == (3, 6, 8)
    assert sorted(values(dataset.train_images) + values(dataset.test_images)) == [*range(5), *range(100, 105)]


def test_a_photograph_is_turned_as_its_camera_was_held(birds: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    turned = painted(7).transpose(1, 0, 2)[::-1]
    for path in (birds / "owl").iterdir():
        put(path, turned, exif=exif)
    dataset = load(f"folder:{birds}")
    assert_array_equal(dataset.test_images[1].transpose(1, 2, 0), painted(7))


# ------------------------------------------------------------------------------------------------ sizes


def test_different_sizes_are_refused_with_two_files_and_the_text_to_use(birds: Path) -> None:
    put(birds / "owl" / "3.png", painted(3, (5, 9, 3)))
    message = refusal(birds)
    assert f"'{birds / 'owl' / '3.png'}' is 9x5" in message
    assert f"'{birds / 'jay'}/" in message
    assert "is 8x6" in message
    assert f"'folder:{birds}@5' scales and cuts all to one" in message
    assert load(f"folder:{birds}@5").image_shape == (3, 5, 5)


@pytest.mark.parametrize("shape", [(40, 80), (80, 40), (40, 40)])
def test_the_shorter_side_is_scaled_and_the_centre_cut_out(birds: Path, shape: tuple[int, int]) -> None:
    height, width = shape
    columns = np.linspace(0, 255, width).astype(np.uint8)
    for path in birds.rglob("*.png"):
        put(path, np.broadcast_to(columns, (height, width)).copy())
    images = load(f"folder:{birds}@20").test_images
    assert images.shape == (2, 1, 20, 20)
    scale = min(shape) / 20
    centres = (np.arange(20) + 0.5) * scale + (width - min(shape)) / 2 - 0.5
    assert_allclose(images[0, 0, 10, 1:-1], np.interp(centres, np.arange(width), columns)[1:-1], atol=1.5)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("folder:", "must be followed by a folder"),
        ("folder:@32", "must be followed by a folder"),
        ("folder:birds@0", "'folder:birds@0': the size must be 1 to 1024, got 0"),
        ("folder:birds@2000", "got 2000"),
        ("folder:nowhere", "data folder 'nowhere' does not exist"),
        ("folder:birds@small", "data folder 'birds@small' does not exist"),
        ("folder:birdz", "data folder 'birdz' does not exist or is no folder; did you mean 'birds'"),
        ("folder:birds@x", "data folder 'birds@x' has no size of so many pixels, such as birds@64, got 'x'"),
    ],
)
def test_a_text_that_names_no_folder_is_refused(
    text: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text in ("folder:birdz", "folder:birds@x"):
        (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoiseproofError, match=fault):
        load(text)


# ------------------------------------------------------------------------------------------ bad folders


def empty(birds: Path) -> None:
    for path in (birds / "owl").iterdir():
        path.unlink()


def one_class(birds: Path) -> None:
    shutil.rmtree(birds / "owl")


def no_class(birds: Path) -> None:
    shutil.rmtree(birds / "owl")
    shutil.rmtree(birds / "jay")
    put(birds / "a.png", painted(1))


def nested(birds: Path) -> None:
    put(birds / "owl" / "barn" / "a.png", painted(1))


def text_file(birds: Path) -> None:
    (birds / "owl" / "note.txt").write_text("an owl")


def cut_off(birds: Path) -> None:
    put(birds / "owl" / "9.png", np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8))
    whole = (birds / "owl" / "9.png").read_bytes()
    (birds / "owl" / "9.png").write_bytes(whole[:-60])


def sixteen_bits(birds: Path) -> None:
    Image.fromarray(np.full((6, 8), 40_000, dtype=np.uint16)).save(birds / "owl" / "deep.png")


def lonely(birds: Path) -> None:
    for i in range(1, 5):
        (birds / "owl" / f"{i}.png").unlink()


def train_alone(birds: Path) -> None:
    for name in ("owl", "jay"):
        (birds / "train").mkdir(exist_ok=True)
        shutil.move(birds / name, birds / "train" / name)


def other_classes(birds: Path) -> None:
    train_alone(birds)
    shutil.copytree(birds / "train", birds / "test")
    (birds / "test" / "owl").rename(birds / "test" / "owls")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (empty, "owl' holds no image"),
        (one_class, "needs two class folders or more, it has one, 'jay'"),
        (no_class, "needs two class folders or more, it has none"),
        (nested, "owl' holds the folder 'barn' where images are expected"),
        (text_file, "owl/note.txt' is no image that can be read ("),
        (cut_off, "owl/9.png' is no image that can be read ("),
        (sixteen_bits, "owl/deep.png' has more than eight bits a channel"),
        (lonely, "class 'owl' has one sample; two or more are needed"),
        (train_alone, "holds train/ but neither test/ nor val/"),
        (other_classes, "has class 'owl' in train/ alone; did you mean 'owls'?"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    birds: Path, damage: Callable[[Path], None], fault: str
) -> None:
    damage(birds)
    assert fault in refusal(birds)
