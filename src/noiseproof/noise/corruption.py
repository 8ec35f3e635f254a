"""Corrupt labels by a transition matrix: always from the clean labels, exact per class, seeded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noiseproof.errors import NoiseproofError, shown
from noiseproof.noise.transition import Matrix, check_transition_matrix

if TYPE_CHECKING:
    from torch import Tensor

Labels = TypeVar("Labels", bound="list[int] | NDArray[Any] | Tensor")

Integers = NDArray[np.int64]


def corrupt(labels: Labels, transition_matrix: ArrayLike, *, seed: int, exact: bool = True) -> Labels:
    """Draw a noisy label for each clean one: ``P(noisy = j | clean = i) = T[i, j]``.

    Args:
        labels: clean class indices, shape ``(N,)``: a list, a numpy array or a torch tensor.
        transition_matrix: row-stochastic, ``(K, K)``.
        seed: same seed, same noise; the global random state is neither read nor changed.
        exact: of the n samples of class i, flip n (1 - T[i, i]) rounded to the nearest, spread over the
            other classes so that each count is within one of its share. False draws every label
            on its own, so the rates hold only on average.

    Returns:
        Noisy labels, of the type, dtype and device of ``labels``; ``labels`` is not changed.

    Raises:
        NoiseproofError: the matrix is not row-stochastic, a label is not in 0..K-1, the labels' dtype has
            no room for K-1, or the seed is negative.

    >>> from noiseproof.noise import symmetric
    >>> corrupt([0, 0, 0, 0, 1, 1, 1, 1], symmetric(2, 0.25), seed=0)
    [1, 0, 0, 0, 0, 1, 1, 1]
    """
    matrix = check_transition_matrix(transition_matrix)
    clean = label_array(labels, num_classes=len(matrix))
    _check_room(labels, num_classes=len(matrix))
    check_seed(seed)
    rng = np.random.default_rng(seed)
    noisy = clean.copy()
    for k in range(len(matrix)):
        (members,) = np.nonzero(clean == k)
        if exact:
            drawn = np.repeat(np.arange(len(matrix)), _apportion(matrix[k], k, len(members), rng))
            noisy[rng.permutation(members)] = drawn
        else:
            noisy[members] = rng.choice(len(matrix), size=len(members), p=matrix[k] / matrix[k].sum())
    return cast(Labels, _like(noisy, labels))


def label_array(labels: Any, *, num_classes: int | None = None) -> Integers:
    """Return labels of any kind as int64; raise `NoiseproofError` unless they are ``(N,)`` class indices."""
    try:
        values = _as_array(labels)
    except (TypeError, ValueError, RuntimeError):  # torch's of a tensor without values are RuntimeErrors
        raise NoiseproofError("labels must be (N,) integers, got a ragged or unreadable sequence") from None
    if np.ma.is_masked(labels):
        raise NoiseproofError("labels must be known, got a masked array; leave out what is masked")
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise NoiseproofError(f"labels must be (N,) integers, got shape {values.shape} of {values.dtype}")
    if not values.size:  # of whatever dtype
        return np.empty(0, dtype=np.int64)
    most = np.iinfo(np.int64).max if num_classes is None else num_classes - 1
    outside = (values < 0) | (values > most)
    if outside.any():
        where = int(np.argmax(outside))
        limit = f"0..{most}" if num_classes is not None else "0, 1, ..."
        raise NoiseproofError(f"labels must be in {limit}, got {values[where]} at position {where}")
    return values.astype(np.int64)


def check_seed(seed: int) -> None:
    """Raise `NoiseproofError` unless ``seed`` is a whole number, 0 or more."""
    if not isinstance(seed, int | np.integer):
        raise NoiseproofError(f"a seed must be a whole number, got {shown(seed)}")
    if seed < 0:
        raise NoiseproofError(f"a seed must be 0 or more, got {seed}")


def _apportion(row: Matrix, k: int, n: int, rng: np.random.Generator) -> Integers:
    """Split n samples of class k by ``row``: flips to the nearest, then the others by largest remainder."""
    off_diagonal = row.copy()
    off_diagonal[k] = 0
    # 1e-9 keeps 0.3 * 10 = 2.9999999999999996 and its like from rounding by their last bit
    flips = int(np.floor(n * off_diagonal.sum() / row.sum() + 0.5 + 1e-9))
    if flips == 0:
        counts = np.zeros(len(row), dtype=np.int64)
    else:
        shares = flips * off_diagonal / off_diagonal.sum()
        counts = np.floor(shares + 1e-9).astype(np.int64)
        # equal remainders are drawn by lot, or low classes would gain
        order = np.lexsort((rng.random(len(row)), -np.round(shares - counts, 9)))
        counts[order[: flips - counts.sum()]] += 1
    counts[k] = n - flips
    return counts


def _as_array(labels: Any) -> NDArray[Any]:
    return np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)


def _check_room(labels: Any, *, num_classes: int) -> None:
    """Refuse labels whose dtype cannot hold every class: noise would wrap around to a wrong one."""
    dtype = _as_array(labels).dtype
    if isinstance(labels, list) or dtype.kind not in "iu":  # no labels may be of any dtype
        return
    room = np.iinfo(dtype).max
    if room < num_classes - 1:
        raise NoiseproofError(
            f"labels of {labels.dtype} hold classes up to {room}, but the noise has {num_classes} classes;"
            " use a wider dtype"
        )


def _like(values: Integers, labels: Any) -> Any:
    if isinstance(labels, list):
        return values.tolist()
    if hasattr(labels, "new_tensor"):
        return labels.new_tensor(values)
    return values.astype(np.asarray(labels).dtype)
