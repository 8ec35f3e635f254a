"""Transition matrices: each against its definition, entry by entry, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from noiseproof.errors import NoiseproofError
from noiseproof.noise import asymmetric, audit, check_transition_matrix, pairflip, symmetric
from noiseproof.noise.transition import Matrix

RATES = st.floats(0, 1)
SIZES = st.integers(2, 30)

# ------------------------------------------------------------------------------------ the definitions


@settings(max_examples=50, deadline=None)
@given(size=SIZES, rate=RATES)
def test_symmetric_noise_never_redraws_the_true_class(size: int, rate: float) -> None:
    expected = [
        [1 - rate if noisy == clean else rate / (size - 1) for noisy in range(size)] for clean in range(size)
    ]
    assert_allclose(symmetric(size, rate), expected, rtol=0, atol=1e-15)


@settings(max_examples=50, deadline=None)
@given(size=SIZES, rate=RATES)
def test_pairflip_leads_to_the_next_class_and_from_the_last_to_the_first(size: int, rate: float) -> None:
    expected = np.zeros((size, size))
    for clean in range(size):
        expected[clean, clean] = 1 - rate
        expected[clean, clean + 1 if clean + 1 < size else 0] = rate
    assert_array_equal(pairflip(size, rate), expected)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), size=SIZES, rate=RATES)
def test_asymmetric_noise_follows_the_class_map(data: st.DataObject, size: int, rate: float) -> None:
    steps = data.draw(st.dictionaries(st.integers(0, size - 1), st.integers(1, size - 1)))
    class_map = {clean: (clean + step) % size for clean, step in steps.items()}
    matrix = asymmetric(size, rate, class_map)
    for clean in range(size):
        for noisy in range(size):
            if clean not in class_map:
                expected = 1.0 if noisy == clean else 0.0
            elif noisy == clean:
                expected = 1 - rate
            else:
                expected = rate if noisy == class_map[clean] else 0.0
            assert matrix[clean, noisy] == expected


@pytest.mark.parametrize("rate", [0, 0.0, 1, 1.0, np.float32(0.25), np.float64(0.1), np.int64(1), 0.3])
def test_every_matrix_that_is_built_is_accepted(rate: float) -> None:
    for matrix in (symmetric(7, rate), pairflip(7, rate), asymmetric(7, rate, {3: 5, 5: 3})):
        assert matrix.dtype == np.float64
        assert_array_equal(check_transition_matrix(matrix), matrix)


# --------------------------------------------------------------------------------- rates and classes

BUILDERS: list[Callable[[Any, Any], Matrix]] = [
    symmetric,
    pairflip,
    lambda num_classes, rate: asymmetric(num_classes, rate, {0: 1}),
]


@pytest.mark.parametrize("build", BUILDERS, ids=["symmetric", "pairflip", "asymmetric"])
@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (1.2, "a noise rate must be in [0, 1], got 1.2; the nearest valid rate is 1"),
        (40, "a noise rate must be in [0, 1], got 40; the nearest valid rate is 1"),
        (-0.1, "a noise rate must be in [0, 1], got -0.1; the nearest valid rate is 0"),
        (math.inf, "a noise rate must be in [0, 1], got inf; the nearest valid rate is 1"),
        (-math.inf, "a noise rate must be in [0, 1], got -inf; the nearest valid rate is 0"),
        (math.nan, "a noise rate must be in [0, 1], got nan"),
        (True, "a noise rate must be a number in [0, 1], got True"),
        ("x", "a noise rate must be a number in [0, 1], got 'x'"),
        ("0.4", "a noise rate must be a number in [0, 1], got '0.4'"),
        (None, "a noise rate must be a number in [0, 1], got None"),
    ],
)
def test_a_rate_outside_0_to_1_is_refused(
    build: Callable[[Any, Any], Matrix], rate: object, message: str
) -> None:
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        build(10, rate)


def test_a_refused_rate_is_not_written_as_a_valid_one() -> None:
    with pytest.raises(NoiseproofError) as caught:
        symmetric(10, 1.0000001)
    assert "got 1.0000001;" in str(caught.value)


@pytest.mark.parametrize("build", BUILDERS, ids=["symmetric", "pairflip", "asymmetric"])
@pytest.mark.parametrize("size", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(build: Callable[[Any, Any], Matrix], size: int) -> None:
    with pytest.raises(NoiseproofError, match=f"^label noise needs at least 2 classes, got {size}$"):
        build(size, 0.4)


@pytest.mark.parametrize(("clean", "noisy"), [(3, 3), (10, 0), (0, 10), (-1, 0), (0, -1)])
def test_a_class_map_must_lead_from_a_class_to_another(clean: int, noisy: int) -> None:
    message = f"a class map must lead to another class of 0..9, got {clean} -> {noisy}"
    with pytest.raises(NoiseproofError, match=f"^{re.escape(message)}$"):
        asymmetric(10, 0.4, {7: 1, clean: noisy})


# ------------------------------------------------------------------------------------ matrices given


@pytest.mark.parametrize(
    "given_matrix",
    [
        [[1, 0], [1, 0]],
        ((0.25, 0.75), (0.5, 0.5)),
        np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32),
        torch.tensor([[0.25, 0.75], [0.5, 0.5]]),
    ],
    ids=["integers", "tuples", "float32", "torch"],
)
def test_matrices_of_any_numbers_are_read_as_float64(given_matrix: Any) -> None:
    matrix = check_transition_matrix(given_matrix)
    assert matrix.dtype == np.float64
    assert matrix.tolist() == np.asarray(given_matrix).tolist()


def test_float32_rounding_of_a_row_is_accepted() -> None:
    logits = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    estimated = logits.softmax(dim=1)
    assert (estimated.double().sum(dim=1) != 1).any()
    check_transition_matrix(estimated.numpy())


def test_a_transposed_matrix_is_hinted_at() -> None:
    class_map = {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}
    message = r"^row 1 of the transition matrix sums to 1\.4, not 1; is it transposed\?$"
    with pytest.raises(NoiseproofError, match=message):
        check_transition_matrix(asymmetric(10, 0.4, class_map).T)


def test_a_matrix_wrong_both_ways_is_not_called_transposed() -> None:
    with pytest.raises(NoiseproofError, match=r"^row 1 of the transition matrix sums to 0\.9, not 1$"):
        check_transition_matrix([[1.0, 0.0], [0.1, 0.8]])


@pytest.mark.parametrize("off", [1.000002, 1 - 2e-6])
def test_a_sum_that_is_hardly_off_is_not_written_as_1(off: float) -> None:
    with pytest.raises(NoiseproofError) as caught:
        check_transition_matrix([[off, 0.0], [0.0, 1.0]])
    assert "sums to 1, not 1" not in str(caught.value)


def test_a_class_that_was_not_counted_is_named() -> None:
    achieved = audit([0, 0, 2], [0, 1, 2]).achieved
    with pytest.raises(
        NoiseproofError, match=r"^row 1 of the transition matrix is nan: no sample of class 1 was counted$"
    ):
        check_transition_matrix(achieved)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.1, -1e-9])
def test_an_entry_that_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(NoiseproofError, match=r"must hold probabilities, got a negative or non-finite one$"):
        check_transition_matrix([[1.0, 0.0, 0.0], [bad, 0.0, 1 - bad], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("given_matrix", "shape"),
    [
        ([[0.5, 0.5]], "(1, 2)"),
        (np.full((3, 2), 0.5), "(3, 2)"),
        ([0.5, 0.5], "(2,)"),
        (np.ones((2, 2, 2)) / 2, "(2, 2, 2)"),
        ([[1.0]], "(1, 1)"),
        ([], "(0,)"),
        (1.0, "()"),
    ],
    ids=str,
)
def test_a_matrix_that_is_not_square_is_refused(given_matrix: Any, shape: str) -> None:
    message = f"a transition matrix must be (K, K) with K at least 2, got shape {shape}"
    with pytest.raises(NoiseproofError, match=f"^{re.escape(message)}$"):
        check_transition_matrix(given_matrix)


def test_a_noises_text_is_named_with_what_makes_its_matrix() -> None:
    message = (
        "a transition matrix must be a square array of numbers, got the text 'symmetric:0.4';"
        " noise.parse(text).transition_matrix(num_classes, class_map) makes one"
    )
    with pytest.raises(NoiseproofError, match=f"^{re.escape(message)}$"):
        check_transition_matrix("symmetric:0.4")


@pytest.mark.parametrize("given_matrix", [[["a", "b"], ["c", "d"]], [[1, 0], [1]], {"a": 1}], ids=str)
def test_what_is_no_matrix_of_numbers_is_refused_in_one_line(given_matrix: Any) -> None:
    with pytest.raises(NoiseproofError, match=r"^a transition matrix must be a square array of numbers: .+$"):
        check_transition_matrix(given_matrix)
