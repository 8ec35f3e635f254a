"""Studies of data of one's own: conducted like any other, and no record says where the files were."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from noiseproof.data import Dataset, from_arrays
from noiseproof.errors import NoiseproofError
from noiseproof.study import Archive, Study, conduct

Changed = Callable[[Study, Mapping[str, object]], Study]

X, Y = np.random.default_rng(0).random((20, 4)), np.arange(20) % 2
CHANGES = {"losses": ["mae"], "noises": ["symmetric:0.4"], "recipe.crop_padding": 0, "recipe.flip": False}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    folder = tmp_path / "secret"
    folder.mkdir()
    np.savez(folder / "birds.npz", x=X, y=Y)
    return folder


def test_nothing_that_is_kept_says_where_the_files_are(
    tmp_path: Path, secret: Path, study: Study, changed: Changed
) -> None:
    own = changed(study, CHANGES | {"data": f"npz:{secret / 'birds.npz'}"})
    out = tmp_path / "out"
    conduct(own, out, device="cpu")
    for path in out.rglob("*.json"):
        assert "secret" not in path.read_text()
    (record,) = Archive(out).finished().values()
    assert (record.config.data, record.data.name) == ("npz:birds.npz", "npz:birds.npz")
    assert json.loads((out / "study.json").read_text())["data"] == "npz:birds.npz"
    plan = Archive(out).plan()
    assert plan is not None
    assert plan.runs() == own.runs()


@pytest.mark.parametrize(
    ("num_images", "batch_size", "better"),
    [(17, 16, 15), (5, 4, 3), (7, 3, 4), (7, 1, 4), (2, 1, 2)],
)
def test_an_epoch_that_ends_in_an_image_too_few_is_refused_before_any_training(
    tmp_path: Path, study: Study, changed: Changed, num_images: int, batch_size: int, better: int
) -> None:
    x, y = np.random.default_rng(0).random((num_images, 8, 8)), np.arange(num_images) % 2
    images = from_arrays("few", (x, y), (x, y))
    settings: dict[str, object] = {
        **CHANGES, "data": "arrays:few", "noises": ["none"], "losses": ["ce"], "recipe.epochs": 1,
        "model": {"name": "resnet18", "width": 1},
    }  # fmt: skip

    def of(changes: dict[str, object]) -> Study:
        return changed(study, settings | changes)

    with pytest.raises(NoiseproofError) as raised:
        conduct(of({"recipe.batch_size": batch_size}), tmp_path / "out", device="cpu", dataset=images)
    message = str(raised.value)
    assert f"an epoch of {num_images} images in batches of {batch_size} ends in a single one" in message
    assert "Expected more than 1 value per channel" in message
    assert f"; recipe.batch_size = {better} leaves none, and 'mlp' takes one" in message
    assert not (tmp_path / "out").exists()

    remedies: list[dict[str, object]] = [
        {"recipe.batch_size": better},
        {"recipe.batch_size": batch_size, "model": {"name": "mlp"}},
    ]
    for number, remedy in enumerate(remedies):
        outcome = conduct(of(remedy), tmp_path / str(number), device="cpu", dataset=images)
        assert outcome.ended == "finished"


def test_the_same_file_elsewhere_is_the_same_data_and_another_of_its_name_is_not(
    tmp_path: Path, secret: Path, study: Study, changed: Changed
) -> None:
    def outcome(folder: Path) -> int:
        own = changed(study, CHANGES | {"data": f"npz:{folder / 'birds.npz'}"})
        return conduct(own, tmp_path / "out", device="cpu").runs_done

    outcome(secret)
    shutil.move(secret, tmp_path / "moved")
    assert outcome(tmp_path / "moved") == 1
    np.savez(tmp_path / "moved" / "birds.npz", x=X + 1, y=Y)
    with pytest.raises(NoiseproofError, match=r"holds runs of another configuration \(data "):
        outcome(tmp_path / "moved")


def test_data_made_in_python_is_handed_over(tmp_path: Path, study: Study, changed: Changed) -> None:
    birds = from_arrays("birds", (X, Y), (X, Y))
    own = changed(study, CHANGES | {"data": "arrays:birds"})
    assert conduct(own, tmp_path / "out", device="cpu", dataset=birds).ended == "finished"
    with pytest.raises(NoiseproofError, match="pass it as dataset="):
        conduct(own, tmp_path / "other", device="cpu")
    with pytest.raises(NoiseproofError, match="the study is of 'tiny', the dataset is 'arrays:birds'"):
        conduct(study, tmp_path / "other", device="cpu", dataset=birds)
    assert not (tmp_path / "other").exists()


def test_a_crop_that_may_leave_nothing_of_an_image_is_refused(
    tmp_path: Path, study: Study, changed: Changed
) -> None:
    features = from_arrays("birds", (X, Y), (X, Y))
    remedy = "1; features are not cropped, set crop_padding = 0"
    for padding, data, end in ((1, features, remedy), (4, None, "4")):
        text = "tiny" if data is None else "arrays:birds"
        own = changed(study, CHANGES | {"recipe.crop_padding": padding, "data": text})
        with pytest.raises(
            NoiseproofError, match=rf"^recipe.crop_padding must be less .* [14]x[14], .* got {end}$"
        ):
            conduct(own, tmp_path / "out", device="cpu", dataset=data)
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_is_handed_over_is_not_loaded(
    tmp_path: Path, study: Study, changed: Changed, tiny_data: Callable[[int], Dataset]
) -> None:
    other = tiny_data(1)
    tiny_data(0)
    conduct(changed(study, CHANGES), tmp_path, device="cpu", dataset=other)
    (record,) = Archive(tmp_path).finished().values()
    assert record.data.fingerprint == other.fingerprint
