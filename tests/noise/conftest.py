"""What is shared by the tests of label noise: counting who became whom, by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

Count = Callable[[Sequence[int], Sequence[int], int], list[list[int]]]
"""``(clean, noisy, K) -> counts[i][j]``: samples of clean class i that are labelled j."""


@pytest.fixture(scope="session")
def count() -> Count:
    def counts(clean: Sequence[int], noisy: Sequence[int], num_classes: int) -> list[list[int]]:
        table = [[0] * num_classes for _ in range(num_classes)]
        for before, after in zip(clean, noisy, strict=True):
            table[before][after] += 1
        return table

    return counts
