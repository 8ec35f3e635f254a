"""Transition matrices: row-stochastic ``T[i, j] = P(noisy = j | clean = i)``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noiseproof.errors import NoiseproofError, shown

Matrix = NDArray[np.float64]


def symmetric(num_classes: int, rate: float) -> Matrix:
    """Symmetric noise: ``T[i, i] = 1 - rate``, ``T[i, j] = rate / (K - 1)``; never redraws the true class.

    ``rate`` in [0, 1]. Shape ``(K, K)``. Raises `NoiseproofError` for a rate or K out of range. Study
    section 2.1.

    >>> symmetric(3, 0.5)
    array([[0.5 , 0.25, 0.25],
           [0.25, 0.5 , 0.25],
           [0.25, 0.25, 0.5 ]])
    """
    _check_num_classes(num_classes)
    check_rate(rate)
    matrix = np.full((num_classes, num_classes), rate / (num_classes - 1), dtype=np.float64)
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def asymmetric(num_classes: int, rate: float, class_map: Mapping[int, int]) -> Matrix:
    """Asymmetric noise: a class in ``class_map`` becomes the class it maps to at ``rate``; others stay.

    ``rate`` in [0, 1] is that of the mapped classes, so the rate over all classes is lower. Shape
    ``(K, K)``. Raises `NoiseproofError` for a rate or class out of range, or a class mapped to itself.
    Patrini et al., CVPR 2017; study section 2.1.

    >>> asymmetric(3, 0.4, {0: 1, 1: 0})
    array([[0.6, 0.4, 0. ],
           [0.4, 0.6, 0. ],
           [0. , 0. , 1. ]])
    """
    _check_num_classes(num_classes)
    check_rate(rate)
    matrix = np.eye(num_classes)
    check_class_map(class_map, num_classes=num_classes)
    for clean, noisy in class_map.items():
        matrix[clean, clean] = 1 - rate
        matrix[clean, noisy] = rate
    return matrix


def pairflip(num_classes: int, rate: float) -> Matrix:
    """Pair flip: every class becomes the next one, the last the first, at ``rate`` in [0, 1].

    Shape ``(K, K)``. Raises `NoiseproofError` for a rate or K out of range. Han et al., NeurIPS 2018.

    >>> pairflip(3, 0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])
    """
    return asymmetric(num_classes, rate, {k: (k + 1) % num_classes for k in range(num_classes)})


def check_transition_matrix(matrix: ArrayLike) -> Matrix:
    """Return ``matrix`` as float64; raise `NoiseproofError` unless it is square and row-stochastic.

    >>> check_transition_matrix([[0.9, 0.2], [0.1, 0.8]])
    Traceback (most recent call last):
    noiseproof.errors.NoiseproofError: row 0 of the transition matrix sums to 1.1, not 1; is it transposed?
    """
    if isinstance(matrix, str):
        raise NoiseproofError(
            f"a transition matrix must be a square array of numbers, got the text {shown(matrix)};"
            " noise.parse(text).transition_matrix(num_classes, class_map) makes one"
        )
    try:
        checked = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise NoiseproofError(f"a transition matrix must be a square array of numbers: {error}") from None
    if checked.ndim != 2 or checked.shape[0] != checked.shape[1] or checked.shape[0] < 2:
        raise NoiseproofError(
            f"a transition matrix must be (K, K) with K at least 2, got shape {checked.shape}"
        )
    if (empty := np.flatnonzero(np.isnan(checked).all(axis=1))).size:  # as an audit leaves it
        raise NoiseproofError(
            f"row {empty[0]} of the transition matrix is nan: no sample of class {empty[0]} was counted"
        )
    if not np.isfinite(checked).all() or (checked < 0).any():
        raise NoiseproofError("a transition matrix must hold probabilities, got a negative or non-finite one")
    for row, total in enumerate(checked.sum(axis=1)):
        if abs(total - 1) > 1e-6:
            # a column-stochastic matrix, as some libraries use, is the likeliest cause
            hint = "; is it transposed?" if np.allclose(checked.sum(axis=0), 1) else ""
            raise NoiseproofError(f"row {row} of the transition matrix sums to {total:.10g}, not 1{hint}")
    return checked


def check_class_map(class_map: Mapping[int, int], *, num_classes: int) -> None:
    """Raise `NoiseproofError` unless each class of ``class_map`` leads to another one, both in 0..K-1."""
    for clean, noisy in class_map.items():
        is_index = all(
            isinstance(k, int | np.integer) and not isinstance(k, bool) and 0 <= k < num_classes
            for k in (clean, noisy)
        )
        if not is_index or clean == noisy:
            raise NoiseproofError(
                f"a class map must lead to another class of 0..{num_classes - 1}, got {clean} -> {noisy}"
            )


def check_rate(rate: float) -> None:
    """Raise `NoiseproofError` unless ``rate`` is a number in [0, 1]."""
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.number):
        raise NoiseproofError(f"a noise rate must be a number in [0, 1], got {rate!r}")
    if not 0 <= rate <= 1:
        nearest = "" if rate != rate else f"; the nearest valid rate is {min(max(rate, 0), 1):g}"
        raise NoiseproofError(f"a noise rate must be in [0, 1], got {rate:.15g}{nearest}")


def _check_num_classes(num_classes: int) -> None:
    if num_classes < 2:
        raise NoiseproofError(f"label noise needs at least 2 classes, got {num_classes}")
