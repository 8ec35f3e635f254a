"""What all tests share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

import pytest
import torch

GPU_IS_HERE = torch.cuda.is_available()

# Triton looks at it once, when it is imported: where there is no GPU, its kernels are interpreted
if not GPU_IS_HERE:
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Only a test that is marked sees a GPU: without one ``auto`` is the CPU, as the others expect."""
    wants_gpu = item.get_closest_marker("cuda") is not None
    if wants_gpu and not GPU_IS_HERE:
        pytest.skip("no NVIDIA GPU here")
    if GPU_IS_HERE:
        torch.cuda.is_available = lambda: wants_gpu


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """The tests run side by side: threads that wait for each other's cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is most of a report's work, and not what every test is about."""
    monkeypatch.setattr("noiseproof.report.writing.figures", lambda _: [])


@pytest.fixture
def assert_same_output() -> Callable[[str, str, float], None]:
    """Compares what is shown with what is printed, word by word; numbers may differ by a share."""
    number = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")

    def compare(shown: str, printed: str, tolerance: float) -> None:
        assert number.sub("N", shown).split() == number.sub("N", printed).split()
        numbers = [[float(text) for text in number.findall(whole)] for whole in (shown, printed)]
        assert numbers[1] == pytest.approx(numbers[0], rel=tolerance, abs=1e-9)

    return compare
