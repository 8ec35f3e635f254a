"""Data handed over as arrays or as torch data sets: told apart, numbered, normalized, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from noiseproof.data import Dataset, from_arrays, from_torch, load
from noiseproof.data.statistics import channel_statistics
from noiseproof.errors import NoiseproofError

RNG = np.random.default_rng(0)
Y = [0, 1, 2, 0, 1, 2]


def pixels(*shape: int) -> Any:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def dataset_of(x: Any, y: Any = Y, **options: Any) -> Dataset:
    return from_arrays("mine", (x, y), (x, y), **options)


def refusal(x: Any, y: Any = Y, **options: Any) -> str:
    with pytest.raises(NoiseproofError) as caught:
        dataset_of(x, y, **options)
    message = str(caught.value)
    assert message.startswith("arrays:mine: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix("arrays:mine: ")


# ------------------------------------------------------------------------------------------ the images


@pytest.mark.parametrize(
    ("shape", "stored", "axes"),
    [
        ((6, 5), (6, 5, 1, 1), (0, 1)),
        ((6, 7, 8), (6, 1, 7, 8), (0, 1, 2)),
        ((6, 1, 7, 8), (6, 1, 7, 8), (0, 1, 2, 3)),
        ((6, 3, 7, 8), (6, 3, 7, 8), (0, 1, 2, 3)),
        ((6, 4, 7, 8), (6, 4, 7, 8), (0, 1, 2, 3)),
        ((6, 7, 8, 1), (6, 1, 7, 8), (0, 3, 1, 2)),
        ((6, 7, 8, 3), (6, 3, 7, 8), (0, 3, 1, 2)),
        ((6, 7, 3, 4), (6, 4, 7, 3), (0, 3, 1, 2)),
        ((6, 9, 1, 1), (6, 9, 1, 1), (0, 1, 2, 3)),  # features, as they are stored
    ],
)
def test_layouts_are_told_apart(
    shape: tuple[int, ...], stored: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    x = pixels(*shape)
    images = dataset_of(x).train_images
    assert images.shape == stored
    assert images.dtype == np.uint8
    assert_array_equal(images, x.transpose(axes).reshape(stored))
    assert images.flags.c_contiguous


@pytest.mark.parametrize("shape", [(6, 3, 5, 3), (6, 1, 5, 4), (6, 5, 7, 8), (6, 2, 8, 8), (6, 8, 8, 2)])
def test_a_layout_that_cannot_be_told_is_refused(shape: tuple[int, ...]) -> None:
    assert f"shape {shape} could not be told to be (N, C, H, W) or (N, H, W, C)" in refusal(pixels(*shape))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8", ">f4"])
def test_floats_become_float32(dtype: str) -> None:
    x = RNG.normal(size=(6, 5)).astype(dtype)
    images = dataset_of(x).train_images
    assert images.dtype == np.float32
    assert_array_equal(images[..., 0, 0], x.astype(np.float32))


@pytest.mark.parametrize(
    ("x", "fault"),
    [
        (np.zeros((6, 5), dtype=np.int64), "training images must be uint8 or floats, got int64"),
        (np.zeros((6, 5), dtype=bool), "training images must be uint8 or floats, got bool"),
        ([["a"]] * 6, "training images must be uint8 or floats"),
        (np.zeros(6), "training images must be (N, D) features"),
        (np.zeros((6, 1, 1, 2, 2)), "got shape (6, 1, 1, 2, 2)"),
        (np.zeros((0, 5)), "got shape (0, 5)"),
        (np.zeros((6, 0)), "got shape (6, 0)"),
        ([[1.0, 2.0], [3.0]], "training images could not be made an array ("),
        (torch.zeros(6, 5, requires_grad=True), "training images could not be made an array ("),
        (np.full((6, 5), np.nan), "training images hold NaN, infinity"),
        (np.full((6, 5), -np.inf), "training images hold NaN, infinity"),
        (np.full((6, 5), 1e200), "training images hold NaN, infinity or a value too large for float32"),
    ],
)
def test_images_that_are_none_are_refused(x: Any, fault: str) -> None:
    assert fault in refusal(x)


def test_training_and_test_images_must_be_alike() -> None:
    with pytest.raises(NoiseproofError, match=r"training images are \(1, 7, 8\).* test images \(1, 8, 7\)"):
        from_arrays("mine", (pixels(6, 7, 8), Y), (pixels(6, 8, 7), Y))
    with pytest.raises(NoiseproofError, match="training images are uint8, test images float32"):
        from_arrays("mine", (pixels(6, 7, 8), Y), (np.zeros((6, 7, 8)), Y))


@settings(max_examples=30, deadline=None)
@given(
    npst.arrays(
        st.sampled_from([np.uint8, np.float32]),
        st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
        elements={"min_value": 0, "max_value": 255},
    )
)
def test_mean_and_deviation_are_by_channel(images: Any) -> None:
    mean, std = channel_statistics(images)
    for c in range(images.shape[1]):
        values = images[:, c].astype(np.float64)
        assert mean[c] == pytest.approx(values.mean(), rel=1e-12)
        wanted = 1 if np.ptp(values) == 0 else values.std()
        assert std[c] == pytest.approx(wanted, rel=1e-6) or values.std() < 1e-6 * values.mean()


def test_mean_and_deviation_over_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(50, 3, 2, 2)
    whole = channel_statistics(images)
    monkeypatch.setattr("noiseproof.data.statistics.CHUNK", 7)
    assert_allclose(channel_statistics(images), whole, rtol=1e-12)


def test_a_feature_that_never_changes_is_divided_by_one() -> None:
    x = RNG.normal(size=(6, 3)) + 5
    x[:, 1] = 0.1
    dataset = dataset_of(x)
    assert dataset.std[1] == 1
    assert_allclose([dataset.mean[0], dataset.std[0]], [x[:, 0].mean(), x[:, 0].std()], rtol=1e-6)


def test_the_test_images_do_not_count_in_the_mean() -> None:
    x = pixels(6, 4)
    dataset = from_arrays("mine", (x, Y), (np.zeros_like(x), Y))
    assert dataset.mean == dataset_of(x).mean


# ------------------------------------------------------------------------------------------ the labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64, ">i4"])
def test_whole_numbers_of_any_type_are_labels(dtype: Any) -> None:
    dataset = dataset_of(pixels(6, 5), np.array(Y, dtype=dtype))
    assert dataset.train_labels.dtype == np.int64
    assert dataset.train_labels.tolist() == Y
    assert dataset.class_names == ("0", "1", "2")


@pytest.mark.parametrize("dtype", ["U", "S", object])
def test_texts_are_numbered_by_the_alphabet_or_by_the_names(dtype: Any) -> None:
    texts = np.array(["cat", "ant", "bee", "ant", "cat", "bee"]).astype(dtype)
    dataset = dataset_of(pixels(6, 5), texts)
    assert dataset.class_names == ("ant", "bee", "cat")
    assert dataset.train_labels.tolist() == [2, 0, 1, 0, 2, 1]
    dataset = dataset_of(pixels(6, 5), texts, class_names=["cat", "bee", "ant", "dog"])
    assert dataset.train_labels.tolist() == [0, 2, 1, 2, 0, 1]
    assert dataset.num_classes == 4


@pytest.mark.parametrize(
    ("y", "options", "fault"),
    [
        ([1, 2, 3, 1, 2, 3], {}, "no training label is 0 and some label is 3"),
        ([0, 1, 5, 0, 1, 5], {}, "no training label is 2 and some label is 5"),
        ([0, 1, -1, 0, 1, 0], {}, "no training label is 0 and some label is -1"),
        ([0, 1, 10**15, 0, 1, 0], {}, "no training label is 2"),
        ([0, 1, 3, 0, 1, 0], {"class_names": ["a", "b", "c"]}, "labels must be in 0..2, got 3"),
        ([0, -2, 1, 0, 1, 0], {"class_names": ["a", "b", "c"]}, "labels must be in 0..2, got -2"),
        ([0] * 6, {}, "two classes or more are needed, got '0'"),
        (
            np.array(["a", 1] * 3, dtype=object),
            {},
            "training labels must be whole numbers or texts, got object",
        ),
        (Y[:5], {}, "training labels must be (6,), one for each image, got shape (5,)"),
        ([Y], {}, "training labels must be (6,)"),
        ([0.0, 1.0, 2.0, 0.0, 1.0, 2.0], {}, "training labels must be whole numbers or texts, got float64"),
        ([True, False] * 3, {}, "training labels must be whole numbers or texts, got bool"),
        (["a", "b"] * 3, {"class_names": ["a", "c"]}, "unknown class 'b'"),
        (["cat", "dgo"] * 3, {"class_names": ["cat", "dog"]}, "did you mean 'dog'?"),
        (["a", "b"] * 3, {"given": [0, 1] * 3}, "training labels are texts, others are numbers"),
        (Y, {"class_names": ["a", "a", "b"]}, "class names must be distinct"),
        (Y, {"given": [0, 1]}, "given labels must be (6,)"),
        (Y, {"given": [0, 1, 2, 3, 0, 0]}, "some label is 3"),
        (Y, {"given": Y, "labels_are_clean": False}, "labels_are_clean is False"),
        (Y, {"class_map": {0: 3}}, "a class map must lead to another class of 0..2, got 0 -> 3"),
        (Y, {"class_map": {1: 1}}, "got 1 -> 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y: Any, options: dict[str, Any], fault: str) -> None:
    assert fault in refusal(pixels(6, 5), y, **options)


def test_a_set_that_is_no_pair_is_refused() -> None:
    with pytest.raises(NoiseproofError, match=r"the test set must be a pair \(images, labels\), got ndarray"):
        from_arrays("mine", (pixels(6, 5), Y), pixels(6, 5))
    with pytest.raises(NoiseproofError, match=r"must be a pair \(images, labels\), got tuple of 3$"):
        from_arrays("mine", (pixels(6, 5), Y, Y), (pixels(6, 5), Y))  # type: ignore[arg-type]


def test_a_test_label_that_was_never_trained_on_is_refused_unless_it_has_a_name() -> None:
    train, test = (pixels(6, 5), [0, 1] * 3), (pixels(2, 5), [0, 2])
    with pytest.raises(NoiseproofError, match="no training label is 2 and some label is 2"):
        from_arrays("mine", train, test)
    assert from_arrays("mine", train, test, class_names="abc").num_classes == 3


def test_given_labels_and_what_is_known_of_the_others_are_kept() -> None:
    dataset = dataset_of(pixels(6, 5), given=[2, 1, 2, 0, 1, 2], class_map={np.int64(0): 1})
    assert dataset.given_labels is not None
    assert dataset.given_labels.tolist() == [2, 1, 2, 0, 1, 2]
    assert (dataset.labels_are_clean, dataset.class_map) == (True, {0: 1})
    assert not dataset_of(pixels(6, 5), labels_are_clean=False).labels_are_clean


def test_without_a_test_set_a_fifth_is_held_out_as_of_an_archive(tmp_path: Path) -> None:
    x, y, flipped = pixels(20, 6, 6, 3), ["owl", "jay"] * 10, ["owl"] * 20
    np.savez(tmp_path / "birds.npz", x=x, y=y, given=flipped)
    archive = load(f"npz:{tmp_path / 'birds.npz'}")
    names = ["jay", "owl"]
    listed = Listed([(image, names.index(label)) for image, label in zip(x, y, strict=True)], classes=names)
    for dataset in (from_arrays("mine", (x, y), given=flipped), from_torch("mine", listed, given=[1] * 20)):
        assert (len(dataset.train_labels), len(dataset.test_labels)) == (16, 4)
        assert dataset.fingerprint == archive.fingerprint


@pytest.mark.parametrize(
    ("x", "y", "fault"),
    [
        (pixels(3, 5), [0, 0, 1], "arrays:mine: class 1 has one sample; two or more are needed"),
        (pixels(0, 5), np.zeros(0, int), "arrays:mine: it has no sample to split off a test set from"),
        (pixels(3, 5), [0, 1], r"arrays:mine: training labels must be \(3,\), one for each image"),
        (3, [0, 1], r"arrays:mine: training labels must be \(0,\), one for each image"),
    ],
)
def test_what_no_test_set_can_be_held_out_of_is_refused(x: Any, y: Any, fault: str) -> None:
    with pytest.raises(NoiseproofError, match=fault):
        from_arrays("mine", (x, y))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", "ü\n", 3])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(NoiseproofError, match=r"a name of arrays must be letters, digits and _ . or -"):
        from_arrays(name, (pixels(6, 5), Y), (pixels(6, 5), Y))


# -------------------------------------------------------------------------------------- torch data sets


class Listed(torch.utils.data.Dataset[Any]):
    def __init__(self, samples: list[Any], classes: Any = None) -> None:
        self.samples, self.classes = samples, classes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


RGB = [pixels(8, 9, 3) for _ in Y]


@pytest.mark.parametrize(
    "convert",
    [
        Image.fromarray,
        lambda image: image,
        lambda image: torch.from_numpy(image).permute(2, 0, 1),
        lambda image: Image.fromarray(image).quantize(256),
    ],
    ids=["PIL", "numpy", "tensor", "palette"],
)
def test_images_of_any_kind_are_taken(convert: Any) -> None:
    data = Listed([(convert(image), label) for image, label in zip(RGB, Y, strict=True)])
    dataset = from_torch("mine", data, data)
    wanted = from_arrays("mine", (np.stack(RGB), Y), (np.stack(RGB), Y))
    assert dataset.name == "arrays:mine"
    difference = dataset.train_images.astype(float) - wanted.train_images
    assert np.abs(difference).mean() < (20 if convert(RGB[0]).__class__ is Image.Image else 1e-9)


@pytest.mark.parametrize("label", [int, torch.tensor, np.int32, lambda y: torch.tensor([y])])
def test_labels_of_any_kind_are_taken(label: Any) -> None:
    data = Listed([(torch.rand(3, 4, 4), label(y)) for y in Y])
    assert from_torch("mine", data, data).train_labels.tolist() == Y


def test_a_tensors_channels_are_first_however_many() -> None:
    data = Listed([(torch.rand(7, 3, 3, requires_grad=True), y) for y in Y])
    assert from_torch("mine", data, data).image_shape == (7, 3, 3)
    data = Listed([(torch.rand(3, 2, 3), y) for y in Y])
    assert from_torch("mine", data, data).image_shape == (3, 2, 3)
    data = Listed([(torch.rand(5), y) for y in Y])
    assert from_torch("mine", data, data).image_shape == (5, 1, 1)


def test_class_names_are_the_data_sets_own() -> None:
    data = Listed([(torch.rand(3, 4, 4), y) for y in Y], classes=["ant", "bee", "cat"])
    assert from_torch("mine", data, data).class_names == ("ant", "bee", "cat")
    assert from_torch("mine", data, data, class_names="xyz").class_names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        ([], "arrays:mine: training set is empty"),
        (
            [(torch.rand(3, 4, 4), 0), (torch.rand(3, 4, 5), 1)],
            r"got \(3, 4, 4\) for sample 0 and \(3, 4, 5\)",
        ),
        ([(torch.rand(3, 4, 4), 0.5)], "labels must be whole numbers, got 0.5 for sample 0"),
        ([(torch.rand(3, 4, 4), torch.tensor([1, 0]))], "labels must be whole numbers"),
        ([{"image": 1, "label": 0}], r"samples must be pairs \(image, label\), got a dict for sample 0$"),
        ([(torch.rand(3), 0, 7)], "got a tuple of 3 for sample 0$"),
        ([("owl.png", 0)], "images must be tensors, numpy arrays or PIL images, got a str$"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples: list[Any], fault: str) -> None:
    with pytest.raises(NoiseproofError, match=fault):
        from_torch("mine", Listed(samples), Listed(samples))


class Streamed(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield torch.rand(3), 0


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (Streamed(), "a Streamed"),
        (iter([(RGB[0], 0)]), "a list_iterator"),
        (torch.utils.data.DataLoader(Listed([(RGB[0], 0)])), "a DataLoader; give its dataset"),
    ],
)
def test_what_has_no_index_is_refused(data: Any, got: str) -> None:
    fault = r"^arrays:mine: training set must be a map-style data set of \(image, label\) pairs, .* got "
    with pytest.raises(NoiseproofError, match=f"{fault}{got}$"):
        from_torch("mine", data)
