"""The audit: what was asked of the noise beside what the labels show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from noiseproof.errors import NoiseproofError
from noiseproof.noise import asymmetric, audit, corrupt, symmetric

Count = Callable[[Sequence[int], Sequence[int], int], list[list[int]]]


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_counts_matrix_and_rate_are_those_of_the_labels(count: Count, pairs: list[tuple[int, int]]) -> None:
    clean, noisy = [before for before, _ in pairs], [after for _, after in pairs]
    report = audit(clean, noisy, symmetric(5, 0.4))
    counts = count(clean, noisy, 5)
    assert report.counts.tolist() == counts
    assert report.achieved_rate == pytest.approx(sum(b != a for b, a in pairs) / len(pairs))
    assert report.requested_rate == pytest.approx(0.4)
    for k, row in enumerate(counts):
        for j, got in enumerate(row):
            expected = got / sum(row) if sum(row) else math.nan
            assert report.achieved[k, j] == pytest.approx(expected, nan_ok=True)


def test_the_requested_rate_weighs_classes_by_their_samples() -> None:
    clean = [0] * 30 + [1] * 10 + [2] * 60
    report = audit(clean, clean, asymmetric(3, 0.4, {0: 1, 1: 0}))
    assert report.requested_rate == pytest.approx(0.4 * 40 / 100)
    assert report.achieved_rate == 0


def test_the_requested_matrix_is_the_one_given() -> None:
    matrix = asymmetric(3, 0.25, {0: 2})
    assert_array_equal(audit([0, 1], [0, 1], matrix).requested, matrix)
    assert_array_equal(audit([0, 1], [0, 1], matrix.tolist()).requested, matrix)


def test_exact_noise_achieves_what_was_requested() -> None:
    matrix = asymmetric(10, 0.4, {7: 1, 2: 7, 3: 8, 5: 6, 6: 5})
    clean = np.repeat(np.arange(10), 50)
    report = audit(clean, corrupt(clean, matrix, seed=3), matrix)
    assert_allclose(report.achieved, matrix, atol=1e-12)
    assert report.achieved_rate == pytest.approx(report.requested_rate) == pytest.approx(0.2)


def test_a_class_without_samples_is_nan_and_leaves_the_others_alone() -> None:
    report = audit([0, 0, 2], [0, 1, 2], symmetric(3, 0.5))
    assert np.isnan(report.achieved[1]).all()
    assert report.achieved[[0, 2]].tolist() == [[0.5, 0.5, 0], [0, 0, 1]]
    assert report.achieved_rate == pytest.approx(1 / 3)
    assert report.requested_rate == pytest.approx(0.5)


def test_no_labels_have_no_matrix_and_no_wrong_labels() -> None:
    report = audit([], [], symmetric(3, 0.5))
    assert np.isnan(report.achieved).all()
    assert report.achieved_rate == report.requested_rate == 0
    assert "0.00 % of 0" in str(report)


def test_labels_of_different_kinds_are_compared() -> None:
    clean = [0, 1, 2, 1]
    for noisy in ([0, 2, 2, 1], np.array([0, 2, 2, 1], dtype=np.uint8), torch.tensor([0, 2, 2, 1])):
        assert audit(torch.tensor(clean), noisy, symmetric(3, 0.5)).counts.tolist() == [
            [1, 0, 0],
            [0, 1, 1],
            [0, 0, 1],
        ]


def test_the_text_shows_both_matrices_side_by_side() -> None:
    clean = [0] * 4 + [2] * 8
    noisy = [0, 1, 1, 2] + [2] * 6 + [0] * 2
    lines = str(audit(clean, noisy, asymmetric(3, 0.375, {0: 1, 2: 0}))).splitlines()
    assert lines[0].split() == ["clean", "requested", "%", "achieved", "%", "samples"]
    assert [line.split() for line in lines[1:4]] == [
        ["0", "62.5", "37.5", "0.0", "25.0", "50.0", "25.0", "4"],
        ["1", "0.0", "100.0", "0.0", "nan", "nan", "nan", "0"],
        ["2", "37.5", "0.0", "62.5", "25.0", "0.0", "75.0", "8"],
    ]
    assert len({len(line) for line in lines[:4]}) == 1  # the columns line up
    assert lines[4:] == ["wrong labels: requested 37.50 %, achieved 41.67 % of 12"]


def test_columns_of_100_percent_stay_apart() -> None:
    clean = list(range(12))
    row = str(audit(clean, clean, np.eye(12))).splitlines()[12].split()
    assert row == ["11", *["0.0"] * 11, "100.0", *["0.0"] * 11, "100.0", "1"]


@pytest.mark.parametrize(
    ("clean", "noisy", "message"),
    [
        ([0, 1, 1], [0, 1], r"^clean and noisy labels differ in number: 3 and 2$"),
        ([], [0], r"^clean and noisy labels differ in number: 0 and 1$"),
        ([0, 3], [0, 1], r"^labels must be in 0\.\.2, got 3 at position 1$"),
        ([0, 1], [-1, 1], r"^labels must be in 0\.\.2, got -1 at position 0$"),
        ([0, 1], [0.5, 1], r"^labels must be \(N,\) integers, got shape \(2,\) of float64$"),
    ],
)
def test_labels_that_do_not_fit_are_refused(clean: Any, noisy: Any, message: str) -> None:
    with pytest.raises(NoiseproofError, match=message):
        audit(clean, noisy, symmetric(3, 0.5))


def test_a_bad_matrix_is_refused() -> None:
    with pytest.raises(NoiseproofError, match=r"is it transposed\?$"):
        audit([0], [0], [[0.9, 0.2], [0.1, 0.8]])


def test_without_a_matrix_the_achieved_one_stands_alone() -> None:
    found = audit([0, 0, 1, 2], [0, 1, 1, 1])
    assert (found.requested, found.requested_rate, found.achieved_rate) == (None, None, 0.5)
    assert found.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert "requested" not in str(found)
    assert str(found).splitlines()[1] == "    0     50.0  50.0   0.0         2"
    assert audit([0], [1], num_classes=4).counts.shape == (4, 4)
