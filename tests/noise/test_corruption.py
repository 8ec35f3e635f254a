"""Corruption: exact from the clean labels, seeded, and shy of everything it was not asked to change."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noiseproof.errors import NoiseproofError
from noiseproof.noise import asymmetric, class_map, corrupt, pairflip, symmetric

Count = Callable[[Sequence[int], Sequence[int], int], list[list[int]]]

CAT, DOG = 3, 5


def blocks(sizes: Sequence[int]) -> list[int]:
    """Labels with as many samples of class k as ``sizes[k]``, shuffled."""
    labels = [k for k, size in enumerate(sizes) for _ in range(size)]
    random.Random(0).shuffle(labels)
    return labels


# ---------------------------------------------------------------------------------------- exact noise


@pytest.mark.parametrize("exact", [True, False])
def test_cats_and_dogs_are_swapped_from_their_clean_labels(exact: bool, count: Count) -> None:
    clean = blocks([1000] * 10)
    noisy = corrupt(clean, asymmetric(10, 0.4, class_map("cifar10")), seed=0, exact=exact)
    counts = count(clean, noisy, 10)
    for animal, other in ((CAT, DOG), (DOG, CAT)):
        # flipped one after the other, 0.4 * 0.6 of the cats would come back as cats: 0.24 of them as dogs
        tolerance = 0 if exact else 4 * math.sqrt(1000 * 0.4 * 0.6)
        assert abs(counts[animal][other] - 400) <= tolerance
        assert counts[animal][animal] == 1000 - counts[animal][other]
    assert counts[0][0] == counts[8][8] == 1000  # airplanes and ships are not in the map


@pytest.mark.parametrize("rate", [0.4, 1.0])
def test_a_chain_of_classes_is_walked_one_step(rate: float, count: Count) -> None:
    clean = blocks([50] * 10)
    counts = count(clean, corrupt(clean, asymmetric(10, rate, class_map("digits")), seed=0), 10)
    flips = round(50 * rate)
    assert counts[2][7] == counts[7][1] == flips
    assert counts[2][1] == 0
    assert counts[2][2] == counts[7][7] == 50 - flips


def test_cifar_sized_symmetric_noise_is_exact(count: Count) -> None:
    clean = blocks([5000] * 10)
    counts = count(clean, corrupt(clean, symmetric(10, 0.4), seed=0), 10)
    for k, row in enumerate(counts):
        assert row[k] == 3000
        assert sorted(row[:k] + row[k + 1 :]) == [222] * 7 + [223] * 2


def test_every_percentage_of_every_class_size_is_met_to_the_nearest(count: Count) -> None:
    sizes = [*range(1, 41), 45, 50, 55, 75, 100, 150, 200]
    clean = blocks(sizes)
    ties: set[int] = set()
    for build, percent in itertools.product((symmetric, pairflip), range(101)):
        noisy = corrupt(clean, build(len(sizes), percent / 100), seed=percent)
        for k, row in enumerate(count(clean, noisy, len(sizes))):
            flips = sizes[k] - row[k]
            excess = 100 * flips - sizes[k] * percent  # in hundredths of a sample
            assert abs(excess) <= 50, f"{flips} of {sizes[k]} at {percent} %"
            if abs(excess) == 50:
                ties.add(excess)
    assert len(ties) == 1  # the last bit of a product does not settle any: all go one way


@pytest.mark.parametrize(
    ("rate", "size", "flips"),
    [
        (0.3, 10, 3),  # 0.3 * 10 is 3, but 1 - 0.3 = 0.7 and 10 * 0.7 is not quite 7
        (0.1 + 0.2, 10, 3),
        (1 - 0.9, 10, 1),
        (1 - 0.7, 10, 3),
        (0.29, 100, 29),  # 0.29 * 100 = 28.999999999999996
        (0.57, 100, 57),
        (0.58, 100, 58),
        (1.1 - 1, 50000, 5000),
    ],
)
@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_the_last_bit_of_a_rate_decides_nothing(
    rate: float, size: int, flips: int, num_classes: int, count: Count
) -> None:
    clean = [1] * size
    assert (
        count(clean, corrupt(clean, symmetric(num_classes, rate), seed=0), num_classes)[1][1] == size - flips
    )


@pytest.mark.parametrize(
    ("num_classes", "rate", "size"), [(100, 0.1, 5), (100, 0.3, 5), (10, 0.7, 5), (7, 0.25, 2), (3, 0.15, 10)]
)
def test_a_tie_is_settled_the_same_way_in_every_class(
    num_classes: int, rate: float, size: int, count: Count
) -> None:
    clean = blocks([size] * num_classes)
    counts = count(clean, corrupt(clean, symmetric(num_classes, rate), seed=0), num_classes)
    flips = {size - row[k] for k, row in enumerate(counts)}
    assert flips in ({math.floor(size * rate)}, {math.ceil(size * rate)})


@settings(max_examples=50, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_any_matrix_is_met_within_one_sample_of_every_share(
    count: Count, data: st.DataObject, seed: int
) -> None:
    size = data.draw(st.integers(2, 8))
    row = st.lists(st.integers(0, 20), min_size=size, max_size=size).filter(any)
    weights = data.draw(st.lists(row, min_size=size, max_size=size))
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=size, max_size=size))
    clean = blocks(sizes)
    matrix = [[weight / sum(row) for weight in row] for row in weights]
    counts = count(clean, corrupt(clean, matrix, seed=seed), size)
    for k in range(size):
        others = sum(weights[k]) - weights[k][k]
        flips = sizes[k] - counts[k][k]
        assert abs(flips - Fraction(sizes[k] * others, sum(weights[k]))) <= Fraction(1, 2)
        for j in set(range(size)) - {k}:
            share = Fraction(flips * weights[k][j], others) if others else Fraction(0)
            assert abs(counts[k][j] - share) < 1


def test_leftover_flips_favour_no_class() -> None:
    # one flip for four other classes, by lot: 1000 draws, 250 +- 13.7 each
    drawn = Counter(
        label for seed in range(1000) for label in corrupt([2] * 10, symmetric(5, 0.1), seed=seed)
    )
    assert drawn[2] == 9000
    for other in (0, 1, 3, 4):
        assert abs(drawn[other] - 250) < 5 * math.sqrt(1000 * 0.25 * 0.75)


@pytest.mark.parametrize("exact", [True, False])
def test_every_sample_of_a_class_is_as_likely_to_be_flipped(exact: bool) -> None:
    clean = np.array([0, 1] * 10)
    flipped = sum(
        (corrupt(clean, symmetric(3, 0.3), seed=seed, exact=exact) != clean).astype(int)
        for seed in range(1000)
    )
    assert np.abs(flipped - 300).max() < 5 * math.sqrt(1000 * 0.3 * 0.7)


@pytest.mark.parametrize("exact", [True, False])
def test_rate_0_changes_nothing_and_rate_1_everything(exact: bool) -> None:
    clean = np.array(blocks([30] * 5))
    assert (corrupt(clean, symmetric(5, 0), seed=0, exact=exact) == clean).all()
    assert (corrupt(clean, symmetric(5, 1), seed=0, exact=exact) != clean).all()
    assert (corrupt(clean, pairflip(5, 1), seed=0, exact=exact) == (clean + 1) % 5).all()


def test_a_row_within_rounding_of_1_does_not_flip_more_samples_than_there_are() -> None:
    labels = np.zeros(600_000, dtype=np.int64)
    assert (corrupt(labels, [[0.0, 1 + 9e-7], [1.0, 0.0]], seed=0) == 1).all()


# -------------------------------------------------------------------------------------- sampled noise


def test_sampled_labels_follow_the_matrix(count: Count) -> None:
    matrix = [[0.5, 0.3, 0.2, 0.0], [0.05, 0.9, 0.05, 0.0], [0.0, 0.0, 1.0, 0.0], [0.25] * 4]
    sizes = [20_000, 10_000, 5000, 1000]
    clean = blocks(sizes)
    counts = count(clean, corrupt(clean, matrix, seed=0, exact=False), 4)
    for i, j in itertools.product(range(4), repeat=2):
        p = matrix[i][j]
        assert abs(counts[i][j] - sizes[i] * p) <= 4 * math.sqrt(sizes[i] * p * (1 - p)), (i, j)


def test_every_sampled_label_is_drawn_on_its_own() -> None:
    clean = np.zeros(100, dtype=np.int64)
    flips = [
        corrupt(clean, symmetric(4, 0.3), seed=seed, exact=False).astype(bool).sum() for seed in range(400)
    ]
    assert np.mean(flips) == pytest.approx(30, abs=5 * math.sqrt(21 / 400))
    assert np.var(flips) == pytest.approx(21, rel=5 * math.sqrt(2 / 400))  # binomial; 0 if it were exact


# ---------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("exact", [True, False])
def test_equal_seeds_give_equal_noise_and_others_other_noise(exact: bool) -> None:
    clean = blocks([20] * 5)
    noises = [tuple(corrupt(clean, symmetric(5, 0.4), seed=seed, exact=exact)) for seed in range(30)]
    again = [tuple(corrupt(clean, symmetric(5, 0.4), seed=seed, exact=exact)) for seed in range(30)]
    assert noises == again
    assert len(set(noises)) == 30


@pytest.mark.parametrize("exact", [True, False])
def test_global_randomness_is_neither_read_nor_changed(exact: bool) -> None:
    def noise_and_draws(global_seed: int, *, corrupting: bool) -> tuple[Any, Any]:
        torch.manual_seed(global_seed)
        random.seed(global_seed)
        np.random.seed(global_seed)
        labels = [0, 1, 2] * 10
        noisy = corrupt(labels, symmetric(3, 0.5), seed=0, exact=exact) if corrupting else None
        return noisy, (torch.rand(()).item(), random.random(), np.random.rand())

    noisy, draws = noise_and_draws(1, corrupting=True)
    assert draws == noise_and_draws(1, corrupting=False)[1]
    assert noisy == noise_and_draws(2, corrupting=True)[0]


@pytest.mark.parametrize("seed", [-1, -(2**40)])
def test_a_negative_seed_is_refused(seed: int) -> None:
    with pytest.raises(NoiseproofError, match=f"{seed}"):
        corrupt([0, 1], symmetric(2, 0.5), seed=seed)


# ----------------------------------------------------------------------------------- labels in and out

CLEAN = [0, 3, 1, 2, 2, 1, 3, 0] * 3
NOISY = corrupt(CLEAN, symmetric(4, 0.5), seed=7)

NUMPY_DTYPES = [
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "intp",
    ">i4",
    "<u2",
]
TORCH_DTYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


def test_a_list_gives_a_list_of_ints() -> None:
    assert type(NOISY) is list
    assert {type(label) for label in NOISY} == {int}
    assert NOISY != CLEAN


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_an_array_gives_an_array_of_its_dtype(dtype: str) -> None:
    noisy = corrupt(np.array(CLEAN, dtype=dtype), symmetric(4, 0.5), seed=7)
    assert type(noisy) is np.ndarray
    assert noisy.dtype == np.dtype(dtype)
    assert noisy.tolist() == NOISY


@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
def test_a_tensor_gives_a_tensor_of_its_dtype(dtype: torch.dtype) -> None:
    noisy = corrupt(torch.tensor(CLEAN, dtype=dtype), symmetric(4, 0.5), seed=7)
    assert type(noisy) is torch.Tensor
    assert (noisy.dtype, noisy.device) == (dtype, torch.device("cpu"))
    assert noisy.tolist() == NOISY


def test_a_matrix_of_any_kind_gives_the_same_noise() -> None:
    matrix = symmetric(4, 0.5)
    for same in (matrix.tolist(), torch.from_numpy(matrix), np.asfortranarray(matrix)):
        assert corrupt(CLEAN, same, seed=7) == NOISY


@pytest.mark.parametrize("exact", [True, False])
def test_labels_and_matrix_stay_as_they_were(exact: bool) -> None:
    as_list, as_array, as_tensor = list(CLEAN), np.array(CLEAN), torch.tensor(CLEAN)
    matrix = symmetric(4, 0.5)
    as_array.flags.writeable = matrix.flags.writeable = False
    for labels in (as_list, as_array, as_tensor):
        noisy = corrupt(labels, matrix, seed=7, exact=exact)
        assert noisy is not labels
    assert as_list == as_array.tolist() == as_tensor.tolist() == CLEAN


def test_no_noise_gives_a_copy_not_the_labels_themselves() -> None:
    array, tensor = np.array(CLEAN), torch.tensor(CLEAN)
    noisy_array, noisy_tensor = (corrupt(array, np.eye(4), seed=0), corrupt(tensor, np.eye(4), seed=0))
    noisy_array[0] = noisy_tensor[0] = 3
    assert array[0] == tensor[0] == 0


def test_a_strided_view_is_read_as_it_looks() -> None:
    wide = np.stack([np.array(CLEAN), np.full(len(CLEAN), 9)], axis=1)
    assert corrupt(wide[:, 0], symmetric(4, 0.5), seed=7).tolist() == NOISY
    assert corrupt(torch.from_numpy(wide)[:, 0], symmetric(4, 0.5), seed=7).tolist() == NOISY


@pytest.mark.parametrize("exact", [True, False])
def test_no_labels_give_no_labels(exact: bool) -> None:
    matrix = symmetric(4, 0.5)
    assert corrupt([], matrix, seed=0, exact=exact) == []
    array = corrupt(np.array([], dtype=np.int32), matrix, seed=0, exact=exact)
    assert (array.shape, array.dtype) == ((0,), np.dtype(np.int32))
    tensor = corrupt(torch.empty(0, dtype=torch.int16), matrix, seed=0, exact=exact)
    assert (tensor.shape, tensor.dtype) == ((0,), torch.int16)


# -------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 4], "labels must be in 0..3, got 4 at position 2"),
        ([0, -1, 4], "labels must be in 0..3, got -1 at position 1"),
        (np.array([9, 1], dtype=np.uint8), "labels must be in 0..3, got 9 at position 0"),
        (np.array([0, 2**64 - 1], dtype=np.uint64), f"labels must be in 0..3, got {2**64 - 1} at position 1"),
        (torch.tensor([3, 3, 100]), "labels must be in 0..3, got 100 at position 2"),
        ([0.0, 1.0], "labels must be (N,) integers, got shape (2,) of float64"),
        ([True, False], "labels must be (N,) integers, got shape (2,) of bool"),
        (["0", "1"], "labels must be (N,) integers, got shape (2,) of <U1"),
        ([[0, 1], [2, 3]], "labels must be (N,) integers, got shape (2, 2) of int64"),
        (3, "labels must be (N,) integers, got shape () of int64"),
        (None, "labels must be (N,) integers, got shape () of object"),
        (torch.tensor([0.0, 1.0]), "labels must be (N,) integers, got shape (2,) of float32"),
    ],
    ids=str,
)
def test_bad_labels_are_refused_with_value_and_position(labels: Any, message: str) -> None:
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        corrupt(labels, symmetric(4, 0.5), seed=0)


def test_ragged_labels_are_refused() -> None:
    ragged: Any = [[0], [1, 2]]
    with pytest.raises(NoiseproofError, match=r"^labels must be \(N,\) integers"):
        corrupt(ragged, symmetric(4, 0.5), seed=0)


@pytest.mark.parametrize(
    ("labels", "num_classes"),
    [
        (np.full(100, 3, dtype=np.uint8), 300),
        (np.full(100, 3, dtype=np.int8), 200),
        (torch.full((100,), 3, dtype=torch.uint8), 300),
        (torch.full((100,), 3, dtype=torch.int8), 200),
    ],
    ids=["numpy uint8", "numpy int8", "torch uint8", "torch int8"],
)
def test_a_dtype_too_small_for_the_classes_is_refused(labels: Any, num_classes: int) -> None:
    # a wrapped label would be a wrong class, or a negative one
    with pytest.raises(NoiseproofError, match="int8"):
        corrupt(labels, symmetric(num_classes, 0.9), seed=0)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.9, 0.1]], "must be (K, K)"),
        ([[0.9, 0.2], [0.1, 0.8]], "is it transposed?"),
        ([[1.5, -0.5], [0, 1]], "negative or non-finite"),
        ([[math.nan, 1], [0, 1]], "negative or non-finite"),
    ],
    ids=str,
)
@pytest.mark.parametrize("exact", [True, False])
def test_a_bad_matrix_is_refused(matrix: Any, message: str, exact: bool) -> None:
    with pytest.raises(NoiseproofError, match=re.escape(message)):
        corrupt([0, 1], matrix, seed=0, exact=exact)
