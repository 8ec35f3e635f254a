"""The global generators, lent to code that draws from no others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def global_randomness(seed: int) -> Iterator[None]:
    """Seed PyTorch's, NumPy's and Python's global generators; afterwards they are as they were.

    >>> with global_randomness(5):
    ...     first = torch.rand(2), random.random()
    >>> with global_randomness(5):
    ...     (torch.rand(2), random.random())[1] == first[1]
    True
    """
    # a GPU that was not used yet stays unused
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
