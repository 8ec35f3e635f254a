"""A test set for data that has none: a fifth of every class, always the same one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseproof.errors import NoiseproofError

Indices = NDArray[np.intp]


def hold_out_a_fifth(labels: NDArray[Any], *, where: str) -> tuple[Indices, Indices]:
    """Split samples by their labels, ``(N,)``: the indices to train on, and a fifth of each class to test on.

    A class gives at least one sample. Raises `NoiseproofError` for a class that has no more than that, or no
    sample at all.

    >>> train, test = hold_out_a_fifth(np.repeat([0, 1], [10, 5]), where="data")
    >>> len(train), test
    (12, array([ 2,  8, 11]))
    """
    if not len(labels):
        raise NoiseproofError(f"{where}: it has no sample to split off a test set from")
    draw = np.random.RandomState(0)  # its stream is frozen, that of a Generator is not
    test = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise NoiseproofError(
                f"{where}: class {label.item()!r} has one sample; two or more are needed to split off a"
                " test set"
            )
        test.append(draw.permutation(members)[: max(1, (len(members) + 2) // 5)])
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[np.concatenate(test)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
