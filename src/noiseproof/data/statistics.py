"""Mean and deviation of images by channel, to normalize by."""

from __future__ import annotations

import numpy as np

from noiseproof.data.dataset import Images

CHUNK = 1024
"""Images at once, since float64 takes eight times the memory of bytes."""


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and standard deviation of each channel of ``(N, C, H, W)`` images, in their units.

    Summed in float64. A channel that is constant, but for rounding, has deviation 1, so that it can be
    divided by.

    >>> channel_statistics(np.array([[[[0, 2]], [[7, 7]]]], dtype=np.uint8))
    ((1.0, 7.0), (1.0, 1.0))
    """
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    size = images.size // images.shape[1]
    mean = sum(chunk.sum(axis=(0, 2, 3), dtype=np.float64) for chunk in chunks) / size
    squares = (np.square(chunk - mean[:, None, None]).sum(axis=(0, 2, 3)) for chunk in chunks)
    std = np.sqrt(sum(squares) / size)
    std[std <= np.finfo(np.float32).eps * np.abs(mean)] = 1
    return tuple(mean.tolist()), tuple(std.tolist())
