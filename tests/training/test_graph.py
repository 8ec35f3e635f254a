"""What stands between the engine and CUDA, as far as it can be had without a GPU."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from noiseproof.training import graph as module
from noiseproof.training.graph import (
    MOST_STREAMS,
    WARM_UPS,
    Graph,
    Streams,
    out_of_memory_behind,
    warm_up,
)

CPU = torch.device("cpu")


def test_on_the_cpu_a_graph_is_its_function_and_is_not_tried_out() -> None:
    counter = torch.zeros(())

    def count() -> None:
        counter.add_(1)

    graph = Graph.capture(count, CPU, changes=[counter])
    assert counter == 0
    graph.replay()
    graph.replay()
    assert counter == 2


def test_warming_up_undoes_every_call() -> None:
    parameter, position = nn.Parameter(torch.arange(3.0)), torch.tensor(5)
    seen: list[tuple[list[float], int]] = []

    def step() -> None:
        seen.append((parameter.tolist(), int(position)))
        parameter.detach().mul_(float("nan"))
        position.add_(10)

    places = parameter.data_ptr(), position.data_ptr()
    warm_up(step, [parameter, position])
    assert seen == [([0.0, 1.0, 2.0], 5)] * WARM_UPS  # a position must never leave the epoch
    assert parameter.tolist() == [0.0, 1.0, 2.0]
    assert position == 5
    assert (parameter.data_ptr(), position.data_ptr()) == places


def failed_capture(first: Exception) -> RuntimeError:
    """As in a ``with`` block whose exit fails because what was in it did."""
    try:
        try:
            raise first
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
    except RuntimeError as error:
        return error


def test_a_lack_of_memory_is_found_behind_the_capture_that_it_ended() -> None:
    lack = torch.OutOfMemoryError("CUDA out of memory")
    assert out_of_memory_behind(lack) is lack
    assert out_of_memory_behind(failed_capture(lack)) is lack
    other = failed_capture(ValueError("shapes"))
    assert out_of_memory_behind(other) is other


@pytest.mark.parametrize("number", [1, 2, 5])
def test_streams_give_results_in_order(number: int) -> None:
    streams = Streams(CPU, number)
    assert streams.each(lambda item: 10 * item, [3, 1, 2]) == [30, 10, 20]
    assert streams.each(lambda item: item, []) == []


class Stream:
    """A stream that only notes which others it waits for."""

    def __init__(self) -> None:
        self.waited_for: list[Stream] = []

    def wait_stream(self, other: Stream) -> None:
        self.waited_for.append(other)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> tuple[Stream, list[Stream]]:
    """The current stream of a GPU that is not there, and those that are made of it."""
    current, made = Stream(), [Stream() for _ in range(100)]
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: current)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(module, "_stream", lambda _, number: made[number])
    return current, made


def test_streams_are_joined_even_if_the_work_on_one_fails(forked: tuple[Stream, list[Stream]]) -> None:
    """Else a capture could not end, and PyTorch's allocator would stay in it."""
    current, made = forked

    def fail(item: int) -> int:
        if item == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return item

    with pytest.raises(torch.OutOfMemoryError):
        Streams(torch.device("cuda"), 3).each(fail, [0, 1, 2])
    assert current.waited_for == made[:3]
    assert [stream.waited_for for stream in made[:4]] == [[current], [current], [current], []]


def test_there_are_no_more_streams_than_pytorch_has(forked: tuple[Stream, list[Stream]]) -> None:
    current, made = forked
    assert Streams(torch.device("cuda"), 64).each(lambda item: item, range(64)) == list(range(64))
    assert current.waited_for == made[:MOST_STREAMS]
