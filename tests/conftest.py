"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

# Triton looks at it once, when it is imported: where there is no GPU, its kernels are interpreted
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """The tests run side by side: threads that wait for each other's cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
