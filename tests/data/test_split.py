"""The fifth that is held out where data has no test set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noiseproof.data.split import hold_out_a_fifth
from noiseproof.errors import NoiseproofError


@given(st.lists(st.integers(2, 23), min_size=1, max_size=5), st.integers(0, 99))
def test_every_class_gives_its_fifth_and_nothing_is_lost(sizes: list[int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    train, test = hold_out_a_fifth(labels, where="data")
    assert sorted([*train, *test]) == list(range(len(labels)))
    for k, size in enumerate(sizes):
        held_out = int((labels[test] == k).sum())
        assert 1 <= held_out < size
        assert abs(held_out - size / 5) < 1


def test_the_split_is_always_the_same_and_no_simple_pattern() -> None:
    np.random.seed(1)  # it must not depend on it
    _, test = hold_out_a_fifth(np.zeros(20, dtype=int), where="data")
    assert test.tolist() == [1, 8, 18, 19]


def test_a_class_of_one_sample_is_refused_by_its_name() -> None:
    with pytest.raises(NoiseproofError, match=r"^birds: class 'owl' has one sample"):
        hold_out_a_fifth(np.array(["jay", "jay", "owl"]), where="birds")
